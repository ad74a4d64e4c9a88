// SPDX-License-Identifier: Apache-2.0
#include <kubernel/base/child_process.h>

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <string>

#include <gtest/gtest.h>

namespace kubernel {
namespace {

ChildOptions shell(const std::string& script) {
  ChildOptions options;
  options.argv = {"/bin/sh", "-c", script};
  options.env = {"PATH=/usr/bin:/bin"};
  return options;
}

TEST(ChildProcess, GivesBothStreamsAndTheExitCode) {
  auto output = run_child({}, shell("cat; echo bad >&2; exit 3"), "hello");
  ASSERT_TRUE(output) << output.error().message();
  EXPECT_EQ(output->exit_code, 3);
  EXPECT_EQ(output->standard_output, "hello");
  EXPECT_EQ(output->standard_error, "bad\n");
}

TEST(ChildProcess, SeesOnlyTheEnvironmentItWasGiven) {
  ChildOptions options = shell("/usr/bin/env");
  options.env.emplace_back("ONLY=this");
  auto output = run_child({}, options);
  ASSERT_TRUE(output);
  EXPECT_EQ(output->standard_output.find("HOME="), std::string::npos);
  EXPECT_NE(output->standard_output.find("ONLY=this"), std::string::npos);
}

TEST(ChildProcess, KilledBySignalIs128PlusItsNumber) {
  auto output = run_child({}, shell("kill -9 $$"));
  ASSERT_TRUE(output);
  EXPECT_EQ(output->exit_code, 137);
}

TEST(ChildProcess, EndsWithTheProgramThoughAGrandchildHoldsItsOutput) {
  auto output = run_child({}, shell("sleep 60 & echo $!"));
  ASSERT_TRUE(output);
  EXPECT_EQ(output->exit_code, 0);
  kill(std::stoi(output->standard_output), SIGKILL);
}

TEST(ChildProcess, IsKilledAtTheDeadline) {
  CallContext ctx;
  ctx.deadline = CallContext::Clock::now() + std::chrono::milliseconds(20);
  auto output = run_child(ctx, shell("exec sleep 60"));
  ASSERT_FALSE(output);
  EXPECT_EQ(output.error().reason(), Reason::Timeout);
}

TEST(ChildProcess, IsKilledWhenTheCallIsStopped) {
  std::stop_source source;
  source.request_stop();
  auto output = run_child({source.get_token()}, shell("exec sleep 60"));
  ASSERT_FALSE(output);
  EXPECT_EQ(output.error().reason(), Reason::Cancelled);
}

TEST(ChildProcess, KeepsAtMostTheLimitAndStillEnds) {
  auto output = run_child({}, shell("head -c 300000 /dev/zero"), {}, 1000);
  ASSERT_TRUE(output);
  EXPECT_EQ(output->standard_output.size(), 1000U);
}

TEST(ChildProcess, InheritsExactlyTheDescriptorsNamed) {
  std::array<int, 2> fds{};
  ASSERT_EQ(pipe2(fds.data(), O_CLOEXEC), 0);
  const UniqueFd read_end(fds[0]);
  UniqueFd write_end(fds[1]);
  ChildOptions options = shell("echo through >&5; ls /proc/self/fd | wc -l");
  options.inherit = {{5, write_end.get()}};
  auto output = run_child({}, options);
  ASSERT_TRUE(output);
  std::array<char, 16> text{};
  EXPECT_EQ(read(read_end.get(), text.data(), text.size()), 8);
  EXPECT_EQ(std::string(text.data()), "through\n");
  EXPECT_EQ(std::stoi(output->standard_output), 5);  // 0, 1, 2, 5 and the directory ls reads.
}

TEST(ChildProcess, AProgramThatDoesNotExistIsNotFound) {
  ChildOptions options;
  options.argv = {"/nonexistent/program"};
  auto pid = spawn_child(options);
  ASSERT_FALSE(pid);
  EXPECT_EQ(pid.error().reason(), Reason::NotFound);
  EXPECT_EQ(pid.error().message(), "program /nonexistent/program not found");
}

}  // namespace
}  // namespace kubernel
