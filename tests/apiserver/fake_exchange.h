// SPDX-License-Identifier: Apache-2.0
//
// A request that came from nowhere, and what was answered to it.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <kubernel/net/http.h>

namespace kubernel::apiserver {

class FakeStream final : public net::ResponseStream {
 public:
  bool write(net::Bytes bytes) override {
    if (gone) return false;
    text += *bytes;
    if (stuck) unread += bytes->size();
    return true;
  }
  std::size_t backlog() const override { return unread; }
  void on_drained(std::function<void()> drained) override { drained_ = std::move(drained); }
  void on_closed(std::function<void()> closed) override { closed_ = std::move(closed); }
  void finish() override { finished = true; }
  void abort() override { aborted = true; }

  void drain() {
    stuck = false;
    unread = 0;
    if (drained_) drained_();
  }
  void go_away() {
    gone = true;
    if (closed_) closed_();
  }

  std::string text;
  std::size_t unread = 0;
  bool stuck = false;  // What is written stays unread.
  bool gone = false;
  bool finished = false;
  bool aborted = false;

 private:
  std::function<void()> drained_;
  std::function<void()> closed_;
};

class FakeExchange final : public net::Exchange {
 public:
  FakeExchange(std::string method, const std::string& target, std::string body = "") : body_(std::move(body)) {
    request_.method = std::move(method);
    request_.raw_target = target;
    request_.path = target.substr(0, target.find('?'));
    std::size_t at = target.find('?');
    while (at != std::string::npos) {
      const std::size_t next = target.find('&', at + 1);
      const std::string one = target.substr(at + 1, next == std::string::npos ? next : next - at - 1);
      const std::size_t equals = one.find('=');
      request_.query.emplace_back(one.substr(0, equals), equals == std::string::npos ? "" : one.substr(equals + 1));
      at = next;
    }
  }

  FakeExchange& header(std::string_view name, std::string_view value) {
    request_.headers.add(name, value);
    return *this;
  }
  FakeExchange& as(std::string user, std::vector<std::string> groups) {
    request_.peer_certificate = net::PeerCertificate{std::move(user), std::move(groups), ""};
    return *this;
  }

  const net::Request& request() const override { return request_; }
  const CallContext& context() const override { return context_; }
  Result<std::string> read_body(std::size_t limit_bytes) override {
    if (body_.size() > limit_bytes) return Error(Reason::RequestEntityTooLarge, "too large");
    return body_;
  }
  void respond(net::Response response) override { answer = std::move(response); }
  std::shared_ptr<net::ResponseStream> start_stream(int status, net::Headers headers) override {
    answer = net::Response{status, std::move(headers), ""};
    stream = std::make_shared<FakeStream>();
    return stream;
  }
  Result<std::shared_ptr<net::WebSocket>> accept_websocket(const std::vector<std::string>&) override {
    return Error(Reason::BadRequest, "no socket here");
  }
  Result<std::shared_ptr<net::ByteStream>> upgrade(net::Headers) override {
    return Error(Reason::BadRequest, "no socket here");
  }

  std::optional<net::Response> answer;
  std::shared_ptr<FakeStream> stream;

 private:
  net::Request request_;
  CallContext context_;
  std::string body_;
};

}  // namespace kubernel::apiserver
