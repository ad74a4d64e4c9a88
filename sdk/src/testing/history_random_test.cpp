// SPDX-License-Identifier: Apache-2.0
//
// Random histories of a store that keeps its promises are accepted, and refused when one thing in them is changed.

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <variant>

#include <kubernel/testing/fake_clock.h>

#include "history_fixture.h"

namespace kubernel::testing {
namespace {

using storage::Compare;
using storage::KeyRange;
using storage::LeaseId;

// What happens takes effect at ticks of a second, one thing after the other; calls begin before and return after.
class RandomHistory {
 public:
  // Of an even seed: nobody fails to be told.
  explicit RandomHistory(std::uint64_t seed) : random_(seed), some_unknown_(seed % 2 == 1) {
    past_[1] = {};
    for (int i = 0; i < kCalls; ++i) {
      tick_ += 4;
      if (below(6) == 0) expire();
      call();
    }
    tick_ += 4;
    range(true);  // Somebody sees the end.
    history.watches.push_back(std::move(watch_));
  }

  History history;

 private:
  static constexpr int kCalls = 150;
  static constexpr std::size_t kGroups = 3;
  using State = std::map<std::string, KeyValue>;

  std::uint64_t below(std::uint64_t bound) { return random_below(random_, bound); }
  static Clock::TimePoint time(Moment tick) { return Clock::TimePoint{} + std::chrono::seconds(tick); }
  // No two calls have the same.
  Moment moment(Moment tick, bool returned) {
    return tick * 4 * kCalls + 2 * history.operations.size() + (returned ? 1 : 0);
  }
  std::string group() { return "/g" + std::to_string(group_); }
  std::string key() { return group() + "/" + std::string(1, static_cast<char>('a' + below(3))); }
  std::string value() { return "v" + std::to_string(++values_); }
  Revision modified(const std::string& key) { return now_.contains(key) ? now_[key].modified : 0; }
  LeaseId some_lease() {
    return static_cast<LeaseId>(group_ * 1000 + 1 + below(std::max<std::size_t>(1, granted_[group_])));
  }
  LeaseId live_lease() {
    const LeaseId id = some_lease();
    return below(2) == 0 && leases_.contains(id) ? id : 0;
  }

  void call() {
    group_ = below(kGroups);
    Operation operation;
    operation.client = static_cast<int>(history.operations.size());
    const Moment before = std::min<Moment>(tick_, below(14));
    const Moment after = below(14);
    operation.called = moment(tick_ - before, false);
    operation.called_at = time(tick_ - before);
    operation.returned = moment(tick_ + after, true);
    operation.returned_at = time(tick_ + after);
    operation.outcome = Outcome::Done;
    switch (below(12)) {
      case 0:
      case 1:
      case 2: put(operation); break;
      case 3: remove(operation); break;
      case 4: get(operation); break;
      case 5: return range(false);
      case 6: grant(operation); break;
      case 7: renew_or_revoke(operation); break;
      default: transact(operation); break;
    }
    const bool writes = operation.kind != Kind::Get && operation.outcome == Outcome::Done;
    if (some_unknown_ && writes && !may_remove(operation) && below(20) == 0) forget(operation);
    history.operations.push_back(std::move(operation));
  }

  // Which cannot be told from the end of a lease.
  static bool may_remove(const Operation& operation) {
    const auto& then = operation.transaction.then;
    return operation.kind == Kind::Remove ||
           (!then.empty() && std::holds_alternative<storage::RemoveOperation>(then.back().what));
  }

  // Its client was never told.
  static void forget(Operation& operation) {
    operation.outcome = Outcome::Unknown;
    operation.returned = kNever;
    operation.returned_at = Clock::TimePoint::max();
    operation.applied = false;
    operation.revision = 0;
    operation.current.reset();
    operation.result = {};
  }

  // --- the store ---

