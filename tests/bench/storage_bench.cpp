// SPDX-License-Identifier: Apache-2.0
//
// storage-bench: how fast the stores are. Goals C1 to C5, and memory and size per key.
//
//   storage-bench DIRECTORY [SECONDS [REVISIONS [BACKEND [lag|writers|writer]]]]
//
// REVISIONS (default 1,000,000) are written and compacted for C5; SECONDS 0 runs nothing else.
// DIRECTORY must be on the disk to be measured; the stores are made in it and removed. Writes are durable.
// BACKEND: sqlite (the default), postgres, mysql, etcd. The server is started by this program; what it does without us,
// with one row per commit from 64 clients, is measured beside it; for etcd also what etcd-server does in its place
// (C3). lag: nothing but C4's last line; writers, writer: nothing but one line of C1 or C2.

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <kubernel/testing/fake_clock.h>

#include "core/base/epoll_poller.h"
#include "core/base/system_clock.h"
#include "core/base/thread_pool.h"
#ifdef KUBERNEL_TEST_ETCD
#include "etcd_bench.h"
#endif
#include "server_bench.h"
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

// Opens the store to be measured, or another handle on it.
using Open = std::function<Result<std::unique_ptr<storage::Backend>>(storage::BackendContext)>;

struct Bench {
  Open open_store;
  double seconds;
  testing::RecordingLogger log;
  testing::RecordingMetrics metrics;
  core::SystemClock clock;
  core::EpollPoller poller;
  core::ThreadPool executor{{.name = "blocking", .threads = 4}, log, metrics};
  std::unique_ptr<storage::Backend> store;

