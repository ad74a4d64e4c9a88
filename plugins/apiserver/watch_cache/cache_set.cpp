// SPDX-License-Identifier: Apache-2.0
#include "watch_cache/cache_set.h"

#include <algorithm>
#include <chrono>
#include <stop_token>
#include <utility>

namespace kubernel::apiserver {

namespace {

constexpr std::string_view kRoot = "/registry/";
constexpr std::string_view kRootEnd = "/registry0";  // '0' follows '/'.
constexpr std::size_t kBatch = 1000;
constexpr auto kBookmarkPeriod = std::chrono::seconds(60);

}  // namespace

// Tasks on the executor and timers hold this, not the set: after stop() they do nothing.
struct CacheSet::Lent {
  // Recursive: an executor may run a task inside submit(), which may lead to the next one.
  std::recursive_mutex mutex;
  CacheSet* set = nullptr;

  template <class F>
  void with(F&& f) {
    const std::lock_guard lock(mutex);
    if (set != nullptr) f(*set);
  }
};

CacheSet::CacheSet(storage::Backend& backend, Clock& clock, Executor& blocking, Logger& log)
    : backend_(backend), clock_(clock), blocking_(blocking), log_(log), lent_(std::make_shared<Lent>()) {}

CacheSet::~CacheSet() {
  stop();
}

ResourceCache& CacheSet::add(std::string prefix, CacheOptions options) {
  prefix += '/';
  const auto place = std::lower_bound(slots_.begin(), slots_.end(), prefix,
                                      [](const Slot& slot, const std::string& p) { return slot.prefix < p; });
  if (place != slots_.end() && place->prefix == prefix) return *place->cache;
  auto cache = std::make_unique<ResourceCache>(std::move(options), clock_, progress_);
  ResourceCache& out = *cache;
  slots_.insert(place, Slot{std::move(prefix), std::move(cache)});
  return out;
}

CacheSet::Slot* CacheSet::slot_of(std::string_view key) {
  const auto after = std::upper_bound(slots_.begin(), slots_.end(), key,
                                      [](std::string_view k, const Slot& slot) { return k < slot.prefix; });
  if (after == slots_.begin()) return nullptr;
  Slot& slot = *std::prev(after);
  return key.starts_with(slot.prefix) ? &slot : nullptr;
}

Result<void> CacheSet::start(const CallContext& ctx) {
  {
    const std::lock_guard lock(pump_mutex_);
    KUBERNEL_CHECK_OK(fill(ctx));
  }
  lent_->set = this;
  arm();
  schedule_bookmarks();
  return {};
}

Result<void> CacheSet::fill(const CallContext& ctx) {
  storage::RangeOptions range{std::string(kRoot), std::string(kRootEnd), kBatch, 0, false};
  std::vector<storage::KeyValue> found;
  for (;;) {
    KUBERNEL_TRY(storage::Page page, backend_.range(ctx, range));
    range.at = page.revision;
    if (!page.items.empty()) range.start = page.items.back().key + '\0';
    found.insert(found.end(), std::make_move_iterator(page.items.begin()), std::make_move_iterator(page.items.end()));
    if (!page.more) break;
  }
  for (Slot& slot : slots_) slot.cache->reset(range.at);
  for (const storage::KeyValue& kv : found) {
    Slot* slot = slot_of(kv.key);
    if (slot == nullptr) continue;
    auto entry = slot->cache->make_entry(kv.value, kv.modified);
    if (!entry) {
      log_error(log_, "stored object cannot be read and is left out", {{"key", kv.key}, {"error", entry.error()}});
      continue;
    }
    slot->cache->load(kv.key.substr(slot->prefix.size()), *std::move(entry));
  }
  KUBERNEL_TRY(watch_, backend_.watch({std::string(kRoot), std::string(kRootEnd), range.at + 1}));
  progress_.store(range.at, std::memory_order_release);
  return {};
}

void CacheSet::arm() {
  watch_->notify([this, lent = lent_] {
    if (pump_queued_.exchange(true)) return;
    auto queued = blocking_.submit([lent] { lent->with([](CacheSet& set) { set.pump(); }); });
    // A full queue loses nothing: the next write, or the next reader that needs to be current, pumps.
    if (!queued) pump_queued_.store(false);
  });
}

void CacheSet::stop() {
  {
    const std::lock_guard lock(lent_->mutex);
    lent_->set = nullptr;
  }
  std::unique_ptr<Subscription> timer;
  {
    const std::lock_guard lock(timer_mutex_);
    stopped_ = true;
    timer = std::move(bookmark_timer_);
  }
  timer.reset();  // Not under the lock, which its callback takes.
  if (watch_) watch_->notify({});
  const std::lock_guard lock(pump_mutex_);
  watch_.reset();
}

void CacheSet::schedule_bookmarks() {
  const std::lock_guard lock(timer_mutex_);
  if (stopped_) return;
  bookmark_timer_ = clock_.call_at(clock_.now() + kBookmarkPeriod, [this, lent = lent_] {
    auto queued = blocking_.submit([lent] {
      lent->with([](CacheSet& set) {
        for (Slot& slot : set.slots_) slot.cache->request_bookmarks();
      });
    });
    if (!queued) log_debug(log_, "bookmarks are put off: the executor is busy");
    schedule_bookmarks();
  });
}

void CacheSet::apply(const storage::Event& event) {
  Slot* slot = slot_of(event.kv.key);
  if (slot == nullptr) return;
  slot->touched = true;
  const std::string key = event.kv.key.substr(slot->prefix.size());
  if (event.type == storage::Event::Type::Delete) {
    slot->cache->remove(key, event.kv.modified);
    return;
  }
  auto entry = slot->cache->make_entry(event.kv.value, event.kv.modified);
  if (!entry) {
    log_error(log_, "stored object cannot be read and is left out", {{"key", event.kv.key}, {"error", entry.error()}});
    return;
  }
  slot->cache->put(key, *std::move(entry), event.kv.modified);
}

bool CacheSet::pump_locked() {
  if (!watch_) return false;
  auto batch = watch_->take(kBatch);
  if (!batch) {
    log_warning(log_, "the watch of the store broke off; reading everything again", {{"error", batch.error()}});
    if (auto filled = fill({}); !filled) {
      log_error(log_, "the store cannot be read", {{"error", filled.error()}});
      return false;
    }
    for (Slot& slot : slots_) slot.touched = true;
    return true;
  }
  for (const storage::Event& event : batch->events) apply(event);
  Revision reached = std::max(batch->progress, progress_.load(std::memory_order_relaxed));
  if (!batch->events.empty()) reached = std::max(reached, batch->events.back().kv.modified);
  const bool moved = reached > progress_.load(std::memory_order_relaxed);
  if (moved) {
    const std::lock_guard lock(progress_mutex_);
    progress_.store(reached, std::memory_order_release);
  }
  if (moved) progressed_.notify_all();
  return !batch->events.empty();
}

void CacheSet::pump() {
  std::vector<ResourceCache*> touched;
  {
    const std::lock_guard lock(pump_mutex_);
    pump_queued_.store(false);
    const auto* before = watch_.get();
    while (pump_locked()) {
    }
    for (Slot& slot : slots_) {
      if (std::exchange(slot.touched, false)) touched.push_back(slot.cache.get());
    }
    if (watch_ && watch_.get() != before) arm();
  }
  for (ResourceCache* cache : touched) cache->wake();
}

Result<void> CacheSet::wait_for(const CallContext& ctx, Revision revision) {
  if (progress() >= revision) return {};
  pump();
  if (progress() >= revision) return {};
  std::stop_callback interrupted(ctx.stop, [this] {
    const std::lock_guard lock(progress_mutex_);
    progressed_.notify_all();
  });
  std::unique_lock lock(progress_mutex_);
  const auto done = [&] { return progress() >= revision || ctx.stopping(); };
  // Bounded, so that a request for a revision from the future ends even when its caller set no deadline.
  const auto deadline = std::min(ctx.deadline, CallContext::Clock::now() + std::chrono::seconds(3));
  progressed_.wait_until(lock, deadline, done);
  if (progress() >= revision) return {};
  if (ctx.stopping()) return Error(Reason::Cancelled, "request was cancelled");
  ErrorDetails details;
  details.causes.push_back({"ResourceVersionTooLarge", "Too large resource version", ""});
  details.retry_after_seconds = 1;
  return Error(Reason::Timeout,
               "Too large resource version: " + std::to_string(revision) + ", current: " + std::to_string(progress()),
               std::move(details));
}

Result<Revision> CacheSet::sync(const CallContext& ctx) {
  KUBERNEL_TRY(const storage::Stats stats, backend_.stats(ctx));
  KUBERNEL_CHECK_OK(wait_for(ctx, stats.revision));
  return stats.revision;
}

}  // namespace kubernel::apiserver
