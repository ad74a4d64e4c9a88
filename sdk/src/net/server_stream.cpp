// SPDX-License-Identifier: Apache-2.0
#include "net/server_stream.h"

#include <exception>

#include "net/http_text.h"
#include "net/websocket.h"

namespace kubernel::net {
namespace {

class ResponseHandle final : public ResponseStream {
 public:
  explicit ResponseHandle(std::shared_ptr<ServerStream> stream) : stream_(std::move(stream)) {}
  ~ResponseHandle() override { stream_->finish(); }

  bool write(Bytes bytes) override { return stream_->write(std::move(bytes)); }
  std::size_t backlog() const override { return stream_->backlog(); }
  void on_drained(std::function<void()> drained) override { stream_->on_drained(std::move(drained)); }
  void on_closed(std::function<void()> closed) override { stream_->on_closed(std::move(closed)); }
  void finish() override { stream_->finish(); }
  void abort() override { stream_->abort(); }

 private:
  std::shared_ptr<ServerStream> stream_;
};

// What a second answer to one request gets.
class DeadResponse final : public ResponseStream {
 public:
  bool write(Bytes) override { return false; }
  std::size_t backlog() const override { return 0; }
  void on_drained(std::function<void()>) override {}
  void on_closed(std::function<void()> closed) override {
    if (closed) closed();
  }
  void finish() override {}
  void abort() override {}
};

class ServerExchange final : public Exchange {
 public:
  explicit ServerExchange(std::shared_ptr<ServerStream> stream) : stream_(std::move(stream)) {}

  const Request& request() const override { return stream_->request(); }
  const CallContext& context() const override { return stream_->context(); }
  Result<std::string> read_body(std::size_t limit_bytes) override { return stream_->read_body(limit_bytes); }
  void respond(Response response) override { stream_->respond(std::move(response)); }

  std::shared_ptr<ResponseStream> start_stream(int status, Headers headers) override {
    if (!stream_->start(status, std::move(headers))) return std::make_shared<DeadResponse>();
    return std::make_shared<ResponseHandle>(stream_);
  }

  Result<std::shared_ptr<WebSocket>> accept_websocket(const std::vector<std::string>& subprotocols) override {
    KUBERNEL_TRY(WebSocketAnswer answer, answer_websocket(request(), subprotocols));
    KUBERNEL_TRY(const std::shared_ptr<RawStream> raw, stream_->begin_upgrade(std::move(answer.headers)));
    return make_websocket(raw, WebSocketRole::Server, std::move(answer.subprotocol));
  }

  Result<std::shared_ptr<ByteStream>> upgrade(Headers headers) override {
    KUBERNEL_TRY(const std::shared_ptr<RawStream> raw, stream_->begin_upgrade(std::move(headers)));
    return raw->make_handle();
  }

 private:
  std::shared_ptr<ServerStream> stream_;
};

Response plain_answer(int status, std::string text) {
  Response response;
  response.status = status;
  response.headers.add("content-type", "text/plain; charset=utf-8");
  response.body = std::move(text);
  return response;
}

void run_handler(ServerCore& core, const std::shared_ptr<ServerStream>& stream) {
  std::string_view wrong = "the handler gave no answer";
  {
    ServerExchange exchange(stream);
    try {
      core.handler(exchange);
    } catch (const std::exception& e) {
      wrong = "the handler threw";
      log_error(core.context.log, "request handler threw",
                {{"method", stream->request().method}, {"path", stream->request().path}, {"what", e.what()}});
    } catch (...) {
      wrong = "the handler threw";
      log_error(core.context.log, "request handler threw",
                {{"method", stream->request().method}, {"path", stream->request().path}});
    }
  }
  if (stream->answered()) return;
  log_error(core.context.log, wrong, {{"method", stream->request().method}, {"path", stream->request().path}});
  stream->respond(plain_answer(500, "internal error\n"));
}

}  // namespace

ServerStream::ServerStream(std::shared_ptr<Channel> channel, StreamLink* link, Request request,
                           std::chrono::milliseconds idle)
    : StreamCore(std::move(channel)), request_(std::move(request)), link_(link), idle_(idle) {
  context_.stop = stop_.get_token();
}

bool ServerStream::mark_answered() {
  const std::lock_guard lock(mutex_);
  return !std::exchange(answered_, true);
}

bool ServerStream::answered() const {
  const std::lock_guard lock(mutex_);
  return answered_;
}

bool ServerStream::start(int status, Headers headers) {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(answered_, true)) return false;
    start_ = ResponseStart{status, std::move(headers)};
  }
  wake();
  return true;
}

void ServerStream::respond(Response response) {
  response.headers.set("content-length", std::to_string(response.body.size()));
  if (!start(response.status, std::move(response.headers))) return;
  if (!response.body.empty()) write(std::make_shared<const std::string>(std::move(response.body)));
  finish();
}