  // One change of the revision that is being made.
  void change(const std::string& key, std::optional<KeyValue> kv) {
    Event event{.type = kv ? Event::Type::Put : Event::Type::Delete, .kv = {}, .previous = {}};
    if (now_.contains(key)) event.previous = now_[key];
    event.kv.key = key;
    event.kv.modified = revision_ + 1;
    if (kv) event.kv = *kv;
    events_.push_back(std::move(event));
    now_.erase(key);
    if (kv) now_[key] = *std::move(kv);
  }

  void change(const std::string& key, const std::string& value, LeaseId lease) {
    const bool there = now_.contains(key);
    KeyValue kv{.key = key,
                .value = value,
                .created = there ? now_[key].created : revision_ + 1,
                .modified = revision_ + 1,
                .version = there ? now_[key].version + 1 : 1,
                .lease = lease};
    change(key, std::move(kv));
  }

  Revision commit() {
    if (events_.empty()) return revision_;
    past_[++revision_] = now_;
    watch_.batches.push_back({.events = std::exchange(events_, {}), .progress = revision_});
    return revision_;
  }

  void end(LeaseId id) {
    std::vector<std::string> gone;
    for (const auto& [key, kv] : now_) {
      if (kv.lease == id) gone.push_back(key);
    }
    for (const std::string& key : gone) change(key, std::nullopt);
    commit();
    leases_.erase(id);
  }

  void expire() {
    for (const auto& [id, due] : leases_) {
      if (due > tick_ || below(2) == 0) continue;
      end(id);
      tick_ += 4;
      return;
    }
  }

  // --- the calls ---

  void put(Operation& operation) {
    operation.kind = Kind::Put;
    operation.key = key();
    operation.value = value();
    operation.lease = live_lease();
    cas(operation);
  }

  void remove(Operation& operation) {
    operation.kind = Kind::Remove;
    operation.key = key();
    cas(operation);
  }

  void cas(Operation& operation) {
    const Revision is = modified(operation.key);
    operation.expected = below(5) == 0 ? static_cast<Revision>(below(static_cast<std::uint64_t>(revision_))) : is;
    operation.applied = operation.expected == is && (is != 0 || operation.kind == Kind::Put);
    if (now_.contains(operation.key)) operation.current = now_[operation.key];
    if (operation.applied && operation.kind == Kind::Remove) change(operation.key, std::nullopt);
    if (operation.applied && operation.kind == Kind::Put) {
      change(operation.key, operation.value, operation.lease);
      operation.current.reset();
    }
    operation.revision = commit();
  }

  void get(Operation& operation) {
    operation.kind = Kind::Get;
    operation.key = key();
    if (now_.contains(operation.key)) operation.current = now_[operation.key];
  }

  void range(bool last) {
    Operation operation;
    operation.kind = Kind::Range;
    operation.outcome = Outcome::Done;
    const Moment around = below(8);
    operation.called = moment(tick_ - std::min(tick_, around), false);
    operation.called_at = time(tick_ - std::min(tick_, around));
    operation.returned = moment(tick_ + around, true);
    operation.returned_at = time(tick_ + around);
    operation.key = "/";
    operation.end = "0";
    operation.limit = last ? 0 : below(6);
    if (!last && below(3) == 0) operation.at = 1 + static_cast<Revision>(below(static_cast<std::uint64_t>(revision_)));
    operation.revision = operation.at == 0 ? revision_ : operation.at;
    for (const auto& [name, kv] : past_[operation.revision]) {
      operation.more = operation.limit != 0 && operation.items.size() == operation.limit;
      if (operation.more) break;
      operation.items.push_back(kv);
    }
    history.operations.push_back(std::move(operation));
  }

  void grant(Operation& operation) {
    operation.kind = Kind::Grant;
    operation.lease = static_cast<LeaseId>(group_ * 1000 + ++granted_[group_]);
    operation.ttl = std::chrono::seconds(30 + below(60));
    leases_[operation.lease] = tick_ + static_cast<Moment>(operation.ttl.count());
    if (granted_[group_] > 1 && below(4) == 0) {  // An id that may be taken.
      leases_.erase(operation.lease);
      --granted_[group_];
      operation.lease = some_lease();
      refuse(operation, leases_.contains(operation.lease));
      if (operation.outcome == Outcome::Done)
        leases_[operation.lease] = tick_ + static_cast<Moment>(operation.ttl.count());
    }
  }

