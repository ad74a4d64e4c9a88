// SPDX-License-Identifier: Apache-2.0
//
// The search of Wing and Gong ("Testing and verifying concurrent objects", 1993) as Lowe made it fast ("Testing for
// linearizability", 2017): calls are taken one by one in an order that real time allows, and what has been tried, the
// set of calls taken with the state they led to, is not tried again. Keys that nothing joins are independent of each
// other, so each group of joined keys has a search of its own.

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <kubernel/testing/history.h>

#include "history_model.h"

namespace kubernel::testing {

using storage::KeyValue;
using storage::LeaseId;
using Kind = Operation::Kind;
using Outcome = Operation::Outcome;

namespace {

// More states than this are not tried: the histories of tests need a few thousand.
constexpr std::size_t kMaxTried = 2'000'000;

// Keys and leases that calls join, and the calls on them.
struct Group {
  std::vector<std::string> keys;
  std::vector<LeaseId> leases;
  std::vector<const Operation*> calls;     // Ascending by when they were called.
  std::vector<const Operation*> optional;  // Those with an unknown outcome.
  Model model;
};

// --- the groups ---

class Grouping {
 public:
  explicit Grouping(const History& history) : history_(history) {
    find_names();
    parents_.resize(keys_.size() + leases_.size());
    std::iota(parents_.begin(), parents_.end(), 0U);
    for (const auto& [key, kv] : history.initial) join_lease(index(key), kv.lease);
    for (const Operation& operation : history.operations) join(operation);
  }

  std::vector<Group> groups() {
    std::map<std::size_t, Group> out;
    for (std::size_t i = 0; i < keys_.size(); ++i) out[root(i)].keys.push_back(keys_[i]);
    for (std::size_t i = 0; i < leases_.size(); ++i) out[root(keys_.size() + i)].leases.push_back(leases_[i]);
    for (const Operation& operation : history_.operations) {
      if (counts(operation)) add(out, operation);
    }
    std::vector<Group> groups;
    for (auto& [at, group] : out) {
      if (!group.calls.empty()) groups.push_back(std::move(group));
    }
    for (Group& group : groups) begin(group);
    return groups;
  }

 private:
  static bool is_lease_call(const Operation& operation) {
    return operation.kind == Kind::Grant || operation.kind == Kind::Renew || operation.kind == Kind::Revoke;
  }

  // Whether the search has to explain it.
  bool counts(const Operation& operation) const {
    if (operation.outcome == Outcome::Refused && !operation.by_lease) return false;
    if (operation.at != 0) return false;
    if (operation.terse && !operation.applied && operation.outcome == Outcome::Done) return false;
    if (operation.outcome == Outcome::Unknown && (operation.kind == Kind::Get || operation.kind == Kind::Range)) {
      return false;
    }
    return !is_lease_call(operation) || operation.lease != 0;
  }

  void find_names() {
    std::set<std::string> keys;
    std::set<LeaseId> leases;
    for (const auto& [key, kv] : history_.initial) keys.insert(key);
    for (const Operation& operation : history_.operations) {
      if (is_lease_call(operation)) {
        if (operation.kind == Kind::Grant && operation.lease != 0) leases.insert(operation.lease);
        continue;
      }
      for (const KeyValue& item : operation.items) keys.insert(item.key);
      if (operation.kind == Kind::Transact) {
        for_each_range(operation.transaction, [&](const storage::KeyRange& range) {
          if (range.single()) keys.insert(range.start);
        });
      } else if (operation.kind != Kind::Range) {
        keys.insert(operation.key);
      }
    }
    keys_.assign(keys.begin(), keys.end());
    leases_.assign(leases.begin(), leases.end());
  }

  std::size_t index(const std::string& key) const {
    return static_cast<std::size_t>(std::lower_bound(keys_.begin(), keys_.end(), key) - keys_.begin());
  }

