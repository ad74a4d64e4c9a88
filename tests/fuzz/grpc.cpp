// SPDX-License-Identifier: Apache-2.0
//
// A whole connection against a gRPC server: frames, heads, messages, streams that are paused.

#include "peer.h"

namespace net = kubernel::net;

namespace {

class Echo final : public net::GrpcReceiver {
 public:
  explicit Echo(std::shared_ptr<net::GrpcCall> call) : call_(std::move(call)) {}
  void on_message(std::string_view message) override {
    call_->send(message);
    if (message.empty()) call_->pause(true);
    call_->pause(false);
  }
  void on_end() override { call_->finish({}); }
  void on_closed() override { call_->finish({net::GrpcCode::Cancelled, ""}); }

 private:
  const std::shared_ptr<net::GrpcCall> call_;
};

net::ServerOptions methods() {
  auto methods = std::make_shared<net::GrpcMethods>();
  methods->max_message_bytes = 1000;
  methods->add("/t.E/One", [](const std::shared_ptr<net::GrpcCall>& call, std::string_view message) {
    call->send(message);
    call->finish({net::GrpcCode::OutOfRange, std::string(message)});
  });
  methods->add_streaming("/t.E/Many",
                         [](std::shared_ptr<net::GrpcCall> call) { return std::make_shared<Echo>(std::move(call)); });
  net::ServerOptions options;
  options.grpc = std::move(methods);
  return options;
}

}  // namespace

KUBERNEL_FUZZ(input) {
  static const kubernel::fuzz::PeerOfServer peer(
      methods(), [](net::Exchange& exchange) { exchange.respond({.status = 404, .headers = {}, .body = ""}); });
  peer.say(input);
}
