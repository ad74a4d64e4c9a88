// SPDX-License-Identifier: Apache-2.0
//
// The power goes while a store is written to, or while it recovers from the last time. What was not synced is gone,
// or there, or torn, in any order.

#include <algorithm>
#include <cstdio>
#include <vector>

#include <gtest/gtest.h>

#include "disk_model.h"
#include "recorded_disk.h"
#include "workload.h"

namespace kubernel::crash {
namespace {

// A step, and how many calls the disk had seen when it was told.
struct Marked {
  Step step;
  std::size_t at = 0;
};

struct RecordedRun {
  std::vector<DiskCall> calls;
  std::size_t found = 0;  // The first of the calls tell what was on the disk already.
  std::vector<Marked> steps;
};

// Opens the store in `directory`, writes to it and closes it again, and keeps what the disk saw.
RecordedRun recorded_run(const ScratchDirectory& directory, std::uint64_t seed, std::int64_t number, int steps,
                         std::uint64_t large, const std::string& synchronous = "full") {
  RecordedRun run;
  RecordedDisk disk(directory.path());
  run.found = disk.size();
  {
    Surroundings around;
    auto store = around.open(directory.store(), synchronous);
    EXPECT_TRUE(store) << store.error().message();
    if (!store) return run;
    Client client(**store, 0, seed, number, large, [&](const Step& step) { run.steps.push_back({step, disk.size()}); });
    for (int i = 0; i < steps; ++i) {
      EXPECT_TRUE(client.step());
      const bool compacted = i % 16 != 15 || client.compact();
      EXPECT_TRUE(compacted);
      around.blocking.run_all();  // The log is copied into the database here.
    }
  }
  run.calls = disk.calls();
  return run;
}

// The record as it was when the disk had seen `calls` calls, judged against what a cut at that moment left.
void cut_and_judge(const RecordedRun& run, const DiskModel& disk, std::size_t calls, std::uint64_t seed, Record& record,
                   bool again) {
  testing::SeededRandom random(seed);
  const ScratchDirectory left;
  disk.cut(random, left.path());
  for (const Marked& marked : run.steps) {
    if (marked.at > calls) break;
    // What the program did next had not begun, or had not reached the disk yet.
    if (marked.at == calls && marked.step.phase != Step::Phase::Begin && random_below(random, 2) == 0) break;
    record.add(marked.step);
  }
  if (again) {
    // The power goes again while the store is opened, and a little later.
    const RecordedRun second = recorded_run(left, random.next(), 2, 3, kLarge);
    DiskModel model;
    const std::size_t end = second.found + random_below(random, second.calls.size() + 1 - second.found);
    for (std::size_t i = 0; i < end; ++i) model.apply(second.calls[i], random);
    ASSERT_NO_FATAL_FAILURE(cut_and_judge(second, model, end, random.next(), record, false));
    return;
  }
  Surroundings around;
  auto store = around.open(left.store());
  ASSERT_TRUE(store) << store.error().message();
  ASSERT_EQ(record.judge(**store), "");
}

TEST(PowerCut, NoAcknowledgedWriteIsLostWhenThePowerGoes) {
  const int cuts = rounds(2000);
  const TimeLimit limit(std::chrono::seconds(5));
  testing::SeededRandom random(seed());
  std::size_t acknowledged = 0;
  int done = 0;
  while (done < cuts && !limit.reached()) {
    const std::uint64_t run_seed = random.next();
    const bool huge = random_below(random, 4) == 0;
    const ScratchDirectory directory;
    const RecordedRun run =
        huge ? recorded_run(directory, run_seed, 1, 100, kHuge) : recorded_run(directory, run_seed, 1, 60, kLarge);
    ASSERT_FALSE(HasFailure());
    std::vector<std::size_t> moments;
    for (int i = 0; i < (huge ? 20 : 100) && done < cuts; ++i, ++done) {
      moments.push_back(random_below(random, run.calls.size() + 1));
    }
    std::sort(moments.begin(), moments.end());
    DiskModel disk;
    std::size_t seen = 0;
    for (const std::size_t moment : moments) {
      for (; seen < moment; ++seen) disk.apply(run.calls[seen], random);
      Record record;
      const std::uint64_t cut_seed = random.next();
      SCOPED_TRACE("KUBERNEL_CRASH_SEED=" + std::to_string(seed()) + ", cut after call " + std::to_string(moment) +
                   " of run " + std::to_string(run_seed));
      ASSERT_NO_FATAL_FAILURE(cut_and_judge(run, disk, moment, cut_seed, record, random_below(random, 4) == 0));
      acknowledged += record.acknowledged();
    }
  }
  std::printf("%d power cuts, %zu acknowledged writes, none lost (seed %llu)\n", done, acknowledged,
              static_cast<unsigned long long>(seed()));
  EXPECT_GT(acknowledged, static_cast<std::size_t>(done));
}

// What the tests above rest on: they would notice.
TEST(PowerCut, AStoreThatDoesNotSyncIsFoundOut) {
  testing::SeededRandom random(seed());
  const ScratchDirectory directory;
  const RecordedRun run = recorded_run(directory, random.next(), 1, 20, kLarge, "normal");
  int found = 0;
  for (int i = 0; i < 20; ++i) {
    DiskModel disk;
    // Up to the last acknowledgement: closing the store syncs it.
    for (std::size_t at = 0; at < run.steps.back().at; ++at) disk.apply(run.calls[at], random);
    const ScratchDirectory left;
    disk.cut(random, left.path());
    Record record;
    for (const Marked& marked : run.steps) record.add(marked.step);
    Surroundings around;
    auto store = around.open(left.store());
    ASSERT_TRUE(store) << store.error().message();
    if (!record.judge(**store).empty()) ++found;
  }
  EXPECT_GT(found, 0);
}

// Frames left in the log of a closed store would be read before the database: one flipped bit in them, and everything
// written after it would be undone without an error.
TEST(PowerCut, AStoreThatWasClosedReadsNothingFromItsLog) {
  const ScratchDirectory directory;
  Record record;
  for (int run = 1; run <= 2; ++run) {
    Surroundings around;
    auto store = around.open(directory.store());
    ASSERT_TRUE(store) << store.error().message();
    Client client(**store, 0, seed(), run, kLarge, [&](const Step& step) { record.add(step); });
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(client.step());
    store->reset();
    EXPECT_EQ(std::filesystem::file_size(directory.store() + "-wal"), 0U);
  }
  Surroundings around;
  auto store = around.open(directory.store());
  ASSERT_TRUE(store) << store.error().message();
  EXPECT_EQ(record.judge(**store), "");
}

}  // namespace
}  // namespace kubernel::crash
