// SPDX-License-Identifier: Apache-2.0
#include "lease_table.h"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <utility>

namespace kubernel::storage_common {

using storage::LeaseId;
using TimePoint = Clock::TimePoint;

namespace {

/// How long after a failed expiry it is tried again.
constexpr std::chrono::seconds kRetry{1};

// Where a lease begins to count. Drawn, so that it is far from where any other lease of its id has got to, whichever
// process granted that one.
std::int64_t first_renewals() {
  std::uint64_t bits = 0;
  while (::getrandom(&bits, sizeof bits, 0) < 0 && errno == EINTR) continue;
  return static_cast<std::int64_t>(bits >> 2U);
}

}  // namespace

Error lease_not_found(LeaseId id) {
  return {Reason::NotFound, "lease " + std::to_string(id) + " not found"};
}

Error lease_exists(LeaseId id) {
  return {Reason::AlreadyExists, "lease " + std::to_string(id) + " already exists"};
}

struct LeaseTable::Lease {
  std::chrono::seconds ttl{0};
  std::int64_t renewals = 0;
  TimePoint due;
  bool ready = false;   // Saved; until then only the id is taken.
  bool ending = false;  // Being revoked or expired; it cannot be renewed any more.
};

struct LeaseTable::State : std::enable_shared_from_this<State> {
  State(Clock& c, Executor& e, Logger& l, LeaseHooks h) : clock(c), executor(e), log(l), hooks(std::move(h)) {}

  // Makes sure the timer rings no later than the next due time. A renewal does not move it: it rings too
  // early once, and expire() sets it anew, so that a thousand renewals cost one timer.
  void arm() {
    std::unique_ptr<Subscription> old;  // Destroyed without the lock: that may wait for a running callback.
    const std::lock_guard lock(mutex);
    if (closed) return;
    TimePoint next = TimePoint::max();
    for (const auto& [id, lease] : leases) {
      if (lease.ready) next = std::min(next, lease.due);
    }
    if (timer && next >= rings_at) return;
    old = std::move(timer);
    rings_at = next;
    if (next == TimePoint::max()) return;
    timer = clock.call_at(next, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->rang();
    });
  }

  // On the timer's thread.
  void rang() {
    const auto submitted = executor.submit([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->expire();
    });
    if (submitted) return;
    std::unique_ptr<Subscription> old;
    const std::lock_guard lock(mutex);
    if (closed) return;
    old = std::move(timer);
    rings_at = clock.now() + kRetry;
    timer = clock.call_at(rings_at, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->rang();
    });
  }

  // On a pool thread. One at a time, and none once closed.
  void expire() {
    const std::lock_guard running(run_mutex);
    std::vector<LeaseRecord> due;
    {
      const std::lock_guard lock(mutex);
      if (closed) return;
      const TimePoint now = clock.now();
      for (auto& [id, lease] : leases) {
        if (!lease.ready || lease.due > now) continue;
        lease.ending = true;
        due.push_back({id, lease.ttl, lease.renewals});
      }
    }
    for (const LeaseRecord& record : due) expire(record);
    std::unique_ptr<Subscription> old;
    {
      const std::lock_guard lock(mutex);
      old = std::move(timer);
    }
    old.reset();
    arm();
  }

  // Precondition: run_mutex is held.
  void expire(const LeaseRecord& record) {
    const auto dropped = hooks.drop(CallContext{}, record.id, &record);
    const std::lock_guard lock(mutex);
    const auto found = leases.find(record.id);
    // Revoked since, and perhaps granted anew.
    if (found == leases.end() || found->second.renewals != record.renewals) return;
    if (dropped && *dropped) {  // Another process has renewed it.
      found->second.renewals = (*dropped)->renewals;
      found->second.ttl = (*dropped)->ttl;
      found->second.due = clock.now() + found->second.ttl;
      found->second.ending = false;
    } else if (dropped || dropped.error().reason() == Reason::NotFound) {
      leases.erase(found);
    } else {
      log_warning(log, "an expired lease could not be removed, trying again",
                  {{"lease", record.id}, {"error", dropped.error()}});
      found->second.due = clock.now() + kRetry;
    }
  }

  Clock& clock;
  Executor& executor;
  Logger& log;
  const LeaseHooks hooks;

  std::mutex run_mutex;  // Held while an expiry runs. Taken before `mutex`.
  mutable std::mutex mutex;
  std::map<LeaseId, Lease> leases;
  std::condition_variable settled;  // A lease that was not ready is, or is gone.
  std::unique_ptr<Subscription> timer;
  TimePoint rings_at = TimePoint::max();
  LeaseId last_id = 0;
  bool closed = false;
};

