// SPDX-License-Identifier: Apache-2.0
//
// CacheSet: the watch caches of all resources, fed by one storage watch.

#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/base/clock.h>
#include <kubernel/base/context.h>
#include <kubernel/base/executor.h>
#include <kubernel/base/log.h>
#include <kubernel/storage/backend.h>

#include "watch_cache/resource_cache.h"

namespace kubernel::apiserver {

class CacheSet {
 public:
  CacheSet(storage::Backend& backend, Clock& clock, Executor& blocking, Logger& log);
  ~CacheSet();

  /// Adds the cache of what lies under `prefix` ("/registry/pods"). Before start().
  ResourceCache& add(std::string prefix, CacheOptions options);

  /// Reads the store and begins to follow it.
  Result<void> start(const CallContext& ctx);
  void stop();

  /// Applies what the store has ready. Any thread may help; one at a time works, the others wait for it.
  void pump();

  /// Returns once everything up to `revision` is in the caches.
  /// Errors: Timeout, Cancelled.
  Result<void> wait_for(const CallContext& ctx, Revision revision);
  /// wait_for() the store's own revision: what is read from the caches after it is as new as a read of the store.
  Result<Revision> sync(const CallContext& ctx);

  Revision progress() const noexcept { return progress_.load(std::memory_order_acquire); }

 private:
  struct Slot {
    std::string prefix;  // With the slash.
    std::unique_ptr<ResourceCache> cache;
    bool touched = false;
  };
  struct Lent;

  Slot* slot_of(std::string_view key);
  Result<void> fill(const CallContext& ctx);
  void apply(const storage::Event& event);
  bool pump_locked();
  void arm();
  void schedule_bookmarks();

  storage::Backend& backend_;
  Clock& clock_;
  Executor& blocking_;
  Logger& log_;
  std::vector<Slot> slots_;  // Ascending by prefix.

  std::mutex pump_mutex_;
  std::unique_ptr<storage::Watch> watch_;
  std::atomic<Revision> progress_{0};

  std::mutex progress_mutex_;
  std::condition_variable progressed_;
  std::atomic<bool> pump_queued_{false};
  std::shared_ptr<Lent> lent_;  // What queued tasks and timers hold; emptied by stop().
  std::unique_ptr<Subscription> bookmark_timer_;
  std::mutex timer_mutex_;
  bool stopped_ = false;
};

}  // namespace kubernel::apiserver
