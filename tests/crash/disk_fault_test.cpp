// SPDX-License-Identifier: Apache-2.0
//
// Every single write and sync of a store's life fails once. After an I/O error the store takes no more writes and goes
// on to answer reads; after a full disk it goes on as soon as there is room. In each case the power goes next, and
// what was acknowledged is there.

#include <cerrno>
#include <cstdio>

#include <gtest/gtest.h>

#include "disk_model.h"
#include "recorded_disk.h"
#include "workload.h"

namespace kubernel::crash {
namespace {

enum class After : std::uint8_t { Stopped, GoesOn };

// A store whose disk fails at one call, until the end of its life or only that once.
class FailingRun {
 public:
  explicit FailingRun(std::uint64_t seed) : random_(seed) {}

  /// Whether the call that was to fail was reached.
  bool run(const Fault& fault, After after) {
    RecordedDisk disk(directory_.path());
    {
      Surroundings around;
      auto store = around.open(directory_.store());
      EXPECT_TRUE(store) << store.error().message();
      if (!store) return false;
      live(**store, around, disk, fault, after);
    }
    reached_ = disk.failed();
    calls_ = disk.calls();
    return reached_;
  }

  void cut_and_judge() {
    DiskModel model;
    for (const DiskCall& call : calls_) model.apply(call, random_);
    const ScratchDirectory left;
    model.cut(random_, left.path());
    Surroundings around;
    auto store = around.open(left.store());
    ASSERT_TRUE(store) << store.error().message();
    ASSERT_EQ(record_.judge(**store), "");
  }

  int refused() const { return refused_; }

 private:
  static constexpr int kSteps = 30;

  void live(storage::Backend& store, Surroundings& around, RecordedDisk& disk, const Fault& fault, After after) {
    Client client(store, 0, random_.next(), 1, kHuge / 2, [this](const Step& step) { record_.add(step); });
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(client.step());
    disk.fail(fault);
    bool failed = false;
    for (int i = 0; i < kSteps; ++i) {
      if (i % 8 == 7) static_cast<void>(client.compact());  // It may be what fails.
      around.blocking.run_all();
      const bool worked = client.step();
      if (!worked) ++refused_;
      if (failed && worked && after == After::Stopped) {
        ADD_FAILURE() << "a write was taken after one had failed with an I/O error";
        return;
      }
      failed = failed || !worked;
      const auto all = store.range({}, {});
      EXPECT_TRUE(all) << "reads go on: " << all.error().message();
    }
    if (failed && after == After::GoesOn && !fault.stays) {
      EXPECT_TRUE(client.step()) << "there is room again";
    }
  }

  testing::SeededRandom random_;
  const ScratchDirectory directory_;
  Record record_;
  std::vector<DiskCall> calls_;
  bool reached_ = false;
  int refused_ = 0;
};

// Fails the first call, the second, ... until there are no more.
void fail_each(Fault fault, After after, int step) {
  const TimeLimit limit(std::chrono::seconds(2));
  int done = 0;
  int stopped = 0;
  for (fault.after = 0;; fault.after += step) {
    SCOPED_TRACE("call " + std::to_string(fault.after));
    FailingRun run(seed() + static_cast<std::uint64_t>(fault.after));
    if (!run.run(fault, after) || ::testing::Test::HasFailure()) break;
    ++done;
    if (run.refused() > 0) ++stopped;
    run.cut_and_judge();
    if (::testing::Test::HasFailure() || limit.reached()) break;
  }
  std::printf("%d calls failed one at a time, %d of them were noticed by a writer\n", done, stopped);
  EXPECT_GT(stopped, 0);
}

TEST(DiskFault, AnIoErrorOfAnyWriteStopsWritesAndLosesNothing) {
  fail_each({.at = Fault::At::Write, .error = EIO, .stays = true}, After::Stopped, 7);
}

TEST(DiskFault, AWriteThatFailsOnceStopsWritesToo) {
  fail_each({.at = Fault::At::Write, .error = EIO}, After::Stopped, 11);
}

TEST(DiskFault, AFailedSyncStopsWritesAndLosesNothing) {
  fail_each({.at = Fault::At::Sync, .error = EIO, .stays = true}, After::Stopped, 1);
}

TEST(DiskFault, ASyncThatFailsOnceIsNeverTrustedAgain) {
  fail_each({.at = Fault::At::Sync, .error = EIO}, After::Stopped, 1);
}

TEST(DiskFault, AFullDiskRefusesWritesAndLosesNothing) {
  fail_each({.at = Fault::At::Write, .error = ENOSPC, .stays = true}, After::GoesOn, 13);
}

TEST(DiskFault, AStoreGoesOnWhenThereIsRoomAgain) {
  fail_each({.at = Fault::At::Write, .error = ENOSPC}, After::GoesOn, 17);
}

}  // namespace
}  // namespace kubernel::crash