Result<std::shared_ptr<RawStream>> ServerStream::begin_upgrade(Headers headers) {
  if (request_.http2) return Error(Reason::BadRequest, "an HTTP/2 connection cannot be upgraded");
  if (!has_word(request_.headers, "connection", "upgrade") || request_.headers.get("upgrade").empty()) {
    return Error(Reason::BadRequest, "the request asks for no upgrade");
  }
  {
    const std::lock_guard lock(mutex_);
    if (!body_complete_ || !body_.empty()) return Error(Reason::BadRequest, "a request to upgrade must have no body");
  }
  if (!mark_answered()) return Error(Reason::Internal, "the request was answered before");
  auto raw = std::make_shared<RawStream>(channel_);
  channel_->post([self = self(), raw, headers = std::move(headers)] {
    if (self->link_ != nullptr && !self->channel_->closed()) {
      self->link_->upgrade(*self, headers, raw);
    } else {
      raw->mark_closed();
    }
  });
  return raw;
}

Result<std::string> ServerStream::take_body(std::unique_lock<std::mutex>& lock, std::size_t limit_bytes) {
  const Error too_large(Reason::RequestEntityTooLarge,
                        "the request body exceeds " + std::to_string(limit_bytes) + " bytes");
  std::string collected;
  for (;;) {
    if (body_error_) return *body_error_;
    if (collected.size() + body_.size() > limit_bytes) return too_large;
    const std::string piece = std::exchange(body_, {});
    collected += piece;
    if (body_complete_) return collected;
    const std::uint64_t seen = body_activity_;
    lock.unlock();
    tell_taken(piece.size());
    auto timer = channel_->clock().call_at(channel_->clock().now() + idle_, [weak = weak_from_this(), seen] {
      const auto stream = std::static_pointer_cast<ServerStream>(weak.lock());
      if (!stream) return;
      const std::lock_guard timer_lock(stream->mutex_);
      if (stream->body_activity_ != seen || stream->body_complete_ || stream->body_error_) return;
      stream->body_error_ = Error(Reason::Timeout, "the request body did not arrive in time");
      stream->body_changed_.notify_all();
    });
    lock.lock();
    body_changed_.wait(lock, [&] { return body_activity_ != seen || body_complete_ || body_error_; });
    lock.unlock();
    // Its callback takes the lock: never destroy the timer while holding it.
    timer.reset();
    lock.lock();
  }
}

Result<std::string> ServerStream::read_body(std::size_t limit_bytes) {
  const auto announced = parse_decimal(request_.headers.get("content-length"));
  if (announced && *announced > limit_bytes) {
    return Error(Reason::RequestEntityTooLarge, "the request body exceeds " + std::to_string(limit_bytes) + " bytes");
  }
  std::unique_lock lock(mutex_);
  return take_body(lock, limit_bytes);
}

void ServerStream::tell_taken(std::size_t size) {
  channel_->post([self = self(), size] {
    if (self->link_ != nullptr && !self->channel_->closed()) self->link_->body_taken(*self, size);
  });
}

void ServerStream::body_data(std::string_view bytes) {
  const std::lock_guard lock(mutex_);
  body_.append(bytes);
  ++body_activity_;
  body_changed_.notify_all();
}

void ServerStream::body_end() {
  const std::lock_guard lock(mutex_);
  body_complete_ = true;
  body_changed_.notify_all();
}

void ServerStream::body_failed(Error why) {
  const std::lock_guard lock(mutex_);
  if (!body_complete_ && !body_error_) body_error_ = std::move(why);
  body_changed_.notify_all();
}

std::size_t ServerStream::buffered_body() const {
  const std::lock_guard lock(mutex_);
  return body_.size();
}

bool ServerStream::body_complete() const {
  const std::lock_guard lock(mutex_);
  return body_complete_;
}

std::optional<ResponseStart> ServerStream::take_start() {
  const std::lock_guard lock(mutex_);
  return std::exchange(start_, std::nullopt);
}

void ServerStream::stop() {
  body_failed(Error(Reason::BadRequest, "the connection was lost before the request body was complete"));
  stop_.request_stop();
}

void ServerStream::pump() {
  if (link_ != nullptr) link_->pump(*this);
}

void ServerStream::ended() {
  link_ = nullptr;
  body_failed(Error(Reason::BadRequest, "the connection was lost before the request body was complete"));
}

Gate::Pass::Pass(std::shared_ptr<Gate> gate) : gate_(std::move(gate)) {
  const std::lock_guard lock(gate_->mutex_);
  ++gate_->count_;
}

Gate::Pass::~Pass() {
  const std::lock_guard lock(gate_->mutex_);
  if (--gate_->count_ == 0) gate_->changed_.notify_all();
}

void Gate::wait_empty() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return count_ == 0; });
}

std::size_t Gate::count() const {
  const std::lock_guard lock(mutex_);
  return count_;
}

ServerCore::ServerCore(const NetContext& lent, Limits chosen, Handler handle,
                       std::shared_ptr<const GrpcMethods> methods)
    : context(lent), limits(chosen), handler(std::move(handle)), grpc(std::move(methods)) {}

void ServerCore::dispatch(std::shared_ptr<ServerStream> stream) {
  stream->dispatched = true;
  auto submitted = context.blocking.submit(
      [core = shared_from_this(), stream, pass = Gate::enter(handlers)] { run_handler(*core, stream); });
  if (submitted) return;
  const bool busy = submitted.error().reason() == Reason::TooManyRequests;
  Response refusal = plain_answer(busy ? 429 : 503, busy ? "too many requests, try again\n" : "shutting down\n");
  refusal.headers.add("retry-after", "1");
  stream->respond(std::move(refusal));
}

}  // namespace kubernel::net