LeaseTable::LeaseTable(Clock& clock, Executor& executor, Logger& log, LeaseHooks hooks,
                       const std::vector<LeaseRecord>& existing)
    : state_(std::make_shared<State>(clock, executor, log, std::move(hooks))) {
  for (const LeaseRecord& record : existing) {
    state_->leases[record.id] = {
        .ttl = record.ttl, .renewals = record.renewals, .due = clock.now() + record.ttl, .ready = true};
  }
  if (!existing.empty()) state_->arm();
}

LeaseTable::~LeaseTable() {
  const std::lock_guard running(state_->run_mutex);
  std::unique_ptr<Subscription> timer;
  {
    const std::lock_guard lock(state_->mutex);
    state_->closed = true;
    timer = std::move(state_->timer);
  }
}

Result<LeaseId> LeaseTable::grant(const CallContext& ctx, LeaseId id, std::chrono::seconds ttl) {
  if (ttl < std::chrono::seconds(1)) return Error(Reason::BadRequest, "a lease lasts at least a second");
  if (id < 0) return Error(Reason::BadRequest, "a lease's id is a positive number");
  const bool any_id = id == 0;
  LeaseRecord record{.id = id, .ttl = ttl};
  // In a shared store another process may have dropped what is in the table: the store decides.
  std::optional<Lease> known;
  {
    std::unique_lock lock(state_->mutex);
    // Whether it is taken depends on how another grant of it, which is under way, ends.
    state_->settled.wait(lock, [&] {
      const auto found = state_->leases.find(id);
      return any_id || found == state_->leases.end() || found->second.ready;
    });
    if (any_id) {
      // Calendar time first, so that an id is not used again after a restart.
      const auto wall =
          std::chrono::duration_cast<std::chrono::microseconds>(state_->clock.wall_now().time_since_epoch());
      id = std::max<LeaseId>(state_->last_id + 1, wall.count());
      while (state_->leases.contains(id)) ++id;
      state_->last_id = id;
    }
    record.id = id;
    // Two leases that have the same id one after the other are not to be taken for one.
    record.renewals = first_renewals();
    const auto found = state_->leases.find(id);
    if (found != state_->leases.end()) {
      if (!state_->hooks.renew) return lease_exists(id);
      known = found->second;
    }
    state_->leases[id] = Lease{.ttl = ttl, .renewals = record.renewals};
  }
  if (auto saved = state_->hooks.save(ctx, record); !saved) {
    give_up(id, saved.error().reason() == Reason::AlreadyExists ? known : std::nullopt);
    if (any_id && saved.error().reason() == Reason::AlreadyExists) return grant(ctx, 0, ttl);
    return std::move(saved).error();
  }
  {
    const std::lock_guard lock(state_->mutex);
    // The hook may have forgotten an older lease of this id meanwhile, and so this one.
    state_->leases[id] = {.ttl = ttl, .renewals = record.renewals, .due = state_->clock.now() + ttl, .ready = true};
  }
  state_->settled.notify_all();
  state_->arm();
  return id;
}