  std::size_t root(std::size_t node) {
    while (parents_[node] != node) node = parents_[node] = parents_[parents_[node]];
    return node;
  }

  void join_lease(std::size_t node, LeaseId lease) {
    const auto found = std::lower_bound(leases_.begin(), leases_.end(), lease);
    if (found == leases_.end() || *found != lease) return;
    parents_[root(node)] = root(keys_.size() + static_cast<std::size_t>(found - leases_.begin()));
  }

  void join(const Operation& operation) {
    if (operation.kind == Kind::Put) join_lease(index(operation.key), operation.lease);
    if (operation.kind != Kind::Transact) return;
    const auto first = first_of(operation);
    for_each_range(operation.transaction, [&](const storage::KeyRange& range) {
      for (std::size_t i = index(range.start); i < keys_.size() && range.contains(keys_[i]); ++i) {
        parents_[root(i)] = root(first);
      }
    });
    for_each_put(operation.transaction, [&](const auto& put) { join_lease(index(put.key), put.lease); });
  }

  // The first key a transaction is about; none: the number of keys.
  std::size_t first_of(const Operation& operation) const {
    std::size_t first = keys_.size();
    for_each_range(operation.transaction, [&](const storage::KeyRange& range) {
      const std::size_t i = index(range.start);
      if (i < keys_.size() && range.contains(keys_[i])) first = std::min(first, i);
    });
    return first;
  }

  void add(std::map<std::size_t, Group>& groups, const Operation& operation) {
    const auto add_to = [&](std::size_t node) {
      Group& group = groups[root(node)];
      (operation.outcome == Outcome::Unknown ? group.optional : group.calls).push_back(&operation);
    };
    if (is_lease_call(operation)) {
      const auto found = std::lower_bound(leases_.begin(), leases_.end(), operation.lease);
      if (found == leases_.end() || *found != operation.lease) return;
      return add_to(keys_.size() + static_cast<std::size_t>(found - leases_.begin()));
    }
    if (operation.kind == Kind::Transact) {
      if (const std::size_t first = first_of(operation); first < keys_.size()) add_to(first);
      return;
    }
    if (operation.kind != Kind::Range) return add_to(index(operation.key));
    // Each group is read by itself.
    std::set<std::size_t> roots;
    for (std::size_t i = index(operation.key); i < keys_.size(); ++i) {
      if (!operation.end.empty() && keys_[i] >= operation.end) break;
      if (operation.more && (operation.items.empty() || keys_[i] > operation.items.back().key)) break;
      roots.insert(root(i));
    }
    for (const std::size_t at : roots) add_to(at);
  }

  // What the group was before the first call.
  void begin(Group& group) const {
    std::sort(group.calls.begin(), group.calls.end(), [](auto* a, auto* b) { return a->called < b->called; });
    Model& model = group.model;
    model.names = &group.keys;
    model.lease_ids = &group.leases;
    model.keys.resize(group.keys.size());
    model.leases.resize(group.leases.size());
    model.last = history_.start;
    for (std::size_t i = 0; i < group.keys.size(); ++i) {
      const auto found = history_.initial.find(group.keys[i]);
      if (found == history_.initial.end()) continue;
      model.set(i, found->second);
      if (ModelLease* lease = model.lease(found->second.lease)) *lease = {.alive = true, .due = {}};
    }
  }

  const History& history_;
  std::vector<std::string> keys_;
  std::vector<LeaseId> leases_;
  std::vector<std::size_t> parents_;  // A forest of keys, and leases after them.
};

// --- the search ---

// What is done next: a call, one with an unknown outcome, or the end of a lease.
struct Choice {
  enum class What : std::uint8_t { Call, Optional, LeaseEnd };
  What what = What::Call;
  std::size_t index = 0;
  unsigned branches = 0;
};

class Search {
 public:
  explicit Search(const Group& group)
      : group_(group),
        model_(group.model),
        taken_(group.calls.size(), false),
        optional_(group.optional.size(), false) {}

