// SPDX-License-Identifier: Apache-2.0
//
// What a client does to a store until the store dies, and how its record of it is judged afterwards.

#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include <kubernel/testing/fake_clock.h>
#include <kubernel/testing/history.h>

namespace kubernel::crash {

/// What a store is opened with when the test looks at nothing of it.
struct Surroundings {
  testing::FakeClock clock;
  testing::ManualExecutor blocking;
  testing::RecordingLogger log;
  testing::RecordingMetrics metrics;
  testing::NoPoller poller;

  Result<std::unique_ptr<storage::Backend>> open(const std::string& path, const std::string& synchronous = "full");
};

/// In memory where there is a file system for it: a killed process loses nothing that was written to a file.
class ScratchDirectory {
 public:
  ScratchDirectory();
  ~ScratchDirectory();
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  std::string path() const { return path_.string(); }
  std::string store() const { return (path_ / "state.db").string(); }
  void clear() const;

 private:
  std::filesystem::path path_;
};

/// What a value tells of who wrote it: nobody else writes the same.
struct Signature {
  std::int32_t client = 0;
  std::int64_t number = 0;  ///< Of the client's writes.
  std::int64_t bytes = 0;

  std::string text() const;
  static Signature of(const std::string& text);
};

/// One moment of a client's work, small enough to go through a pipe in one piece: it looks at a key, begins to write
/// it, and is told. Or it finds that somebody removed the key.
struct Step {
  enum class Phase : std::uint8_t { Look, Begin, Applied, Lost, Failed, Removed };
  Phase phase = Phase::Look;
  bool remove = false;
  std::int32_t client = 0;
  std::int64_t key = 0;
  Signature value;
  storage::Revision expected = 0;
  storage::Revision revision = 0;
  Signature seen;
  storage::Revision seen_at = 0;  ///< 0: the key was not there.

  std::string key_text() const { return "/k" + std::to_string(key); }
};

/// Lengths of a Client's large values: over a few pages; and so long that the log is copied into the database.
constexpr std::uint64_t kLarge = 20'000;
constexpr std::uint64_t kHuge = 1'200'000;

/// Writes, removes and sometimes loses, on a few keys, one call after the other.
///
/// Threads: one. `tell` is called before and after each call to the store.
class Client {
 public:
  using Tell = std::function<void(const Step&)>;
  /// `run`: differs each time the store is opened. `large`: what one value in ten may be as long as.
  Client(storage::Backend& store, int client, std::uint64_t seed, std::int64_t run, std::uint64_t large, Tell tell);

  /// False when the store failed.
  bool step();
  /// Lets go of history up to a random revision; tells of what was removed up to there first. Whoever removed it may
  /// not have been told yet, may never be, and nothing else shows it afterwards.
  bool compact();

 private:
  static constexpr std::int64_t kKeys = 6;

  bool tell_removed(storage::Revision from, storage::Revision to);

  storage::Backend& store_;
  const int client_;
  testing::SeededRandom random_;
  std::int64_t number_;
  const std::uint64_t large_;
  const Tell tell_;
  std::map<std::int64_t, storage::Revision> known_;
};

/// The clients' record of a store that dies and is opened again.
class Record {
 public:
  /// In the order the steps were told.
  void add(const Step& step);

  /// Looks at all the opened store holds, writes to it, and judges the whole against the record. What it held then is
  /// where the record starts anew.
  ///
  /// Returns what is wrong; empty when nothing is.
  std::string judge(storage::Backend& store);

  std::size_t acknowledged() const { return acknowledged_; }

 private:
  std::unique_ptr<testing::History> history() const;
  static Result<storage::Page> read_and_write(testing::History& history, storage::Backend& store);

  storage::Revision start_ = 1;
  std::map<std::string, storage::KeyValue> initial_;
  std::vector<Step> steps_;
  std::size_t acknowledged_ = 0;
};

/// The seed of this run, and how many rounds a test has: KUBERNEL_CRASH_SEED and KUBERNEL_CRASH_ROUNDS, when set.
std::uint64_t seed();
int rounds(int usual);

/// How long a test goes on when nobody chose a number of rounds.
class TimeLimit {
 public:
  explicit TimeLimit(std::chrono::seconds usual);
  bool reached() const;

 private:
  std::chrono::steady_clock::time_point end_;
};

}  // namespace kubernel::crash
