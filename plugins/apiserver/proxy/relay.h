// SPDX-License-Identifier: Apache-2.0
//
// Relay: bytes between a client of ours and whoever answers it (a kubelet, a pod), with back-pressure both ways.

#pragma once

#include <memory>
#include <string_view>

#include <kubernel/net/client.h>
#include <kubernel/net/http.h>

namespace kubernel::apiserver {

/// Headers that speak of one connection, or of who the client is: they do not go on.
bool of_one_connection(std::string_view name);

/// Threads: all members may be called concurrently. Lifetime: what is open is broken when the relay ends.
class Relay {
 public:
  Relay();
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  /// Sends a body on as it comes.
  void copy(std::unique_ptr<net::ClientStream> from, std::shared_ptr<net::ResponseStream> to);
  /// Joins two upgraded connections.
  void join(std::shared_ptr<net::ByteStream> client, std::shared_ptr<net::ByteStream> server);
  /// Breaks what is open, and what comes later.
  void close_all();

 private:
  class Tunnel;
  class BodyCopy;
  struct Open;

  std::shared_ptr<Open> open_;
};

}  // namespace kubernel::apiserver