  void open() {
    auto opened = open_store({"", log, metrics, clock, executor, poller});
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

// What no store that syncs can do better: one write of a page, over what was there, and its sync.
void disk(const std::filesystem::path& directory, double seconds) {
  constexpr std::size_t kPage = 4096;
  constexpr std::size_t kPages = 1024;
  const std::string path = directory / "disk";
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  std::string page(kPage, 'x');
  const auto write = [&](std::size_t at) {
    if (::pwrite(fd, page.data(), kPage, static_cast<off_t>(at % kPages * kPage)) < 0) fail("cannot write " + path);
  };
  if (fd < 0) fail("cannot create " + path);
  for (std::size_t i = 0; i < kPages; ++i) write(i);
  std::vector<double> latencies;
  ::fsync(fd);
  const auto began = Steady::now();
  for (std::size_t i = 0; since(began) < seconds; ++i) {
    const auto start = Steady::now();
    write(i);
    if (::fdatasync(fd) != 0) fail("cannot sync " + path);
    latencies.push_back(since(start));
  }
  ::close(fd);
  std::filesystem::remove(path);
  std::sort(latencies.begin(), latencies.end());
  std::printf("disk   a page written over and synced: p50 %6.0f us, p99 %6.0f us\n", quantile(latencies, 0.5) * 1e6,
              quantile(latencies, 0.99) * 1e6);
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
  std::printf("%s %2d writers, %4zu B values: %8.0f writes/s, p50 %6.0f us, p99 %6.0f us, max %6.0f us,", goal, count,
              value_size, writes / elapsed, quantile(all, 0.5) * 1e6, quantile(all, 0.99) * 1e6, all.back() * 1e6);
  if (syncs > 0) std::printf(" %5.1f writes/commit,", writes / syncs);  // etcd does not tell.
  std::printf(" %4.1f us CPU/write\n", (cpu_seconds() - cpu_before) / writes * 1e6);
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
  // A server may go on with it after it has answered.
  std::this_thread::sleep_for(std::chrono::seconds(1));
  stop = true;
  writer.join();
  if (!compacted) fail(compacted.error().message());
  std::sort(stalls.begin(), stalls.end());
  std::printf(
      "C5 compacting %lld revisions: %.2f s; a writer meanwhile: p50 %.0f us, p99 %.0f us, max %.1f ms (%zu writes)\n",
      static_cast<long long>(stats->revision - stats->compacted), elapsed, quantile(stalls, 0.5) * 1e6,
      quantile(stalls, 0.99) * 1e6, stalls.empty() ? 0 : stalls.back() * 1e3, stalls.size());
}

// C4: another process's view of 64 writers. Every event must come, in order; how late is counted from the moment the
// writer was told.
void lag(Bench& bench, const bench::MeasuredServer& server) {
  Bench other{.open_store = bench.open_store, .seconds = bench.seconds};
  other.open();
  const double cpu_before = cpu_seconds();
  auto watch = other.store->watch({.start = "/registry/lag/", .end = "/registry/lag0"});
  if (!watch) fail(watch.error().message());
  std::mutex mutex;
  std::condition_variable changed;
  std::map<storage::Revision, Steady::time_point> acknowledged;
  bool rung = false;
  (*watch)->notify([&] {
    const std::lock_guard lock(mutex);
    rung = true;
    changed.notify_one();
  });
  std::atomic<bool> stop = false;
  std::atomic<bool> done = false;  // All writers have been told of their last write.
  std::atomic<std::int64_t> written = 0;
  using Times = std::map<storage::Revision, Steady::time_point>;
  Times seen;
  Times seen_raw;
  const auto raw = server.watch_raw ? server.watch_raw([&](storage::Revision revision) {
    const std::lock_guard lock(mutex);
    seen_raw.emplace(revision, Steady::now());
  })
                                    : nullptr;
  {
    std::vector<std::jthread> threads;
    for (int writer = 0; writer < 64; ++writer) {
      threads.emplace_back([&, writer] {
        std::vector<std::pair<storage::Revision, Steady::time_point>> mine;
        storage::Revision revision = 0;
        const std::string key = "/registry/lag/" + std::to_string(writer);
        while (!stop) {
          revision = bench.put(key, std::string(256, 'v'), revision);
          mine.emplace_back(revision, Steady::now());
          ++written;
        }
        const std::lock_guard lock(mutex);
        acknowledged.insert(mine.begin(), mine.end());
      });
    }
    std::jthread ender([&] {
      std::this_thread::sleep_for(std::chrono::duration<double>(bench.seconds));
      stop = true;
      threads.clear();
      done = true;
      const std::lock_guard lock(mutex);
      rung = true;
      changed.notify_one();
    });
    storage::Revision last = 0;
    while (!done || static_cast<std::int64_t>(seen.size()) < written) {
      const auto batch = (*watch)->take(1000);
      if (!batch) fail(batch.error().message());
      const auto now = Steady::now();
      for (const storage::Event& event : batch->events) {
        if (event.kv.modified <= last) fail("an event came twice or out of order");
        last = event.kv.modified;
        seen.emplace(last, now);
      }
      if (!batch->events.empty()) continue;
      std::unique_lock lock(mutex);
      if (!changed.wait_for(lock, std::chrono::seconds(10), [&] { return rung; })) fail("events are missing");
      rung = false;
    }
  }
  (*watch)->notify({});
  const double cpu = cpu_seconds() - cpu_before;
  const auto lags_of = [&](const Times& times) {
    std::vector<double> lags;
    for (const auto& [revision, when] : acknowledged) {
      const auto found = times.find(revision);
      if (found == times.end()) fail("an event is missing");
      lags.push_back(std::max(0.0, std::chrono::duration<double>(found->second - when).count()));
    }
    std::sort(lags.begin(), lags.end());
    return lags;
  };
  auto lags = lags_of(seen);
  std::printf(
      "C4 another process sees all %zu events of 64 writers: lag p50 %.1f ms, p99 %.1f ms, max %.1f ms, %.1f us CPU "
      "each\n",
      lags.size(), quantile(lags, 0.5) * 1e3, quantile(lags, 0.99) * 1e3, lags.back() * 1e3,
      cpu / static_cast<double>(lags.size()) * 1e6);
  if (!raw) return;
  std::unique_lock lock(mutex);
  const auto all = [&] { return seen_raw.contains(acknowledged.rbegin()->first); };
  for (int i = 0; i < 10 && !all(); ++i) changed.wait_for(lock, std::chrono::seconds(1), all);
  lags = lags_of(seen_raw);
  std::printf("raw    a bare watch of the server beside it: lag p50 %.1f ms, p99 %.1f ms, max %.1f ms\n",
              quantile(lags, 0.5) * 1e3, quantile(lags, 0.99) * 1e3, lags.back() * 1e3);
}

}  // namespace

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
#ifdef KUBERNEL_TEST_ETCD
  if (argc == 3 && argv[1] == std::string_view("serve-etcd")) return bench::serve_etcd(argv[2]);
#endif
  if (argc < 2)
    fail("usage: storage-bench DIRECTORY [SECONDS [REVISIONS [sqlite|postgres|mysql|etcd [lag|writers|writer]]]]");
  const std::string backend = argc > 4 ? argv[4] : "sqlite";
  const std::string_view only = argc > 5 ? argv[5] : "";
  const bool lag_only = only == "lag";
  const std::filesystem::path directory = std::filesystem::path(argv[1]) / "storage-bench";
  std::filesystem::remove_all(directory);
  std::filesystem::create_directories(directory);
  bench::MeasuredServer server;
  Bench bench{.open_store = nullptr, .seconds = argc > 2 ? std::atof(argv[2]) : 5};
  if (backend == "sqlite") {
    bench.open_store = [directory](storage::BackendContext context) {
      context.config_json = R"({"path":")" + (directory / "bench.db").string() + R"("})";
      return storage_sqlite::open_sqlite(context);
    };
  } else {
    std::string why;
    server = bench::start_server(backend, std::filesystem::absolute(directory), why);
    if (!server.open) fail(why);
    if (bench.seconds > 0 && !lag_only) server.measure_raw(bench.seconds);
    bench.open_store = server.open;
  }
  double load_average = 0;
  ::getloadavg(&load_average, 1);
  std::printf("%s (load average %.1f)\n", backend.c_str(), load_average);
  bench.open();
  if (lag_only) {
    lag(bench, server);
    return 0;
  }
  if (only == "writers" || only == "writer") {
    writers(bench, only == "writer" ? "C2" : "C1", only == "writer" ? 1 : 64, 256);
    return 0;
  }
  if (bench.seconds > 0) {
    if (backend == "sqlite") disk(directory, bench.seconds);
    writers(bench, "C2", 1, 256);
    writers(bench, "C2", 1, 1024);
    const char* const goal = backend == "sqlite" ? "C1" : "C4";
    for (const std::size_t value_size : {std::size_t{16}, std::size_t{256}, std::size_t{1024}})
      writers(bench, goal, 64, value_size);
    if (backend != "sqlite") lag(bench, server);
    load(bench, 100'000, 1024);
  }
  compaction(bench, argc > 3 ? std::atoi(argv[3]) : 1'000'000);
  bench.store.reset();
  const auto began = Steady::now();
  bench.open();
  std::printf("open   %.1f ms\n", since(began) * 1e3);
  bench.store.reset();
  server = {};
  std::filesystem::remove_all(directory);
  return 0;
}
