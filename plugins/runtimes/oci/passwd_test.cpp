// SPDX-License-Identifier: Apache-2.0
#include "passwd.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "test_directory.h"

namespace kubernel::runtime::oci {
namespace {

class Passwd : public ::testing::Test {
 protected:
  Passwd() {
    std::filesystem::create_directories(dir_ / "etc");
    std::ofstream(dir_ / "etc/passwd")
        << "# comment\nroot:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:App:/home/app:/bin/sh\nbroken\n";
    std::ofstream(dir_ / "etc/group") << "root:x:0:\nwheel:x:10:root,app\nvideo:x:44:app\nappgroup:x:1001:\n";
  }
  Result<ProcessUser> resolve(const std::string& image_user, const SecurityOptions& security = {}) {
    return resolve_user(dir_.path(), image_user, security);
  }

  TestDirectory dir_;
};

TEST_F(Passwd, NobodyNamedIsRoot) {
  const auto user = resolve("");
  ASSERT_TRUE(user);
  EXPECT_EQ(user->uid, 0U);
  EXPECT_EQ(user->gid, 0U);
  EXPECT_EQ(user->groups, std::vector<std::uint32_t>{10});
}

TEST_F(Passwd, ANameBringsItsIdsAndGroups) {
  const auto user = resolve("app");
  ASSERT_TRUE(user);
  EXPECT_EQ(user->uid, 1000U);
  EXPECT_EQ(user->gid, 1001U);
  EXPECT_EQ(user->groups, (std::vector<std::uint32_t>{10, 44}));
}

TEST_F(Passwd, ANumberBringsItsEntrysGroups) {
  SecurityOptions security;
  security.run_as_user = 1000;
  security.supplemental_groups = {99, 44};
  const auto user = resolve("root", security);
  ASSERT_TRUE(user);
  EXPECT_EQ(user->gid, 1001U);
  EXPECT_EQ(user->groups, (std::vector<std::uint32_t>{10, 44, 99}));
}

TEST_F(Passwd, ANumberNeedsNoEntry) {
  const auto user = resolve("4242");
  ASSERT_TRUE(user);
  EXPECT_EQ(user->uid, 4242U);
  EXPECT_EQ(user->gid, 0U);
  EXPECT_TRUE(user->groups.empty());
}

TEST_F(Passwd, TheImagesGroupAndTheContainersGroupCount) {
  EXPECT_EQ(resolve("app:video")->gid, 44U);
  EXPECT_EQ(resolve("app:7")->gid, 7U);
  SecurityOptions security;
  security.run_as_group = 55;
  EXPECT_EQ(resolve("app:video", security)->gid, 55U);
}

TEST_F(Passwd, UnknownNamesAreErrors) {
  EXPECT_EQ(resolve("ghost").error().message(), "unable to find user ghost: no matching entries in passwd file");
  EXPECT_EQ(resolve("app:ghosts").error().message(), "unable to find group ghosts: no matching entries in group file");
}

TEST_F(Passwd, ALinkInTheImageDoesNotLeadOutOfIt) {
  std::ofstream(dir_ / "outside") << "evil:x:666:0::/:/bin/sh\n";
  std::filesystem::create_directories(dir_ / "image/etc");
  std::filesystem::create_symlink(dir_ / "outside", dir_ / "image/etc/passwd");
  EXPECT_FALSE(resolve_user(dir_ / "image", "evil", {}));
}

}  // namespace
}  // namespace kubernel::runtime::oci
