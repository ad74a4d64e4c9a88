// SPDX-License-Identifier: Apache-2.0
#include "core/main/service_manager.h"

#include <cerrno>
#include <cstddef>
#include <cstring>

#include <sys/socket.h>
#include <sys/un.h>

#include <kubernel/base/child_process.h>

namespace kubernel::core {

Result<void> notify_service_manager(const std::string& address, std::string_view state) {
  if (address.empty()) return {};
  const auto failed = [&](const char* why) {
    return Error(Reason::Internal, "cannot notify the service manager at " + address + ": " + why);
  };
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  if (address.size() >= sizeof to.sun_path) return failed("the address is too long");
  std::memcpy(to.sun_path, address.data(), address.size());
  if (address.front() == '@') to.sun_path[0] = '\0';
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address.size());

  const UniqueFd socket_fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket_fd) return failed(std::strerror(errno));
  if (sendto(socket_fd.get(), state.data(), state.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&to),
             length) < 0) {
    return failed(std::strerror(errno));
  }
  return {};
}

}  // namespace kubernel::core
