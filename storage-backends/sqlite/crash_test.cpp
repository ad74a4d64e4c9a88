// SPDX-License-Identifier: Apache-2.0
//
// A process that writes is killed at random moments. Whatever it was told is written must be there.

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <map>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "scratch_store.h"

namespace kubernel::storage_sqlite {
namespace {

constexpr int kWriters = 4;

/// One acknowledged write: the counter in key /w/<writer> was set at `revision`.
struct Acknowledged {
  std::int64_t writer = 0;
  std::int64_t counter = 0;
  storage::Revision revision = 0;
};

std::string key_of(std::int64_t writer) {
  return "/w/" + std::to_string(writer);
}

// Counts up in its key, and reports each write that returned.
void write_on(storage::Backend& store, std::int64_t writer, int report) {
  const auto found = store.get({}, key_of(writer), 0);
  if (!found) ::_exit(3);
  std::int64_t counter = *found ? std::stoll((*found)->value) : 0;
  storage::Revision expected = *found ? (*found)->modified : 0;
  for (;;) {
    ++counter;
    const auto result = store.put({}, key_of(writer), std::to_string(counter), expected, 0);
    if (!result || !result->applied) ::_exit(4);
    expected = result->revision;
    const Acknowledged done{writer, counter, expected};
    if (::write(report, &done, sizeof done) != sizeof done) ::_exit(5);
  }
}

// The process that is killed. It ends in no other way.
[[noreturn]] void victim(const std::string& path, int report) {
  Surroundings around;
  auto store = around.open(path);
  if (!store) {
    ::fprintf(stderr, "%s\n", store.error().message().c_str());
    ::_exit(2);
  }
  std::vector<std::jthread> threads;
  for (std::int64_t writer = 0; writer < kWriters; ++writer) {
    threads.emplace_back([&store, writer, report] { write_on(**store, writer, report); });
  }
  for (;;) {  // History is compacted all the while.
    const auto stats = (*store)->stats({});
    if (!stats || !(*store)->compact({}, std::max(stats->compacted, stats->revision - 20))) ::_exit(6);
  }
}

class Pipe {
 public:
  Pipe() {
    if (::pipe2(ends_.data(), O_CLOEXEC) != 0) std::abort();
  }
  ~Pipe() {
    close_end(0);
    close_end(1);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  int reader() const { return ends_[0]; }
  int writer() const { return ends_[1]; }
  void close_end(std::size_t which) {
    if (ends_.at(which) >= 0) ::close(ends_.at(which));
    ends_.at(which) = -1;
  }

 private:
  std::array<int, 2> ends_{-1, -1};
};

// Runs a victim until it has reported `reports` writes, kills it, and keeps the last write of each writer.
void run_and_kill(const std::string& path, std::uint64_t reports, std::map<std::int64_t, Acknowledged>& last) {
  Pipe pipe;
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    pipe.close_end(0);
    victim(path, pipe.writer());
  }
  pipe.close_end(1);
  Acknowledged done;
  for (std::uint64_t seen = 0; ::read(pipe.reader(), &done, sizeof done) == sizeof done; ++seen) {
    last[done.writer] = done;
    if (seen == reports) ::kill(child, SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << "the victim ended by itself: " << status;
}

void verify(storage::Backend& store, const std::map<std::int64_t, Acknowledged>& last) {
  const auto stats = store.stats({});
  ASSERT_TRUE(stats) << stats.error().message();
  for (const auto& [writer, done] : last) {
    const auto found = store.get({}, key_of(writer), 0);
    ASSERT_TRUE(found && *found);
    const std::int64_t counter = std::stoll((*found)->value);
    EXPECT_GE(counter, done.counter) << "an acknowledged write is gone";
    EXPECT_LE(counter, done.counter + 1) << "a write nobody made";
    EXPECT_EQ((*found)->version, counter);
    if (counter == done.counter) {
      EXPECT_EQ((*found)->modified, done.revision);
    }
    EXPECT_GE(stats->revision, done.revision);
  }
  const auto events = store.watch({.from = std::max<storage::Revision>(stats->compacted, 2)});
  ASSERT_TRUE(events);
  storage::Revision next = std::max<storage::Revision>(stats->compacted, 2);
  for (;;) {
    const auto batch = (*events)->take(100);
    ASSERT_TRUE(batch) << batch.error().message();
    if (batch->events.empty()) break;
    for (const auto& event : batch->events) ASSERT_EQ(event.kv.modified, next++);
  }
  EXPECT_EQ(next, stats->revision + 1) << "history has a gap";
}

TEST(SqliteCrash, NoAcknowledgedWriteIsLostWhenTheProcessIsKilled) {
  constexpr int kRounds = 25;
  const ScratchDirectory directory;
  const std::string path = directory.file("state.db");
  testing::SeededRandom random(20261121);
  std::map<std::int64_t, Acknowledged> last;
  for (int round = 0; round < kRounds; ++round) {
    SCOPED_TRACE(round);
    ASSERT_NO_FATAL_FAILURE(run_and_kill(path, random.next() % 300, last));
    Surroundings around;
    auto store = around.open(path);
    ASSERT_TRUE(store) << store.error().message();
    ASSERT_NO_FATAL_FAILURE(verify(**store, last));
  }
  EXPECT_EQ(last.size(), static_cast<std::size_t>(kWriters));
}

}  // namespace
}  // namespace kubernel::storage_sqlite
