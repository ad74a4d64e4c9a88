// SPDX-License-Identifier: Apache-2.0
//
// A process that writes is killed at random moments, also while it recovers from the last time. What it was told is
// written must be there; what it was not told may be; nothing else.

#include <unistd.h>

#include <cstdio>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "victim.h"
#include "workload.h"

namespace kubernel::crash {
namespace {

constexpr int kClients = 3;

// The process that is killed. It ends by itself only when something is wrong.
[[noreturn]] void victim(const std::string& path, int report, std::uint64_t seed, std::int64_t run,
                         std::uint64_t large) {
  Surroundings around;
  auto store = around.open(path);
  if (!store) {
    std::fprintf(stderr, "%s\n", store.error().message().c_str());
    ::_exit(2);
  }
  const auto tell = [report](const Step& step) {
    if (::write(report, &step, sizeof step) != sizeof step) ::_exit(3);
  };
  std::vector<std::jthread> threads;
  for (int client = 0; client < kClients; ++client) {
    threads.emplace_back([&, client] {
      Client one(**store, client, seed, run, large, tell);
      while (one.step()) {
      }
      ::_exit(4);
    });
  }
  Client compactor(**store, kClients, seed, run, large, tell);
  while (compactor.compact()) {
    around.blocking.run_all();  // The log is copied into the database here.
  }
  ::_exit(5);
}

TEST(Kill, NoAcknowledgedWriteIsLostWhenTheProcessIsKilled) {
  const int kills = rounds(1000);
  const TimeLimit limit(std::chrono::seconds(5));
  testing::SeededRandom random(seed());
  std::size_t acknowledged = 0;
  int done = 0;
  while (done < kills && !limit.reached()) {
    const ScratchDirectory directory;
    const std::uint64_t large = random_below(random, 8) == 0 ? kHuge : kLarge;
    Record record;
    for (int i = 0; i < (large == kHuge ? 5 : 50) && done < kills && !limit.reached(); ++i, ++done) {
      SCOPED_TRACE("KUBERNEL_CRASH_SEED=" + std::to_string(seed()) + ", kill " + std::to_string(done));
      const std::uint64_t steps = random_below(random, 4) == 0 ? random_below(random, 8) : random_below(random, 300);
      const std::uint64_t seed_of_run = random.next();
      ASSERT_NO_FATAL_FAILURE(run_and_kill<Step>(
          steps, [&](int report) { victim(directory.store(), report, seed_of_run, i, large); },
          [&](const Step& step) { record.add(step); }));
      if (random_below(random, 4) == 0) continue;  // The next victim finds it as it is.
      Surroundings around;
      auto store = around.open(directory.store());
      ASSERT_TRUE(store) << store.error().message();
      ASSERT_EQ(record.judge(**store), "");
    }
    acknowledged += record.acknowledged();
  }
  std::printf("%d kills, %zu acknowledged writes, none lost (seed %llu)\n", done, acknowledged,
              static_cast<unsigned long long>(seed()));
  EXPECT_GT(acknowledged, static_cast<std::size_t>(done));
}

}  // namespace
}  // namespace kubernel::crash
