// SPDX-License-Identifier: Apache-2.0
//
// gRPC's own parts of an HTTP/2 exchange: message prefixes, timeouts, status messages.

#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <kubernel/net/grpc.h>

namespace kubernel::net {

/// Before each message: a flag (1: compressed) and the size, big-endian.
inline constexpr std::size_t kGrpcPrefixBytes = 5;

/// A message with its prefix.
std::shared_ptr<const std::string> grpc_frame(std::string_view message);

/// "100m": at most eight digits and a unit. Absent when it is malformed.
std::optional<std::chrono::nanoseconds> parse_grpc_timeout(std::string_view text);

/// A status message as a header field may carry it: percent-encoded where it is not printable ASCII.
std::string encode_grpc_message(std::string_view message);

/// Cuts a stream of bytes into messages.
class GrpcDeframer {
 public:
  void add(std::string_view bytes) { buffer_.append(bytes); }
  /// The next whole message, valid until add() or compact(). Absent when it has not arrived yet, or cannot be taken.
  std::optional<std::string_view> next(std::size_t max_message_bytes);
  /// Why nothing more can be taken.
  const std::optional<GrpcStatus>& refusal() const { return refusal_; }
  /// Forgets what was taken.
  void compact();
  std::size_t unread() const { return buffer_.size() - used_; }

 private:
  std::string buffer_;
  std::size_t used_ = 0;
  std::optional<GrpcStatus> refusal_;
};

}  // namespace kubernel::net
