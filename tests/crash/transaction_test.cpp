// SPDX-License-Identifier: Apache-2.0
//
// Transactions on several keys, leases and their end, in processes that are killed and stores whose power goes: each is
// there whole or not at all, and what was acknowledged is there.

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <set>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "disk_model.h"
#include "recorded_disk.h"
#include "victim.h"
#include "workload.h"

namespace kubernel::crash {
namespace {

using storage::Event;
using storage::KeyRange;
using storage::KeyValue;
using storage::LeaseId;
using storage::Revision;

constexpr std::int64_t kClients = 2;
constexpr std::int64_t kKeys = 6;
// Each client has a lease of its own from time to time: granted before the transaction of this number, revoked after.
constexpr std::int64_t kLeaseEvery = 5;
constexpr std::int64_t kRevokeAfter = 3;

/// What a client tells of its work, in one write to a pipe.
struct Told {
  enum class What : std::uint8_t { Begun, Applied, Granting, Granted, Revoking, Revoked };
  What what = What::Begun;
  std::int64_t client = 0;
  std::int64_t number = 0;  ///< Of the client's transactions.
  Revision revision = 0;
};

std::string counter_of(std::int64_t client) {
  return "/client/" + std::to_string(client);
}
LeaseId lease_of(std::int64_t client, std::int64_t number) {
  return 1 + client * 1'000'000 + number / kLeaseEvery * kLeaseEvery;
}

/// What the transaction of a client with a number does: follows from the two, so that nobody needs to remember it.
struct Plan {
  std::string value;
  std::set<std::string> puts;
  std::string removes;
  LeaseId lease = 0;

  Plan(std::int64_t client, std::int64_t number) : value(std::to_string(client) + "." + std::to_string(number)) {
    testing::SeededRandom random(static_cast<std::uint64_t>(client * 1'000'003 + number));
    value.resize(value.size() + random_below(random, random_below(random, 10) == 0 ? 9000 : 100), 'v');
    const auto key = [&] { return "/t/" + std::to_string(random_below(random, kKeys)); };
    for (std::uint64_t i = 0; i < 1 + random_below(random, 4); ++i) puts.insert(key());
    removes = key();
    if (puts.contains(removes)) removes.clear();  // A transaction changes a key once.
    if (number % kLeaseEvery < kRevokeAfter) lease = lease_of(client, number);
  }
};

storage::Operation put(const std::string& key, const std::string& value, LeaseId lease) {
  return {storage::PutOperation{.key = key, .value = value, .lease = lease}};
}

std::string line_of(const KeyValue& kv) {
  return kv.key + " = " + kv.value + " created " + std::to_string(kv.created) + " modified " +
         std::to_string(kv.modified) + " version " + std::to_string(kv.version) + " lease " + std::to_string(kv.lease);
}

/// Threads: one. step() is false when the store failed.
class Client {
 public:
  Client(storage::Backend& store, std::int64_t client, std::function<void(const Told&)> tell)
      : store_(store), client_(client), tell_(std::move(tell)) {}

  bool step() {
    const auto found = store_.get({}, counter_of(client_), 0);
    if (!found) return false;
    const std::int64_t number = *found ? std::stoll((*found)->value) + 1 : 1;
    const std::int64_t phase = number % kLeaseEvery;
    if ((phase == 0 || number == 1) && !grant(number)) return false;
    if (phase == kRevokeAfter && !revoke(number)) return false;
    return transact(number, *found ? (*found)->modified : 0);
  }

 private:
  bool grant(std::int64_t number) {
    tell_({Told::What::Granting, client_, number, 0});
    const auto granted = store_.leases().grant({}, lease_of(client_, number), std::chrono::hours(1));
    // A client that was killed after it granted finds its own.
    if (!granted && granted.error().reason() != Reason::AlreadyExists) return false;
    tell_({Told::What::Granted, client_, number, 0});
    return true;
  }

  bool revoke(std::int64_t number) {
    tell_({Told::What::Revoking, client_, number, 0});
    const auto revoked = store_.leases().revoke({}, lease_of(client_, number));
    if (!revoked && revoked.error().reason() != Reason::NotFound) return false;
    tell_({Told::What::Revoked, client_, number, 0});
    return true;
  }