// A grant has failed: what was known of the id before it holds again.
void LeaseTable::give_up(LeaseId id, const std::optional<Lease>& known) {
  {
    const std::lock_guard lock(state_->mutex);
    if (known) {
      state_->leases[id] = *known;
    } else {
      state_->leases.erase(id);
    }
  }
  state_->settled.notify_all();
  if (known) state_->arm();
}

Result<std::chrono::seconds> LeaseTable::renew(const CallContext& ctx, LeaseId id) {
  if (state_->hooks.renew) {
    KUBERNEL_TRY(const LeaseRecord record, state_->hooks.renew(ctx, id, true));
    learn(record);
    return record.ttl;
  }
  const std::lock_guard lock(state_->mutex);
  const auto found = state_->leases.find(id);
  if (found == state_->leases.end() || !found->second.ready || found->second.ending) return lease_not_found(id);
  found->second.due = state_->clock.now() + found->second.ttl;
  return found->second.ttl;
}

Result<void> LeaseTable::revoke(const CallContext& ctx, LeaseId id) {
  if (id == 0 || (!state_->hooks.renew && !exists(id))) return lease_not_found(id);
  auto dropped = state_->hooks.drop(ctx, id, nullptr);
  if (!dropped) return std::move(dropped).error();
  return {};
}

Result<storage::LeaseState> LeaseTable::find(const CallContext& ctx, LeaseId id, bool with_keys) {
  if (state_->hooks.renew && id != 0) {
    KUBERNEL_TRY(const LeaseRecord record, state_->hooks.renew(ctx, id, false));
    learn(record);
  }
  storage::LeaseState out;
  {
    const std::lock_guard lock(state_->mutex);
    const auto found = state_->leases.find(id);
    if (found == state_->leases.end() || !found->second.ready || found->second.ending) return lease_not_found(id);
    const auto left = found->second.due - state_->clock.now();
    out = {.id = id,
           .ttl = found->second.ttl,
           .remaining =
               std::max(std::chrono::duration_cast<std::chrono::milliseconds>(left), std::chrono::milliseconds(0)),
           .keys = {}};
  }
  if (with_keys) {
    KUBERNEL_TRY(out.keys, state_->hooks.keys(ctx, id));
  }
  return out;
}

Result<std::vector<LeaseId>> LeaseTable::list(const CallContext& ctx) {
  std::vector<LeaseId> out;
  if (state_->hooks.all) {
    KUBERNEL_TRY(const auto records, state_->hooks.all(ctx));
    for (const LeaseRecord& record : records) out.push_back(record.id);
    std::sort(out.begin(), out.end());
    return out;
  }
  const std::lock_guard lock(state_->mutex);
  for (const auto& [id, lease] : state_->leases) {
    if (lease.ready) out.push_back(id);
  }
  return out;
}

void LeaseTable::learn(const LeaseRecord& record) {
  {
    const std::lock_guard lock(state_->mutex);
    const auto [found, fresh] = state_->leases.try_emplace(record.id);
    Lease& lease = found->second;
    if (!fresh && (!lease.ready || lease.renewals == record.renewals)) return;
    lease = {.ttl = record.ttl,
             .renewals = record.renewals,
             .due = state_->clock.now() + record.ttl,
             .ready = true,
             .ending = false};
  }
  state_->arm();
}

bool LeaseTable::exists(LeaseId id) const {
  if (id == 0) return true;
  const std::lock_guard lock(state_->mutex);
  const auto found = state_->leases.find(id);
  return found != state_->leases.end() && found->second.ready;
}

bool LeaseTable::holds(const LeaseRecord& record) const {
  const std::lock_guard lock(state_->mutex);
  const auto found = state_->leases.find(record.id);
  return found != state_->leases.end() && found->second.renewals == record.renewals;
}

void LeaseTable::forget(LeaseId id) {
  {
    const std::lock_guard lock(state_->mutex);
    state_->leases.erase(id);
  }
  state_->settled.notify_all();
}

}  // namespace kubernel::storage_common
