// SPDX-License-Identifier: Apache-2.0
//
// storage-bench: how fast the embedded store is. Goals C1, C2 and C5, and memory and file size per key.
//
//   storage-bench DIRECTORY [SECONDS [REVISIONS]]
//
// REVISIONS (default 1,000,000) are written and compacted for C5; SECONDS 0 runs nothing else.
// DIRECTORY must be on the disk to be measured; the store is made in it and removed. Writes are durable.

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <kubernel/testing/fake_clock.h>

#include "sqlite_backend.h"

namespace {

using namespace kubernel;
using Steady = std::chrono::steady_clock;

double since(Steady::time_point began) {
  return std::chrono::duration<double>(Steady::now() - began).count();
}

[[noreturn]] void fail(const std::string& why) {
  std::fprintf(stderr, "storage-bench: %s\n", why.c_str());
  std::exit(1);
}

long resident_kb() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) return std::atol(line.c_str() + 6);
  }
  return 0;
}

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

class RealClock final : public Clock {
 public:
  TimePoint now() const override { return Steady::now(); }
  WallTime wall_now() const override { return std::chrono::system_clock::now(); }
  std::unique_ptr<Subscription> call_at(TimePoint, std::function<void()>) override { fail("no timer is expected"); }
};

// Two threads, as the process's pool has them.
class Pool final : public Executor {
 public:
  Pool() {
    for (auto& thread : threads_) thread = std::jthread([this](const std::stop_token& stop) { run(stop); });
  }
  Result<void> submit(std::function<void()> task) override {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    ready_.notify_one();
    return {};
  }

