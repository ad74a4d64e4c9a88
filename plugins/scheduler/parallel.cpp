// SPDX-License-Identifier: Apache-2.0
#include "parallel.h"

#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>

namespace kubernel::plugins {
namespace {

// Pieces large enough that handing one out costs nothing beside the work in it.
constexpr std::size_t kPiece = 32;

// Helpers that come late find no piece left; they only touch this shared state, never the caller's stack.
struct Work {
  std::mutex mutex;
  std::condition_variable finished;
  std::size_t next = 0;
  std::size_t count = 0;
  std::size_t running = 0;
  const std::function<void(std::size_t, std::size_t)>* work = nullptr;
  const std::function<bool()>* stop = nullptr;

  void run() {
    std::unique_lock lock(mutex);
    while (next < count && !(*stop)()) {
      const std::size_t first = next;
      next = std::min(count, first + kPiece);
      ++running;
      const std::size_t last = next;
      lock.unlock();
      (*work)(first, last);
      lock.lock();
      --running;
    }
    next = count;
    if (running == 0) finished.notify_all();
  }
};

}  // namespace

void parallel_for(Executor& compute, std::size_t helpers, std::size_t count,
                  const std::function<void(std::size_t first, std::size_t last)>& work,
                  const std::function<bool()>& stop) {
  if (helpers == 0) {
    if (count > 0 && !stop()) work(0, count);
    return;
  }
  const auto shared = std::make_shared<Work>();
  shared->count = count;
  shared->work = &work;
  shared->stop = &stop;
  for (std::size_t i = 0; i < helpers && (i + 1) * kPiece < count; ++i) {
    // A full pool only means fewer helpers.
    if (!compute.submit([shared] { shared->run(); })) break;
  }
  shared->run();
  std::unique_lock lock(shared->mutex);
  shared->finished.wait(lock, [&] { return shared->running == 0; });
}

}  // namespace kubernel::plugins
