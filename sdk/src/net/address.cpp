// SPDX-License-Identifier: Apache-2.0
#include "net/address.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>

#include "net/http_text.h"

namespace kubernel::net {

Result<Address> parse_address(std::string_view text) {
  const Error malformed(Reason::Invalid,
                        "\"" + std::string(text) + "\" is not an address like 127.0.0.1:6443 or [::1]:6443");
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return malformed;
  const auto port = parse_decimal(text.substr(colon + 1));
  if (!port || *port > 65535) return malformed;
  std::string host(text.substr(0, colon));
  const bool six = host.size() > 2 && host.front() == '[' && host.back() == ']';
  Address address;
  if (six) {
    host = host.substr(1, host.size() - 2);
    auto& in6 = reinterpret_cast<sockaddr_in6&>(address.storage);
    in6.sin6_family = AF_INET6;
    in6.sin6_port = htons(static_cast<std::uint16_t>(*port));
    address.size = sizeof in6;
    if (inet_pton(AF_INET6, host.c_str(), &in6.sin6_addr) != 1) return malformed;
  } else {
    auto& in4 = reinterpret_cast<sockaddr_in&>(address.storage);
    in4.sin_family = AF_INET;
    in4.sin_port = htons(static_cast<std::uint16_t>(*port));
    address.size = sizeof in4;
    if (inet_pton(AF_INET, host.c_str(), &in4.sin_addr) != 1) return malformed;
  }
  return address;
}

Result<Address> unix_address(const std::string& path) {
  Address address;
  auto& un = reinterpret_cast<sockaddr_un&>(address.storage);
  if (path.empty() || path.size() >= sizeof un.sun_path) {
    return Error(Reason::Invalid, "\"" + path + "\" cannot be the path of a socket");
  }
  un.sun_family = AF_UNIX;
  std::memcpy(un.sun_path, path.c_str(), path.size() + 1);
  address.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  return address;
}

std::string to_text(const Address& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  switch (address.storage.ss_family) {
    case AF_INET: {
      const auto& in4 = reinterpret_cast<const sockaddr_in&>(address.storage);
      inet_ntop(AF_INET, &in4.sin_addr, text.data(), text.size());
      return std::string(text.data()) + ":" + std::to_string(ntohs(in4.sin_port));
    }
    case AF_INET6: {
      const auto& in6 = reinterpret_cast<const sockaddr_in6&>(address.storage);
      inet_ntop(AF_INET6, &in6.sin6_addr, text.data(), text.size());
      return "[" + std::string(text.data()) + "]:" + std::to_string(ntohs(in6.sin6_port));
    }
    case AF_UNIX: {
      const auto& un = reinterpret_cast<const sockaddr_un&>(address.storage);
      const std::size_t begin = offsetof(sockaddr_un, sun_path);
      if (address.size <= begin) return "unix:";
      return "unix:" + std::string(un.sun_path, strnlen(un.sun_path, address.size - begin));
    }
    default: return "unknown";
  }
}

Address local_address(int fd) {
  Address address;
  address.size = sizeof address.storage;
  if (::getsockname(fd, address.get(), &address.size) != 0) address.size = 0;
  return address;
}

Result<std::vector<Address>> resolve(const std::string& host, const std::string& port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG | AI_NUMERICSERV;
  in6_addr unused{};
  // Literal addresses work without any interface being configured.
  if (inet_pton(AF_INET, host.c_str(), &unused) == 1 || inet_pton(AF_INET6, host.c_str(), &unused) == 1) {
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  }
  addrinfo* raw = nullptr;
  if (const int code = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &raw); code != 0) {
    return Error(Reason::ServiceUnavailable, "cannot resolve " + host + ": " + ::gai_strerror(code));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> list(raw, ::freeaddrinfo);
  std::vector<Address> found;
  for (const addrinfo* entry = list.get(); entry != nullptr; entry = entry->ai_next) {
    Address address;
    std::memcpy(&address.storage, entry->ai_addr, entry->ai_addrlen);
    address.size = entry->ai_addrlen;
    found.push_back(address);
  }
  return found;
}

Result<UniqueFd> listen_on(const std::string& text) {
  KUBERNEL_TRY(const Address address, parse_address(text));
  UniqueFd fd(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return errno_error(Reason::ServiceUnavailable, "cannot listen on " + text, errno);
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (address.storage.ss_family == AF_INET6) ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  if (::bind(fd.get(), address.get(), address.size) != 0 || ::listen(fd.get(), SOMAXCONN) != 0) {
    if (errno == EADDRINUSE) return Error(Reason::ServiceUnavailable, "address " + text + " is already in use");
    return errno_error(Reason::ServiceUnavailable, "cannot listen on " + text, errno);
  }
  return fd;
}

void tune_connection(int fd) {
  const int on = 1;
  const int idle = 30;
  const int interval = 15;
  const int probes = 5;
  // All of them fail on a unix socket, which needs none.
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

}  // namespace kubernel::net
