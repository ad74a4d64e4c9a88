// SPDX-License-Identifier: Apache-2.0
//
// The search of Wing and Gong ("Testing and verifying concurrent objects", 1993) as Lowe made it fast ("Testing for
// linearizability", 2017): calls are taken one by one in an order that real time allows, and what has been tried, the
// set of calls taken with the state they led to, is not tried again. Keys are independent of each other, so each has a
// search of its own.

#include <algorithm>
#include <functional>
#include <list>
#include <map>
#include <set>
#include <unordered_map>
#include <utility>

#include <kubernel/testing/history.h>

namespace kubernel::testing {

using storage::KeyValue;
using storage::Revision;
using Kind = Operation::Kind;
using Outcome = Operation::Outcome;

namespace {

// The revision of a write whose outcome nobody was told.
constexpr Revision kUntold = -1;

// What one operation says about one key.
struct Call {
  const Operation* operation = nullptr;
  Kind kind = Kind::Get;  // A range is a get of each of its keys.
  std::optional<KeyValue> seen;

  bool optional() const { return operation->outcome == Outcome::Unknown; }
};

struct State {
  bool exists = false;
  Revision modified = 0;  // kUntold: known to be above `last` only.
  Revision last = 0;      // No revision of this key is above it, except an untold one.
  const std::string* value = nullptr;

  bool operator==(const State& other) const {
    return exists == other.exists && modified == other.modified && last == other.last &&
           (!exists || *value == *other.value);
  }
  std::size_t hash() const {
    std::size_t out = std::hash<Revision>()(modified) * 31 + std::hash<Revision>()(last);
    return exists ? out * 31 + std::hash<std::string>()(*value) : out;
  }
};

// The state if its revision is `revision`; nothing when it cannot be.
std::optional<State> known_as(State state, Revision revision) {
  if (!state.exists) return std::nullopt;
  if (state.modified == kUntold && revision > state.last) state.modified = state.last = revision;
  return state.modified == revision ? std::optional(state) : std::nullopt;
}

// The state if a call saw `seen`.
std::optional<State> as_seen(const State& state, const std::optional<KeyValue>& seen) {
  if (!seen) return state.exists ? std::nullopt : std::optional(state);
  if (!state.exists || *state.value != seen->value) return std::nullopt;
  return known_as(state, seen->modified);
}

std::optional<State> before_write(const State& state, const Operation& write) {
  if (write.expected == 0) {
    return write.kind == Kind::Put && !state.exists ? std::optional(state) : std::nullopt;
  }
  return known_as(state, write.expected);
}

// The state after the call; nothing when the call cannot have been made in this state.
std::optional<State> after(const State& state, const Call& call) {
  if (call.kind == Kind::Get) return as_seen(state, call.seen);
  const Operation& write = *call.operation;
  if (!call.optional() && !write.applied) {
    auto same = as_seen(state, call.seen);
    if (same && write.expected != 0 && same->exists && same->modified == write.expected) return std::nullopt;
    if (same && write.expected == 0 && write.kind == Kind::Put && !same->exists) return std::nullopt;
    return same;
  }
  auto next = before_write(state, write);
  if (!next) return next;
  if (call.seen && *next->value != call.seen->value) return std::nullopt;  // A remove tells what it removed.
  const Revision revision = call.optional() ? kUntold : write.revision;
  if (revision != kUntold && revision <= next->last) return std::nullopt;
  next->exists = write.kind == Kind::Put;
  next->value = &write.value;
  next->modified = next->exists ? revision : 0;
  if (revision != kUntold) next->last = revision;
  return next;
}

// One half of a call, in the order of moments.
struct Entry {
  std::size_t call = 0;
  bool returns = false;
  Moment moment = 0;
};

using Taken = std::vector<bool>;

class Search {
 public:
  Search(const std::string& key, State initial, std::vector<Call> calls)
      : key_(key), state_(initial), calls_(std::move(calls)), taken_(calls_.size(), false) {
    std::vector<Entry> entries;
    for (std::size_t i = 0; i < calls_.size(); ++i) {
      entries.push_back({i, false, calls_[i].operation->called});
      if (calls_[i].optional()) continue;
      entries.push_back({i, true, calls_[i].operation->returned});
      ++to_explain_;
    }
    std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.moment < b.moment; });
    entries_.assign(entries.begin(), entries.end());
    returns_.resize(calls_.size(), entries_.end());
    for (auto at = entries_.begin(); at != entries_.end(); ++at) {
      if (at->returns) returns_[at->call] = at;
    }
  }

  std::string violation() {
    auto at = entries_.begin();
    while (to_explain_ > 0) {
      if (at == entries_.end() || at->returns) {
        // What returns here has no place before: one of the calls taken was taken too early.
        remember_depth(at);
        bool free = true;
        while (free && !trail_.empty()) {
          free = trail_.back().free;
          at = put_back();
        }
        if (free) return counter_example();
        continue;
      }
      const auto next = after(state_, calls_[at->call]);
      if (next && is_new(at->call, *next)) {
        take(at, *next);
        at = entries_.begin();
      } else {
        ++at;
      }
    }
    return "";
  }

 private:
  struct Step {
    std::list<Entry>::iterator call_next;  // Before which each half was.
    std::list<Entry>::iterator return_next;
    std::size_t call = 0;
    State before;
    // It changed nothing: taken where it first could be, which is as good as any later place.
    bool free = false;
  };