  std::string violation() {
    std::vector<Step> trail;
    trail.push_back(look_around());
    while (left_ > 0) {
      Step& step = trail.back();
      if (step.next == step.choices.size()) {
        remember_depth(trail, step);
        // What changed nothing was taken where it first could be, which is as good as any later place.
        bool free = true;
        while (free && trail.size() > 1) {
          trail.pop_back();
          free = put_back(trail.back());
        }
        if (free) return counter_example();
        continue;
      }
      if (!take(step)) continue;
      if (tried_count_ > kMaxTried) {
        return "whether the calls on " + names() + " are linearizable was not decided in " + std::to_string(kMaxTried) +
               " states\n";
      }
      trail.push_back(look_around());
    }
    return "";
  }

 private:
  struct Step {
    std::vector<Choice> choices;
    std::size_t next = 0;
    Clock::TimePoint latest;        // It is not later than this when the next thing happens.
    std::size_t returns_first = 0;  // The call that does.
    Model before;
    bool free = false;  // What was chosen changed nothing.
  };

  // All that may come next.
  Step look_around() const {
    Step step;
    Moment first_return = kNever;
    for (std::size_t i = first_; i < group_.calls.size() && group_.calls[i]->called < first_return; ++i) {
      if (taken_[i]) continue;
      step.choices.push_back({.what = Choice::What::Call, .index = i});
      if (group_.calls[i]->returned >= first_return) continue;
      first_return = group_.calls[i]->returned;
      step.returns_first = i;
    }
    step.latest = first_return == kNever ? Clock::TimePoint::max() : group_.calls[step.returns_first]->returned_at;
    // What need not have happened comes last.
    for (std::size_t i = 0; i < group_.leases.size(); ++i) {
      const ModelLease& lease = model_.leases[i];
      if (lease.alive && lease.due <= step.latest) step.choices.push_back({Choice::What::LeaseEnd, i, 0});
    }
    for (std::size_t i = 0; i < group_.optional.size(); ++i) {
      const Operation& operation = *group_.optional[i];
      if (optional_[i] || operation.called >= first_return) continue;
      const std::size_t conditions = operation.kind == Kind::Transact ? transactions_in(operation.transaction) : 0;
      for (unsigned branches = 0; branches < 1U << std::min<std::size_t>(conditions, 6); ++branches) {
        step.choices.push_back({Choice::What::Optional, i, branches});
      }
    }
    return step;
  }

  // Takes the step's next choice; false when it cannot be, or was tried.
  bool take(Step& step) {
    const Choice choice = step.choices[step.next++];
    Model next = model_;
    if (choice.what == Choice::What::LeaseEnd) {
      next.end(choice.index);
    } else {
      const bool known = choice.what == Choice::What::Call;
      const ModelCall call{.operation = known ? group_.calls[choice.index] : group_.optional[choice.index],
                           .stand_in = -1 - static_cast<storage::Revision>(choice.index),
                           .branches = choice.branches,
                           .latest = step.latest,
                           .past = {}};
      if (!apply(next, call, nullptr)) return false;
    }
    const bool free = next == model_;
    // What need not have happened is not taken for nothing: it could not be later, when it would do something.
    if (free && choice.what != Choice::What::Call) return false;
    mark(choice, true);
    if (!is_new(next)) {
      mark(choice, false);
      return false;
    }
    step.free = free;
    step.before = std::exchange(model_, std::move(next));
    return true;
  }

  // Undoes what was chosen last; returns whether it changed nothing.
  bool put_back(Step& step) {
    mark(step.choices[step.next - 1], false);
    model_ = std::move(step.before);
    return step.free;
  }

