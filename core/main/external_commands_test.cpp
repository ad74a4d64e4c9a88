// SPDX-License-Identifier: Apache-2.0
#include "core/main/external_commands.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

namespace kubernel::core {
namespace {

namespace fs = std::filesystem;

class ExternalCommands : public ::testing::Test {
 protected:
  ExternalCommands() {
    std::string name = fs::temp_directory_path() / "kubernel-verbs-XXXXXX";
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    top_ = name;
    fs::create_directory(top_ / "a");
    fs::create_directory(top_ / "b");
  }
  ~ExternalCommands() override { fs::remove_all(top_); }

  void program(const std::string& where, bool executable = true) {
    std::ofstream(top_ / where) << "#!/bin/sh\n";
    fs::permissions(top_ / where, executable ? fs::perms::owner_all : fs::perms::owner_read);
  }
  std::vector<fs::path> directories() const { return {top_ / "a", top_ / "missing", top_ / "b"}; }

  fs::path top_;
};

TEST_F(ExternalCommands, AreFoundInTheFirstDirectoryThatHasThem) {
  program("a/kubernel-up");
  program("b/kubernel-up");
  program("b/kubernel-image");
  EXPECT_EQ(find_external(directories(), "up"), top_ / "a/kubernel-up");
  EXPECT_EQ(find_external(directories(), "image"), top_ / "b/kubernel-image");
  EXPECT_EQ(find_external(directories(), "down"), std::nullopt);
}

TEST_F(ExternalCommands, AreListedOnceAndSorted) {
  program("b/kubernel-up");
  program("a/kubernel-up");
  program("a/kubernel-image");
  program("a/kubernel-Odd");
  program("a/other");
  EXPECT_EQ(external_verbs(directories()), (std::vector<std::string>{"image", "up"}));
}

TEST_F(ExternalCommands, MustBeExecutableFiles) {
  program("a/kubernel-data", false);
  fs::create_directory(top_ / "a/kubernel-dir");
  EXPECT_EQ(find_external(directories(), "dir"), std::nullopt);
  EXPECT_EQ(find_external(directories(), "data"), std::nullopt);
}

TEST_F(ExternalCommands, AVerbCannotLeaveTheDirectories) {
  program("b/kubernel-up");
  EXPECT_EQ(find_external(directories(), "x/../../b/kubernel-up"), std::nullopt);
  EXPECT_EQ(find_external(directories(), ""), std::nullopt);
}

}  // namespace
}  // namespace kubernel::core