  // Whether taking the call leads to something not tried yet.
  bool is_new(std::size_t call, const State& next) {
    taken_[call] = true;
    auto& states = tried_[taken_];
    const bool fresh = std::find(states.begin(), states.end(), next) == states.end();
    if (fresh) states.push_back(next);
    taken_[call] = false;
    return fresh;
  }

  void take(std::list<Entry>::iterator at, const State& next) {
    const std::size_t call = at->call;
    Step step{.call_next = std::next(at),
              .return_next = entries_.end(),
              .call = call,
              .before = state_,
              .free = next == state_};
    lifted_.splice(lifted_.end(), entries_, at);
    halves_.push_back(at);
    if (const auto returned = returns_[call]; returned != entries_.end()) {
      if (step.call_next == returned) step.call_next = std::next(returned);
      step.return_next = std::next(returned);
      lifted_.splice(lifted_.end(), entries_, returned);
      --to_explain_;
    }
    trail_.push_back(step);
    state_ = next;
    taken_[call] = true;
  }

  // Undoes the last step; returns where to go on.
  std::list<Entry>::iterator put_back() {
    const Step step = trail_.back();
    const auto call = halves_.back();
    trail_.pop_back();
    halves_.pop_back();
    if (const auto returned = returns_[step.call]; returned != entries_.end()) {
      entries_.splice(step.return_next, lifted_, returned);
      ++to_explain_;
      // The call was right before its return: that is its place again.
      entries_.splice(step.call_next == step.return_next ? returned : step.call_next, lifted_, call);
    } else {
      entries_.splice(step.call_next, lifted_, call);
    }
    state_ = step.before;
    taken_[step.call] = false;
    return std::next(call);
  }

  void remember_depth(std::list<Entry>::iterator at) {
    if (!stuck_.empty() && trail_.size() <= deepest_.size()) return;
    deepest_.clear();
    for (const Step& step : trail_) deepest_.push_back(step.call);
    stuck_ = at == entries_.end() ? "the end" : describe(*calls_[at->call].operation);
    pending_.clear();
    for (const Entry& entry : entries_) {
      if (entry.returns || (at != entries_.end() && entry.moment > at->moment)) continue;
      pending_.push_back(entry.call);
    }
  }

  std::string counter_example() const {
    constexpr std::size_t kShown = 8;
    std::string out = "the calls on key \"" + key_ + "\" are not linearizable.\n";
    const std::size_t skipped = deepest_.size() > kShown ? deepest_.size() - kShown : 0;
    out += "  explained" + (skipped > 0 ? " (after " + std::to_string(skipped) + " more)" : std::string()) + ":\n";
    for (std::size_t i = skipped; i < deepest_.size(); ++i)
      out += "    " + describe(*calls_[deepest_[i]].operation) + "\n";
    out += "  cannot be explained:\n    " + stuck_ + "\n  calls that were under way then:\n";
    for (const std::size_t call : pending_) out += "    " + describe(*calls_[call].operation) + "\n";
    return out;
  }

  struct HashTaken {
    std::size_t operator()(const Taken& taken) const { return std::hash<Taken>()(taken); }
  };

  const std::string& key_;
  State state_;
  const std::vector<Call> calls_;
  Taken taken_;
  std::size_t to_explain_ = 0;  // Calls with a known outcome that are not taken.
  std::list<Entry> entries_;
  std::list<Entry> lifted_;
  std::vector<std::list<Entry>::iterator> returns_;
  std::vector<Step> trail_;
  std::vector<std::list<Entry>::iterator> halves_;
  std::unordered_map<Taken, std::vector<State>, HashTaken> tried_;

  std::vector<std::size_t> deepest_;
  std::vector<std::size_t> pending_;
  std::string stuck_;
};

std::map<std::string, std::vector<Call>> calls_by_key(const History& history) {
  std::set<std::string> keys;
  for (const auto& [key, kv] : history.initial) keys.insert(key);
  for (const Operation& operation : history.operations) {
    if (operation.kind != Kind::Range) keys.insert(operation.key);
    for (const KeyValue& item : operation.items) keys.insert(item.key);
  }
  std::map<std::string, std::vector<Call>> out;
  for (const Operation& operation : history.operations) {
    if (operation.outcome == Outcome::Refused || operation.at != 0) continue;
    if (operation.terse && !operation.applied && operation.outcome == Outcome::Done) continue;
    if (operation.kind != Kind::Range) {
      if (operation.kind == Kind::Get && operation.outcome == Outcome::Unknown) continue;
      out[operation.key].push_back({&operation, operation.kind, operation.current});
      continue;
    }
    for (auto key = keys.lower_bound(operation.key); key != keys.end(); ++key) {
      if (!operation.end.empty() && *key >= operation.end) break;
      if (operation.more && (operation.items.empty() || *key > operation.items.back().key)) break;
      Call call{&operation, Kind::Get, std::nullopt};
      for (const KeyValue& item : operation.items) {
        if (item.key == *key) call.seen = item;
      }
      out[*key].push_back(std::move(call));
    }
  }
  return out;
}

}  // namespace

std::string linearizability_violation(const History& history) {
  for (auto& [key, calls] : calls_by_key(history)) {
    State state{.exists = false, .modified = 0, .last = history.start, .value = nullptr};
    if (const auto found = history.initial.find(key); found != history.initial.end()) {
      state.exists = true;
      state.modified = found->second.modified;
      state.value = &found->second.value;
    }
    if (std::string wrong = Search(key, state, std::move(calls)).violation(); !wrong.empty()) return wrong;
  }
  return "";
}

}  // namespace kubernel::testing