  bool transact(std::int64_t number, Revision expected) {
    const Plan plan(client_, number);
    storage::Transaction transaction;
    transaction.compares.push_back({.target = storage::Compare::Target::Modified,
                                    .relation = storage::Compare::Relation::Equal,
                                    .keys = KeyRange::only(counter_of(client_)),
                                    .number = expected,
                                    .value = {}});
    transaction.then.push_back(put(counter_of(client_), std::to_string(number), 0));
    for (const std::string& key : plan.puts) transaction.then.push_back(put(key, plan.value, plan.lease));
    if (!plan.removes.empty())
      transaction.then.push_back({storage::RemoveOperation{.keys = KeyRange::only(plan.removes)}});
    tell_({Told::What::Begun, client_, number, 0});
    const auto done = store_.transact({}, transaction);
    if (!done || !done->succeeded) return false;
    tell_({Told::What::Applied, client_, number, done->revision});
    return true;
  }

  storage::Backend& store_;
  const std::int64_t client_;
  const std::function<void(const Told&)> tell_;
};

/// What the clients told, and whether a store agrees.
class Ledger {
 public:
  void add(const Told& told) {
    Lease& lease = leases_[lease_of(told.client, told.number)];
    switch (told.what) {
      case Told::What::Begun: begun_[told.client] = std::max(begun_[told.client], told.number); break;
      case Told::What::Applied:
        applied_[told.client] = std::max(applied_[told.client], told.number);
        revisions_[{told.client, told.number}] = told.revision;
        break;
      case Told::What::Granting: break;
      case Told::What::Granted: lease.granted = true; break;
      case Told::What::Revoking: lease.revoking = true; break;
      case Told::What::Revoked: lease.revoked = true; break;
    }
  }
  std::size_t acknowledged() const { return revisions_.size(); }

  /// Goes through all the history that is left, from the state where it begins.
  void judge(storage::Backend& store) const {
    const auto stats = store.stats({});
    ASSERT_TRUE(stats) << stats.error().message();
    std::map<std::string, KeyValue> state;
    if (stats->compacted > 0) {
      const auto page = store.range({}, {.at = stats->compacted});
      ASSERT_TRUE(page) << page.error().message();
      for (const KeyValue& item : page->items) state[item.key] = item;
    }
    ASSERT_NO_FATAL_FAILURE(replay(store, std::max<Revision>(stats->compacted, 1), stats->revision, state));
    const auto now = store.range({}, {});
    ASSERT_TRUE(now) << now.error().message();
    std::vector<std::string> led_to;
    for (const auto& [key, kv] : state) led_to.push_back(line_of(kv));
    std::vector<std::string> found;
    for (const KeyValue& item : now->items) found.push_back(line_of(item));
    ASSERT_EQ(found, led_to) << "the present is not what history leads to";
    for (const auto& [client, number] : applied_) {
      const auto counter = state.find(counter_of(client));
      ASSERT_NE(counter, state.end()) << "all of client " << client << " is gone";
      EXPECT_GE(std::stoll(counter->second.value), number) << "an acknowledged transaction is gone";
    }
    judge_leases(store, state);
  }

 private:
  struct Lease {
    bool granted = false;
    bool revoking = false;
    bool revoked = false;
  };

  void replay(storage::Backend& store, Revision from, Revision to, std::map<std::string, KeyValue>& state) const {
    const auto watch = store.watch({.from = from + 1});
    ASSERT_TRUE(watch) << watch.error().message();
    Revision next = from + 1;
    while (next <= to) {
      const auto batch = (*watch)->take(5);
      ASSERT_TRUE(batch) << batch.error().message();
      ASSERT_FALSE(batch->events.empty()) << "history ends at " << next - 1 << ", the store is at " << to;
      for (std::size_t i = 0; i < batch->events.size(); ++next) {
        std::map<std::string, Event> together;
        ASSERT_EQ(batch->events[i].kv.modified, next) << "history has a gap";
        for (; i < batch->events.size() && batch->events[i].kv.modified == next; ++i) {
          together[batch->events[i].kv.key] = batch->events[i];
        }
        ASSERT_NO_FATAL_FAILURE(apply(next, together, state));
      }
    }
  }