  static void refuse(Operation& operation, bool refused) {
    operation.by_lease = refused;
    if (refused) operation.outcome = Outcome::Refused;
  }

  void renew_or_revoke(Operation& operation) {
    operation.kind = below(2) == 0 ? Kind::Renew : Kind::Revoke;
    operation.lease = some_lease();
    refuse(operation, !leases_.contains(operation.lease));
    if (operation.outcome == Outcome::Refused) return;
    operation.ttl = std::chrono::seconds(40);
    if (operation.kind == Kind::Revoke) return end(operation.lease);
    Moment& due = leases_[operation.lease];
    due = std::max(due, tick_ + 40);
  }

  storage::Operation read(storage::Outcome& outcome, Revision at) {
    storage::Page page;
    for (const auto& [name, kv] : at == 0 ? now_ : past_[at]) {
      if (name.starts_with(group() + "/")) page.items.push_back(kv);
    }
    page.count = static_cast<std::int64_t>(page.items.size());
    outcome = {std::move(page)};
    return {storage::ReadOperation{{.start = group() + "/", .end = group() + "0", .at = at, .count = true}}};
  }

  void transact(Operation& operation) {
    operation.kind = Kind::Transact;
    auto& transaction = operation.transaction;
    const std::string a = group() + "/a";
    const std::string b = group() + "/b";
    bool holds = true;
    for (const std::string& one : {a, b}) {
      const Revision given =
          below(5) == 0 ? static_cast<Revision>(below(static_cast<std::uint64_t>(revision_))) : modified(one);
      holds = holds && given == modified(one);
      transaction.compares.push_back({.keys = KeyRange::only(one), .number = given, .value = {}});
    }
    const bool removes = below(4) == 0;
    const LeaseId lease = live_lease();
    const Revision at = below(3) == 0 ? revision_ : 0;
    storage::Outcome seen;
    const storage::Operation look = read(seen, at);
    transaction.otherwise = {look};
    transaction.then = {look};
    operation.result.succeeded = holds;
    operation.result.outcomes = {seen};
    if (removes) {
      transaction.then.push_back({storage::RemoveOperation{.keys = {group() + "/", group() + "0"}}});
    } else {
      for (const std::string& one : {a, b}) {
        transaction.then.push_back({storage::PutOperation{.key = one, .value = value(), .lease = lease}});
      }
    }
    if (holds && removes) {
      storage::RemoveOutcome removed;
      for (const auto& [name, kv] : State(now_)) {
        if (!name.starts_with(group() + "/")) continue;
        ++removed.removed;
        change(name, std::nullopt);
      }
      operation.applied = removed.removed > 0;
      operation.result.outcomes.push_back({removed});
    } else if (holds) {
      operation.applied = true;
      for (std::size_t i = 1; i < transaction.then.size(); ++i) {
        const auto& put = std::get<storage::PutOperation>(transaction.then[i].what);
        change(put.key, put.value, lease);
        operation.result.outcomes.push_back({storage::PutOutcome{}});
      }
    }
    operation.revision = operation.result.revision = commit();
  }

