// SPDX-License-Identifier: Apache-2.0
//
// GrpcStream: one gRPC call, between its handler's threads and the loop.

#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include <kubernel/net/grpc.h>

#include "net/grpc_wire.h"
#include "net/server_stream.h"

namespace kubernel::net {

class GrpcStream;

/// The protocol's side of a GrpcStream. Loop thread.
class GrpcLink {
 public:
  virtual ~GrpcLink() = default;
  virtual void pump(GrpcStream& stream) = 0;
  /// The stream takes messages again.
  virtual void deliver(GrpcStream& stream) = 0;
};

class GrpcStream final : public StreamCore, public GrpcCall {
 public:
  GrpcStream(std::shared_ptr<Channel> channel, GrpcLink* link, std::int32_t stream_id)
      : StreamCore(std::move(channel)), id(stream_id), link_(link) {
    context_.stop = stop_.get_token();
  }

  // Any thread.
  const CallContext& context() const noexcept override { return context_; }
  bool send(std::string_view message) override;
  std::size_t backlog() const override { return StreamCore::backlog(); }
  void on_drained(std::function<void()> drained) override { StreamCore::on_drained(std::move(drained)); }
  void pause(bool paused) override;
  void finish(const GrpcStatus& status) override;

  // Loop thread.
  void set_deadline(CallContext::Clock::time_point deadline) { context_.deadline = deadline; }
  /// The method begins. `pass` is kept until the handler has finished the call.
  void begin(const GrpcMethods::Method& method, std::shared_ptr<Gate::Pass> pass);
  /// Hands on the messages that have arrived, and the end.
  void deliver(std::size_t max_message_bytes);
  bool paused() const { return paused_; }
  /// The status to send; absent while the handler goes on.
  std::optional<GrpcStatus> status() const;
  bool sent_any() const;
  /// The call is cancelled, or its connection broke.
  void stop() { stop_.request_stop(); }
  void detach() { link_ = nullptr; }

  const std::int32_t id;
  std::string path;              // Of the request's head.
  std::string content_type;      // Of the request's head.
  std::string method;            // Of the request's head.
  std::size_t header_bytes = 0;  // Of the request's head.
  bool bad_timeout = false;      // Of the request's head.
  bool client_ended = false;     // The client has sent its last bytes.
  bool response_begun = false;
  GrpcDeframer input;
  std::size_t unconsumed = 0;  // Received, and not yet given back to the windows.

 private:
  void pump() override;
  void ended() override;
  std::shared_ptr<GrpcStream> self() { return std::static_pointer_cast<GrpcStream>(shared_from_this()); }
  void take(std::string_view message);
  void end();

  std::stop_source stop_;
  CallContext context_;
  GrpcLink* link_;  // Loop thread only.

  // Loop thread only.
  const GrpcMethods::OneMessage* one_message_ = nullptr;
  std::optional<std::string> request_;  // The one message.
  std::shared_ptr<GrpcReceiver> receiver_;
  bool end_told_ = false;

  std::atomic<bool> paused_ = false;

  // Guarded by mutex_.
  std::optional<GrpcStatus> status_;
  std::shared_ptr<Gate::Pass> pass_;
  bool sent_any_ = false;
};

std::unique_ptr<Protocol> make_grpc_server(std::shared_ptr<ServerCore> core, std::shared_ptr<Channel> channel);

}  // namespace kubernel::net