  // All that happened under one revision: one transaction, or one lease's end.
  void apply(Revision revision, const std::map<std::string, Event>& events,
             std::map<std::string, KeyValue>& state) const {
    std::set<std::string> gone;
    std::set<std::string> put;
    for (const auto& [key, event] : events) (event.type == Event::Type::Put ? put : gone).insert(key);
    if (put.empty()) {
      const LeaseId lease = state.contains(*gone.begin()) ? state[*gone.begin()].lease : 0;
      const auto known = leases_.find(lease);
      ASSERT_TRUE(known != leases_.end() && known->second.revoking) << "nobody removed what went at " << revision;
      std::set<std::string> attached;
      for (const auto& [key, kv] : state) {
        if (kv.lease == lease) attached.insert(key);
      }
      ASSERT_EQ(gone, attached) << "lease " << lease << " took a part of its keys with it";
    } else {
      ASSERT_NO_FATAL_FAILURE(judge_transaction(revision, events, put, gone, state));
    }
    for (const std::string& key : gone) state.erase(key);
    for (const std::string& key : put) state[key] = events.at(key).kv;
  }

  void judge_transaction(Revision revision, const std::map<std::string, Event>& events,
                         const std::set<std::string>& put, const std::set<std::string>& gone,
                         const std::map<std::string, KeyValue>& state) const {
    std::int64_t client = 0;
    while (client < kClients && !put.contains(counter_of(client))) ++client;
    ASSERT_LT(client, kClients) << "a part of a transaction at " << revision;
    const std::int64_t number = std::stoll(events.at(counter_of(client)).kv.value);
    ASSERT_LE(number, begun_.at(client)) << "a transaction nobody began";
    const auto told = revisions_.find({client, number});
    if (told != revisions_.end()) {
      ASSERT_EQ(told->second, revision);
    }
    const Plan plan(client, number);
    std::set<std::string> planned = plan.puts;
    planned.insert(counter_of(client));
    ASSERT_EQ(put, planned) << "transaction " << plan.value.substr(0, 20) << " is not whole";
    for (const std::string& key : plan.puts) ASSERT_EQ(events.at(key).kv.value, plan.value);
    for (const std::string& key : plan.puts) ASSERT_EQ(events.at(key).kv.lease, plan.lease);
    ASSERT_EQ(gone, state.contains(plan.removes) ? std::set<std::string>{plan.removes} : std::set<std::string>());
  }

  void judge_leases(storage::Backend& store, const std::map<std::string, KeyValue>& state) const {
    const auto list = store.leases().list({});
    ASSERT_TRUE(list) << list.error().message();
    const std::set<LeaseId> there(list->begin(), list->end());
    for (const auto& [id, lease] : leases_) {
      if (lease.revoked) {
        EXPECT_FALSE(there.contains(id)) << "lease " << id << " was revoked";
      } else if (lease.granted && !lease.revoking) {
        EXPECT_TRUE(there.contains(id)) << "lease " << id << " was granted and is gone";
      }
    }
    for (const auto& [key, kv] : state) {
      EXPECT_TRUE(kv.lease == 0 || there.contains(kv.lease)) << key << " outlives its lease";
    }
  }