  SeededRandom random_;
  const bool some_unknown_;
  Moment tick_ = 20;
  std::size_t group_ = 0;
  State now_;
  Revision revision_ = 1;
  std::map<Revision, State> past_;
  std::map<LeaseId, Moment> leases_;  // When they are due.
  std::map<std::size_t, std::size_t> granted_;
  std::vector<Event> events_;
  WatchRecord watch_{.from = 2};
  int values_ = 0;
};

// Changes one thing; false when there is nothing of the kind in the history.
using Mutation = std::function<bool(History&)>;

template <class Choose>
Operation* find(History& history, const Choose& choose) {
  const auto found = std::find_if(history.operations.rbegin(), history.operations.rend(), choose);
  return found == history.operations.rend() ? nullptr : &*found;
}

bool is_transaction(const Operation& operation) {
  return operation.kind == Kind::Transact && operation.outcome == Outcome::Done;
}

bool writes_two(const Operation& operation) {
  return is_transaction(operation) && operation.result.succeeded && operation.result.outcomes.size() == 3;
}

bool a_condition_that_held_is_said_not_to(History& history) {
  Operation* one = find(history, [](const Operation& operation) {
    return is_transaction(operation) && operation.result.succeeded && operation.transaction.then.size() == 2 &&
           !operation.applied;
  });
  if (one == nullptr) return false;
  one->result.succeeded = false;
  one->result.outcomes.resize(1);
  return true;
}

bool a_condition_that_failed_is_said_to_have_held(History& history) {
  Operation* one = find(history, [](const Operation& operation) {
    return is_transaction(operation) && !operation.result.succeeded && operation.transaction.then.size() == 3;
  });
  if (one == nullptr) return false;
  one->result.succeeded = true;
  one->result.outcomes.resize(3, {storage::PutOutcome{}});
  return true;
}

bool a_snapshot_lacks_half_of_a_transaction(History& history) {
  for (Operation& reader : history.operations) {
    if (reader.kind != Kind::Range || reader.limit != 0) continue;
    for (const Operation& writer : history.operations) {
      if (!writes_two(writer)) continue;
      const auto half = std::find_if(reader.items.begin(), reader.items.end(),
                                     [&](const KeyValue& item) { return item.modified == writer.revision; });
      if (half == reader.items.end()) continue;
      reader.items.erase(half);
      return true;
    }
  }
  return false;
}

bool a_transaction_reads_what_was_not_there(History& history) {
  Operation* one = find(history, [](const Operation& operation) {
    return is_transaction(operation) && !std::get<storage::Page>(operation.result.outcomes[0].of).items.empty();
  });
  if (one == nullptr) return false;
  std::get<storage::Page>(one->result.outcomes[0].of).items[0].value = "forged";
  return true;
}

bool a_transaction_reads_an_older_state(History& history) {
  for (Operation& reader : history.operations) {
    if (!is_transaction(reader) || reader.applied) continue;
    auto& page = std::get<storage::Page>(reader.result.outcomes[0].of);
    for (const WatchRecord& watch : history.watches) {
      for (const WatchBatch& batch : watch.batches) {
        for (const Event& event : batch.events) {
          for (KeyValue& item : page.items) {
            if (!event.previous || event.kv.modified != item.modified || event.kv.key != item.key) continue;
            item = *event.previous;
            return true;
          }
        }
      }
    }
  }
  return false;
}

bool two_writes_have_each_others_revision(History& history) {
  std::vector<Operation*> writes;
  for (Operation& operation : history.operations) {
    if (operation.outcome == Outcome::Done && operation.applied) writes.push_back(&operation);
  }
  for (std::size_t i = 0; i + 1 < writes.size(); ++i) {
    if (writes[i]->returned >= writes[i + 1]->called) continue;
    std::swap(writes[i]->revision, writes[i + 1]->revision);
    std::swap(writes[i]->result.revision, writes[i + 1]->result.revision);
    return true;
  }
  return false;
}

// A lease that ended, by the keys the watch says it took.
LeaseId ended(const History& history, bool revoked) {
  std::map<LeaseId, int> grants;
  std::set<LeaseId> revocations;
  for (const Operation& operation : history.operations) {
    if (operation.kind == Kind::Grant && operation.outcome != Outcome::Refused) ++grants[operation.lease];
    if (operation.kind == Kind::Revoke && operation.outcome != Outcome::Refused) revocations.insert(operation.lease);
  }
  std::set<Revision> written;
  for (const Operation& operation : history.operations) {
    if (operation.applied) written.insert(operation.revision);
    if (operation.outcome == Outcome::Unknown) return 0;  // It may have been that one.
  }
  for (const WatchBatch& batch : history.watches[0].batches) {
    const Event& event = batch.events.front();
    if (written.contains(event.kv.modified) || !event.previous) continue;
    const LeaseId lease = event.previous->lease;
    if (grants[lease] == 1 && revocations.contains(lease) == revoked) return lease;
  }
  return 0;
}

bool a_lease_expires_before_it_is_due(History& history) {
  const LeaseId lease = ended(history, false);
  for (Operation& operation : history.operations) {
    if (operation.kind == Kind::Grant && operation.lease == lease) operation.ttl = std::chrono::hours(24);
  }
  return lease != 0;
}

bool a_lease_ends_before_it_is_revoked(History& history) {
  const LeaseId lease = ended(history, true);
  for (Operation& operation : history.operations) {
    if (operation.kind == Kind::Grant && operation.lease == lease) operation.ttl = std::chrono::hours(24);
    if (operation.kind != Kind::Revoke || operation.lease != lease) continue;
    operation.called = 1'000'000'000;
    operation.returned = 1'000'000'001;
  }
  return lease != 0;
}

bool a_key_outlives_its_lease(History& history) {
  std::set<std::string> later;
  const LeaseId lease = std::max(ended(history, false), ended(history, true));
  auto& batches = history.watches[0].batches;
  for (auto batch = batches.rbegin(); batch != batches.rend() && lease != 0; ++batch) {
    for (const Event& event : batch->events) {
      const bool gone = event.type == Event::Type::Delete && event.previous->lease == lease;
      if (!later.insert(event.kv.key).second || !gone) continue;
      auto& items = history.operations.back().items;  // The last range.
      const auto place = std::find_if(items.begin(), items.end(), [&](auto& item) { return item.key > event.kv.key; });
      items.insert(place, *event.previous);
      return true;
    }
  }
  return false;
}

bool an_event_is_missing(History& history) {
  for (WatchBatch& batch : history.watches[0].batches) {
    if (batch.events.size() < 2) continue;
    batch.events.pop_back();
    return true;
  }
  return false;
}

constexpr std::uint64_t kHistories = 300;

TEST(RandomHistories, OfAStoreThatKeepsItsPromisesAreAccepted) {
  for (std::uint64_t seed = 1; seed <= kHistories; ++seed) {
    const RandomHistory random(seed);
    ASSERT_EQ(violation(random.history), "") << "seed " << seed;
  }
}

class MutatedHistories : public ::testing::TestWithParam<std::pair<const char*, Mutation>> {};

TEST_P(MutatedHistories, AreRefused) {
  int found = 0;
  for (std::uint64_t seed = 1; seed <= kHistories; ++seed) {
    RandomHistory random(seed);
    ASSERT_EQ(violation(random.history), "") << "seed " << seed;
    if (!GetParam().second(random.history)) continue;
    ++found;
    EXPECT_NE(violation(random.history), "") << "seed " << seed;
  }
  EXPECT_GE(found, 10);
}

const std::pair<const char*, Mutation> kMutations[] = {
    {"AConditionThatHeldIsSaidNotTo", a_condition_that_held_is_said_not_to},
    {"AConditionThatFailedIsSaidToHaveHeld", a_condition_that_failed_is_said_to_have_held},
    {"ASnapshotLacksHalfOfATransaction", a_snapshot_lacks_half_of_a_transaction},
    {"ATransactionReadsWhatWasNotThere", a_transaction_reads_what_was_not_there},
    {"ATransactionReadsAnOlderState", a_transaction_reads_an_older_state},
    {"TwoWritesHaveEachOthersRevision", two_writes_have_each_others_revision},
    {"ALeaseExpiresBeforeItIsDue", a_lease_expires_before_it_is_due},
    {"ALeaseEndsBeforeItIsRevoked", a_lease_ends_before_it_is_revoked},
    {"AKeyOutlivesItsLease", a_key_outlives_its_lease},
    {"AnEventIsMissing", an_event_is_missing},
};

INSTANTIATE_TEST_SUITE_P(All, MutatedHistories, ::testing::ValuesIn(kMutations),
                         [](const auto& row) { return std::string(row.param.first); });

}  // namespace
}  // namespace kubernel::testing