  void mark(const Choice& choice, bool taken) {
    if (choice.what == Choice::What::Optional) optional_[choice.index] = taken;
    if (choice.what != Choice::What::Call) return;
    taken_[choice.index] = taken;
    left_ = taken ? left_ - 1 : left_ + 1;
    if (taken) {
      while (first_ < taken_.size() && taken_[first_]) ++first_;
      past_last_ = std::max(past_last_, choice.index + 1);
    } else {
      first_ = std::min(first_, choice.index);
      while (past_last_ > first_ && !taken_[past_last_ - 1]) --past_last_;
    }
  }

  // Whether what was taken has not led to this state before.
  bool is_new(const Model& next) {
    std::string taken = std::to_string(first_) + ":";
    for (std::size_t i = first_; i < past_last_; ++i) taken += taken_[i] ? '1' : '0';
    taken += ':';
    for (const bool one : optional_) taken += one ? '1' : '0';
    auto& states = tried_[std::move(taken)];
    const std::size_t hash = next.hash();
    const auto same = [&](const auto& tried) { return tried.first == hash && tried.second == next; };
    if (std::any_of(states.begin(), states.end(), same)) return false;
    states.emplace_back(hash, next);
    ++tried_count_;
    return true;
  }

  std::string describe_choice(const Choice& choice) const {
    if (choice.what == Choice::What::LeaseEnd) {
      return "the end of lease " + std::to_string(group_.leases[choice.index]);
    }
    return describe(*(choice.what == Choice::What::Call ? group_.calls : group_.optional)[choice.index]);
  }

  void remember_depth(const std::vector<Step>& trail, const Step& stuck) {
    if (!stuck_.empty() && trail.size() <= depth_) return;
    depth_ = trail.size();
    explained_.clear();
    for (std::size_t i = 0; i + 1 < trail.size(); ++i) explained_.push_back(trail[i].choices[trail[i].next - 1]);
    stuck_ = describe(*group_.calls[stuck.returns_first]);
    pending_.clear();
    for (const Choice& choice : stuck.choices) {
      const bool first = choice.what != Choice::What::Call || choice.index != stuck.returns_first;
      if (first && choice.branches == 0) pending_.push_back(choice);
    }
  }

  std::string names() const {
    std::string out = group_.keys.size() == 1 ? "key" : "keys";
    for (std::size_t i = 0; i < group_.keys.size(); ++i) out += (i == 0 ? " \"" : ", \"") + group_.keys[i] + "\"";
    return out;
  }

  std::string counter_example() const {
    constexpr std::size_t kShown = 8;
    std::string out = "the calls on " + names() + " are not linearizable.\n";
    const std::size_t skipped = explained_.size() > kShown ? explained_.size() - kShown : 0;
    out += "  explained" + (skipped > 0 ? " (after " + std::to_string(skipped) + " more)" : std::string()) + ":\n";
    for (std::size_t i = skipped; i < explained_.size(); ++i) out += "    " + describe_choice(explained_[i]) + "\n";
    out += "  cannot be explained:\n    " + stuck_ + "\n  calls that were under way then:\n";
    for (const Choice& choice : pending_) out += "    " + describe_choice(choice) + "\n";
    return out;
  }

  const Group& group_;
  Model model_;
  std::vector<bool> taken_;
  std::vector<bool> optional_;
  std::size_t left_ = taken_.size();  // Calls with a known outcome that are not taken.
  std::size_t first_ = 0;             // All before it are.
  std::size_t past_last_ = 0;         // None from here on is.
  std::unordered_map<std::string, std::vector<std::pair<std::size_t, Model>>> tried_;
  std::size_t tried_count_ = 0;

  std::size_t depth_ = 0;
  std::vector<Choice> explained_;
  std::vector<Choice> pending_;
  std::string stuck_;
};

}  // namespace

std::string linearizability_violation(const History& history) {
  for (const Group& group : Grouping(history).groups()) {
    if (std::string wrong = Search(group).violation(); !wrong.empty()) return wrong;
  }
  return "";
}

}  // namespace kubernel::testing