  std::map<std::int64_t, std::int64_t> begun_;
  std::map<std::int64_t, std::int64_t> applied_;
  std::map<std::pair<std::int64_t, std::int64_t>, Revision> revisions_;
  std::map<LeaseId, Lease> leases_;
};

// Forgets history up to a random revision. False when the store failed.
bool compact(storage::Backend& store, testing::SeededRandom& random) {
  const auto stats = store.stats({});
  if (!stats) return false;
  const auto spread = static_cast<std::uint64_t>(stats->revision - stats->compacted + 1);
  return store.compact({}, stats->compacted + static_cast<Revision>(random_below(random, spread))).has_value();
}

// The process that is killed. It ends by itself only when something is wrong.
[[noreturn]] void victim(const std::string& path, int report, std::uint64_t seed) {
  Surroundings around;
  auto store = around.open(path);
  if (!store) ::_exit(2);
  std::vector<std::jthread> threads;
  for (std::int64_t number = 0; number < kClients; ++number) {
    threads.emplace_back([&, number] {
      Client client(**store, number, [report](const Told& told) {
        if (::write(report, &told, sizeof told) != sizeof told) ::_exit(3);
      });
      while (client.step()) {
      }
      ::_exit(4);
    });
  }
  testing::SeededRandom random(seed);
  while (compact(**store, random)) around.blocking.run_all();
  ::_exit(5);
}

TEST(Transactions, AreWholeOrNotThereWhenTheProcessIsKilled) {
  const int kills = rounds(300);
  const TimeLimit limit(std::chrono::seconds(3));
  testing::SeededRandom random(seed());
  std::size_t acknowledged = 0;
  int done = 0;
  while (done < kills && !limit.reached()) {
    const ScratchDirectory directory;
    Ledger ledger;
    for (int i = 0; i < 50 && done < kills && !limit.reached(); ++i, ++done) {
      SCOPED_TRACE("KUBERNEL_CRASH_SEED=" + std::to_string(seed()) + ", kill " + std::to_string(done));
      const std::uint64_t seed_of_run = random.next();
      ASSERT_NO_FATAL_FAILURE(run_and_kill<Told>(
          1 + random_below(random, 200), [&](int report) { victim(directory.store(), report, seed_of_run); },
          [&](const Told& told) { ledger.add(told); }));
      Surroundings around;
      auto store = around.open(directory.store());
      ASSERT_TRUE(store) << store.error().message();
      ledger.judge(**store);
      ASSERT_FALSE(HasFailure());
    }
    acknowledged += ledger.acknowledged();
  }
  std::printf("%d kills, %zu acknowledged transactions, all whole (seed %llu)\n", done, acknowledged,
              static_cast<unsigned long long>(seed()));
  EXPECT_GT(acknowledged, static_cast<std::size_t>(done));
}

TEST(Transactions, AreWholeOrNotThereWhenThePowerGoes) {
  const int cuts = rounds(1000);
  const TimeLimit limit(std::chrono::seconds(3));
  testing::SeededRandom random(seed());
  std::size_t acknowledged = 0;
  int done = 0;
  while (done < cuts && !limit.reached()) {
    const ScratchDirectory directory;
    std::vector<std::pair<Told, std::size_t>> told;  // And how many calls the disk had seen then.
    std::vector<DiskCall> calls;
    {
      RecordedDisk disk(directory.path());
      Surroundings around;
      auto store = around.open(directory.store());
      ASSERT_TRUE(store) << store.error().message();
      Client client(**store, 0, [&](const Told& one) { told.emplace_back(one, disk.size()); });
      for (int i = 0; i < 60; ++i) {
        ASSERT_TRUE(client.step());
        ASSERT_TRUE(i % 16 != 15 || compact(**store, random));
        around.blocking.run_all();
      }
      calls = disk.calls();
    }
    for (int i = 0; i < 100 && done < cuts && !limit.reached(); ++i, ++done) {
      const std::size_t moment = random_below(random, calls.size() + 1);
      SCOPED_TRACE("KUBERNEL_CRASH_SEED=" + std::to_string(seed()) + ", cut " + std::to_string(done));
      DiskModel disk;
      for (std::size_t at = 0; at < moment; ++at) disk.apply(calls[at], random);
      const ScratchDirectory left;
      disk.cut(random, left.path());
      Ledger ledger;
      for (const auto& [one, at] : told) {
        if (at <= moment) ledger.add(one);
      }
      Surroundings around;
      auto store = around.open(left.store());
      ASSERT_TRUE(store) << store.error().message();
      ledger.judge(**store);
      ASSERT_FALSE(HasFailure());
      acknowledged += ledger.acknowledged();
    }
  }
  std::printf("%d power cuts, %zu acknowledged transactions, all whole (seed %llu)\n", done, acknowledged,
              static_cast<unsigned long long>(seed()));
  EXPECT_GT(acknowledged, static_cast<std::size_t>(done));
}

}  // namespace
}  // namespace kubernel::crash
