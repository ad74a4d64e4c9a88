// SPDX-License-Identifier: Apache-2.0
//
// A process that tells what it did, and is killed.

#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdint>

#include <gtest/gtest.h>

namespace kubernel::crash {

/// Runs `victim(descriptor)` in a process of its own until it has written `tellings` values of the type T, and kills
/// it; 0: at once, most likely while it opens its store. `take(value)` gets all that was told. A victim that ends by
/// itself is a fatal failure.
template <class T, class Victim, class Take>
void run_and_kill(std::uint64_t tellings, const Victim& victim, const Take& take) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::close(ends[0]);
    victim(ends[1]);
  }
  ::close(ends[1]);
  T told;
  std::uint64_t seen = 0;
  if (tellings == 0) ::kill(child, SIGKILL);
  while (::read(ends[0], &told, sizeof told) == sizeof told) {
    take(told);
    if (++seen == tellings) ::kill(child, SIGKILL);
  }
  ::close(ends[0]);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << "the victim ended by itself: " << status;
}

}  // namespace kubernel::crash
