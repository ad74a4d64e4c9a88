// SPDX-License-Identifier: Apache-2.0
//
// ServerStream: one request and its response, between the handler's threads and the loop. ServerCore: what the
// connections of one server share.

#pragma once

#include <condition_variable>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <unordered_set>

#include <kubernel/net/grpc.h>
#include <kubernel/net/server.h>

#include "net/raw_stream.h"
#include "net/stream_core.h"

namespace kubernel::net {

class ServerStream;

/// The protocol's side of a ServerStream. Loop thread.
class StreamLink {
 public:
  virtual ~StreamLink() = default;
  virtual void pump(ServerStream& stream) = 0;
  /// The handler took `size` bytes of the body, or asks for the first ones (0).
  virtual void body_taken(ServerStream& stream, std::size_t size) = 0;
  /// Sends 101 and hands the connection to `raw`. Only over HTTP/1.1.
  virtual void upgrade(ServerStream& stream, Headers headers, std::shared_ptr<RawStream> raw) = 0;
};

struct ResponseStart {
  int status = 200;
  Headers headers;
};

class ServerStream final : public StreamCore {
 public:
  ServerStream(std::shared_ptr<Channel> channel, StreamLink* link, Request request, std::chrono::milliseconds idle);

  const Request& request() const { return request_; }
  const CallContext& context() const { return context_; }
  std::shared_ptr<ServerStream> self() { return std::static_pointer_cast<ServerStream>(shared_from_this()); }

  // Any thread.
  Result<std::string> read_body(std::size_t limit_bytes);
  void respond(Response response);
  /// False when the request was answered before.
  bool start(int status, Headers headers);
  Result<std::shared_ptr<RawStream>> begin_upgrade(Headers headers);
  bool answered() const;

  // Loop thread.
  void body_data(std::string_view bytes);
  void body_end();
  /// Wakes a waiting reader; also tells later ones.
  void body_failed(Error why);
  std::size_t buffered_body() const;
  bool body_complete() const;
  std::optional<ResponseStart> take_start();
  /// The client is gone or its time is up: the handler's context stops.
  void stop();
  /// The protocol forgets the stream, or the stream the protocol.
  void detach() { link_ = nullptr; }
  bool dispatched = false;  ///< A handler was asked for.

 private:
  void pump() override;
  void ended() override;
  bool mark_answered();
  Result<std::string> take_body(std::unique_lock<std::mutex>& lock, std::size_t limit_bytes);
  void tell_taken(std::size_t size);

  const Request request_;
  std::stop_source stop_;
  CallContext context_;
  StreamLink* link_;  // Loop thread only.
  const std::chrono::milliseconds idle_;

  // Guarded by mutex_.
  std::condition_variable body_changed_;
  std::string body_;
  std::optional<Error> body_error_;
  std::uint64_t body_activity_ = 0;
  bool body_complete_ = false;
  bool answered_ = false;
  std::optional<ResponseStart> start_;
};

/// Counts what keeps a server from ending.
class Gate {
 public:
  class Pass {
   public:
    explicit Pass(std::shared_ptr<Gate> gate);
    Pass(const Pass&) = delete;
    Pass& operator=(const Pass&) = delete;
    ~Pass();

   private:
    std::shared_ptr<Gate> gate_;
  };
  static std::shared_ptr<Pass> enter(const std::shared_ptr<Gate>& gate) { return std::make_shared<Pass>(gate); }
  void wait_empty();
  std::size_t count() const;

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t count_ = 0;
};

/// Lifetime: connections and running handlers share it; `context` is used only while one of them passes the gate.
struct ServerCore : std::enable_shared_from_this<ServerCore> {
  ServerCore(const NetContext& lent, Limits chosen, Handler handle, std::shared_ptr<const GrpcMethods> methods);

  /// Runs the handler on the blocking pool. Loop thread.
  void dispatch(std::shared_ptr<ServerStream> stream);

  NetContext context;
  const Limits limits;
  const Handler handler;
  const std::shared_ptr<const GrpcMethods> grpc;  ///< Null: HTTP/2 is the handler's, too.
  const std::shared_ptr<Gate> connections = std::make_shared<Gate>();
  const std::shared_ptr<Gate> handlers = std::make_shared<Gate>();
  std::atomic<bool> draining{false};
};

/// Who is at the other end of a connection.
struct Peer {
  std::string address;
  std::optional<PeerCertificate> certificate;
};

/// From this much of a body on a handler is started; smaller ones arrive whole first, so a slow client holds no thread.
inline constexpr std::size_t kDispatchBytes = 64 * 1024;

std::unique_ptr<Protocol> make_http1_server(std::shared_ptr<ServerCore> core, std::shared_ptr<Channel> channel,
                                            Peer peer);
std::unique_ptr<Protocol> make_http2_server(std::shared_ptr<ServerCore> core, std::shared_ptr<Channel> channel,
                                            Peer peer);

}  // namespace kubernel::net