 private:
  void run(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (ready_.wait(lock, stop, [this] { return !tasks_.empty(); })) {
      const auto task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable_any ready_;
  std::deque<std::function<void()>> tasks_;
  std::array<std::jthread, 2> threads_;
};

struct Bench {
  std::filesystem::path directory;
  double seconds;
  RealClock clock;
  Pool executor;
  testing::RecordingLogger log;
  testing::RecordingMetrics metrics;
  testing::NoPoller poller;
  std::unique_ptr<storage::Backend> store;

  void open() {
    const std::string config = R"({"path":")" + (directory / "bench.db").string() + R"("})";
    auto opened = storage_sqlite::open_sqlite({config, log, metrics, clock, executor, poller});
    if (!opened) fail(opened.error().message());
    store = *std::move(opened);
  }

  storage::Revision put(std::string_view key, std::string_view value, storage::Revision expected) {
    const auto result = store->put({}, key, value, expected, 0);
    if (!result) fail(result.error().message());
    if (!result->applied) fail("lost a race that nobody else runs");
    return result->revision;
  }
};

double quantile(std::vector<double>& sorted, double q) {
  return sorted.empty()
             ? 0
             : sorted[std::min(sorted.size() - 1, static_cast<std::size_t>(q * static_cast<double>(sorted.size())))];
}

// `writers` threads, each with 200 keys of its own, update them in turn.
void writers(Bench& bench, const char* goal, int count, std::size_t value_size) {
  const std::string value(value_size, 'v');
  std::atomic<bool> stop = false;
  std::vector<std::vector<double>> latencies(static_cast<std::size_t>(count));
  const std::string commits = "kubernel_storage_commits_total";
  const double commits_before = bench.metrics.value(commits);
  const double cpu_before = cpu_seconds();
  const auto began = Steady::now();
  {
    std::vector<std::jthread> threads;
    for (int writer = 0; writer < count; ++writer) {
      threads.emplace_back([&, writer] {
        std::vector<storage::Revision> revisions(200);
        auto& mine = latencies[static_cast<std::size_t>(writer)];
        mine.reserve(1U << 18U);
        const std::string prefix = "/registry/pods/" + std::to_string(count) + "-" + std::to_string(value_size) + "/" +
                                   std::to_string(writer) + "/pod-";
        for (std::size_t i = 0; !stop; ++i) {
          auto& revision = revisions[i % revisions.size()];
          const auto start = Steady::now();
          revision = bench.put(prefix + std::to_string(i % revisions.size()), value, revision);
          mine.push_back(since(start));
        }
      });
    }
    std::this_thread::sleep_for(std::chrono::duration<double>(bench.seconds));
    stop = true;
  }
  const double elapsed = since(began);
  std::vector<double> all;
  for (const auto& mine : latencies) all.insert(all.end(), mine.begin(), mine.end());
  std::sort(all.begin(), all.end());
  const auto writes = static_cast<double>(all.size());
  const double syncs = bench.metrics.value(commits) - commits_before;
  std::printf(
      "%s %2d writers, %4zu B values: %8.0f writes/s, p50 %6.0f us, p99 %6.0f us, max %6.0f us, %5.1f writes/commit,"
      " %4.1f us CPU/write\n",
      goal, count, value_size, writes / elapsed, quantile(all, 0.5) * 1e6, quantile(all, 0.99) * 1e6, all.back() * 1e6,
      writes / syncs, (cpu_seconds() - cpu_before) / writes * 1e6);
}

// Loads `count` keys from 64 writers, then looks at memory and the file.
void load(Bench& bench, int count, std::size_t value_size) {
  const std::string value(value_size, 'v');
  const long before = resident_kb();
  const auto began = Steady::now();
  std::atomic<int> next = 0;
  {
    std::vector<std::jthread> threads;
    for (int writer = 0; writer < 64; ++writer) {
      threads.emplace_back([&] {
        for (int i = next++; i < count; i = next++)
          bench.put("/registry/load/" + std::to_string(i * 7919LL % count), value, 0);
      });
    }
  }
  const double elapsed = since(began);
  const auto stats = bench.store->stats({});
  if (!stats) fail(stats.error().message());
  std::printf("memory %d keys of %zu B: resident +%ld KB (%.0f B/key), file %.0f B/key, loaded at %.0f/s\n", count,
              value_size, resident_kb() - before, static_cast<double>(resident_kb() - before) * 1024 / count,
              static_cast<double>(stats->size_bytes) / static_cast<double>(stats->keys), count / elapsed);
  const auto list_began = Steady::now();
  const auto page = bench.store->range({}, {.start = "/registry/load/", .end = "/registry/load0"});
  if (!page || page->items.size() != static_cast<std::size_t>(count)) fail("the range is not complete");
  std::printf("range  %d keys of %zu B: %.1f ms\n", count, value_size, since(list_began) * 1e3);
}

// One writer goes on while `revisions` are compacted.
void compaction(Bench& bench, int revisions) {
  std::atomic<int> next = 0;
  {
    std::vector<std::jthread> threads;
    for (int writer = 0; writer < 64; ++writer) {
      threads.emplace_back([&, writer] {
        std::vector<storage::Revision> known(100);
        for (std::size_t i = 0; next++ < revisions; ++i) {
          auto& revision = known[i % known.size()];
          revision = bench.put("/registry/compact/" + std::to_string(writer) + "/" + std::to_string(i % known.size()),
                               std::string(100, 'v'), revision);
        }
      });
    }
  }
  const auto stats = bench.store->stats({});
  if (!stats) fail(stats.error().message());
  std::atomic<bool> stop = false;
  std::vector<double> stalls;
  std::jthread writer([&] {
    storage::Revision revision = 0;
    while (!stop) {
      const auto start = Steady::now();
      revision = bench.put("/registry/compact-writer", "v", revision);
      stalls.push_back(since(start));
    }
  });
  const auto began = Steady::now();
  const auto compacted = bench.store->compact({}, stats->revision);
  const double elapsed = since(began);
  stop = true;
  writer.join();
  if (!compacted) fail(compacted.error().message());
  std::sort(stalls.begin(), stalls.end());
  std::printf(
      "C5 compacting %lld revisions: %.2f s; a writer meanwhile: p50 %.0f us, p99 %.0f us, max %.1f ms (%zu writes)\n",
      static_cast<long long>(stats->revision - stats->compacted), elapsed, quantile(stalls, 0.5) * 1e6,
      quantile(stalls, 0.99) * 1e6, stalls.empty() ? 0 : stalls.back() * 1e3, stalls.size());
}

}  // namespace

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  if (argc < 2) fail("usage: storage-bench DIRECTORY [SECONDS [REVISIONS]]");
  Bench bench{.directory = std::filesystem::path(argv[1]) / "storage-bench",
              .seconds = argc > 2 ? std::atof(argv[2]) : 5};
  std::filesystem::remove_all(bench.directory);
  std::filesystem::create_directories(bench.directory);
  bench.open();
  if (bench.seconds > 0) {
    writers(bench, "C2", 1, 256);
    writers(bench, "C2", 1, 1024);
    for (const std::size_t value_size : {std::size_t{16}, std::size_t{256}, std::size_t{1024}})
      writers(bench, "C1", 64, value_size);
    load(bench, 100'000, 1024);
  }
  compaction(bench, argc > 3 ? std::atoi(argv[3]) : 1'000'000);
  bench.store.reset();
  const auto began = Steady::now();
  bench.open();
  std::printf("open   %.1f ms\n", since(began) * 1e3);
  bench.store.reset();
  std::filesystem::remove_all(bench.directory);
  return 0;
}
