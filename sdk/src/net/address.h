// SPDX-License-Identifier: Apache-2.0
//
// Socket addresses as text and back.

#pragma once

#include <sys/socket.h>

#include <string>
#include <string_view>
#include <vector>

#include <kubernel/base/result.h>

#include "net/io_loop.h"

namespace kubernel::net {

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

/// "127.0.0.1:6443" or "[::1]:0"; literal addresses only. Errors: Invalid.
Result<Address> parse_address(std::string_view text);
/// Errors: Invalid when the path is too long.
Result<Address> unix_address(const std::string& path);
/// "127.0.0.1:6443", "[::1]:6443", "unix:/path" ("unix:" for a peer without a name).
std::string to_text(const Address& address);
Address local_address(int fd);

/// Blocks for names. Errors: ServiceUnavailable.
Result<std::vector<Address>> resolve(const std::string& host, const std::string& port);

/// A listening, non-blocking socket. Errors: ServiceUnavailable "address … is already in use" and other reasons to try
/// again.
Result<UniqueFd> listen_on(const std::string& text);

/// What every TCP connection gets: no delay, and probes that find a peer that vanished.
void tune_connection(int fd);

}  // namespace kubernel::net
