// SPDX-License-Identifier: Apache-2.0
#include "core/main/service_manager.h"

#include <array>
#include <cstring>
#include <string>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <kubernel/base/child_process.h>

namespace kubernel::core {
namespace {

TEST(NotifyServiceManager, ReachesAnAbstractSocket) {
  const std::string name = "@kubernel-notify-test-" + std::to_string(getpid());
  const UniqueFd receiver(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, name.data() + 1, name.size() - 1);
  ASSERT_EQ(bind(receiver.get(), reinterpret_cast<const sockaddr*>(&address),
                 static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size())),
            0);
  ASSERT_TRUE(notify_service_manager(name, "READY=1"));
  std::array<char, 64> got{};
  ASSERT_EQ(recv(receiver.get(), got.data(), got.size(), 0), 7);
  EXPECT_STREQ(got.data(), "READY=1");
}

TEST(NotifyServiceManager, NobodyToTellIsNoError) {
  EXPECT_TRUE(notify_service_manager("", "READY=1"));
}

TEST(NotifyServiceManager, ADeadSocketIsNamed) {
  const auto told = notify_service_manager("/nonexistent/socket", "READY=1");
  ASSERT_FALSE(told);
  EXPECT_EQ(told.error().message(),
            "cannot notify the service manager at /nonexistent/socket: No such file or directory");
}

}  // namespace
}  // namespace kubernel::core
