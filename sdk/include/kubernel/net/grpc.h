// SPDX-License-Identifier: Apache-2.0
//
// gRPC's server side over HTTP/2 ("gRPC over HTTP2", the protocol's description). Messages are bytes here: what is in
// them, usually protobuf, is the handler's business.
//
//   auto methods = std::make_shared<GrpcMethods>();
//   methods->add("/etcdserverpb.KV/Put", [](std::shared_ptr<GrpcCall> call, std::string_view request) {
//     call->send(answer_to(request));
//     call->finish({});
//   });
//   open_server(context, {.listen = ..., .grpc = methods}, http_handler);
//
// Not offered: compressed messages (clients send none unless they are told to), custom metadata.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <variant>

#include <kubernel/base/context.h>
#include <kubernel/base/export.h>

namespace kubernel::net {

/// The numbers are gRPC's.
enum class GrpcCode : std::uint8_t {
  Ok = 0,
  Cancelled = 1,
  Unknown = 2,
  InvalidArgument = 3,
  DeadlineExceeded = 4,
  NotFound = 5,
  AlreadyExists = 6,
  PermissionDenied = 7,
  ResourceExhausted = 8,
  FailedPrecondition = 9,
  Aborted = 10,
  OutOfRange = 11,
  Unimplemented = 12,
  Internal = 13,
  Unavailable = 14,
  DataLoss = 15,
  Unauthenticated = 16,
};

/// "OK", "InvalidArgument": as grpc_server_handled_total and Go's clients write them.
KUBERNEL_EXPORT std::string_view to_string(GrpcCode code) noexcept;

struct GrpcStatus {
  GrpcCode code = GrpcCode::Ok;
  std::string message;

  bool ok() const noexcept { return code == GrpcCode::Ok; }
  friend bool operator==(const GrpcStatus&, const GrpcStatus&) = default;
};

/// One call being served. finish() must be called, also when the client has gone: a server shuts down only when no call
/// is left.
///
/// Threads: all members may be called concurrently; messages of one thread keep their order.
class GrpcCall {
 public:
  virtual ~GrpcCall() = default;

  /// Stops when the client cancels or goes away, and when the server breaks off; its deadline is the client's.
  virtual const CallContext& context() const noexcept = 0;

  /// Queues a message; never blocks. False when nobody will get it: the client is gone, or the call finished.
  virtual bool send(std::string_view message) = 0;
  /// Bytes queued and not yet taken by the connection: what a sender looks at to hold back.
  virtual std::size_t backlog() const = 0;
  /// Calls `drained`, on an I/O thread, each time the backlog falls to zero after a message. Must not block.
  virtual void on_drained(std::function<void()> drained) = 0;
  /// For streaming methods: holds the client's messages back, from the next one on. The client can then send no more
  /// than a window full.
  virtual void pause(bool paused) = 0;
  /// Ends the call once everything queued has been sent. Only the first one counts.
  virtual void finish(const GrpcStatus& status) = 0;
};

/// What a streaming method does with the client's messages. All calls come on an I/O thread, one at a time, with no
/// lock held; they must not block.
class GrpcReceiver {
 public:
  virtual ~GrpcReceiver() = default;
  /// `message` is valid during the call only.
  virtual void on_message(std::string_view message) = 0;
  /// The client has sent its last message.
  virtual void on_end() = 0;
  /// The call is over: it was finished and sent, or cancelled, or the connection broke. The last call.
  virtual void on_closed() = 0;
};

/// The methods of one server. Lifetime: not changed once a server has it.
class KUBERNEL_EXPORT GrpcMethods {
 public:
  /// For methods whose request is one message, with any number of answers. Runs on an I/O thread and must not block.
  using OneMessage = std::function<void(std::shared_ptr<GrpcCall> call, std::string_view message)>;
  /// For methods whose request is a stream. Runs on an I/O thread and must not block.
  using Streaming = std::function<std::shared_ptr<GrpcReceiver>(std::shared_ptr<GrpcCall> call)>;
  using Method = std::variant<OneMessage, Streaming>;

  /// `path`: "/package.Service/Method".
  void add(std::string path, OneMessage method);
  void add_streaming(std::string path, Streaming method);
  /// Null when there is no such method.
  const Method* find(std::string_view path) const noexcept;
  /// What a client is told that asked for it: the service is unknown, or only its method.
  GrpcStatus unknown(std::string_view path) const;

  /// Larger messages are refused with ResourceExhausted.
  std::size_t max_message_bytes = 4 * 1024 * 1024;

 private:
  std::map<std::string, Method, std::less<>> methods_;
};

}  // namespace kubernel::net
