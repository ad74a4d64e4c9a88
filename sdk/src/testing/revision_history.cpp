// SPDX-License-Identifier: Apache-2.0
#include "revision_history.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "history_model.h"

namespace kubernel::testing {

using storage::Event;
using storage::KeyValue;
using storage::Revision;
using Kind = Operation::Kind;
using Outcome = Operation::Outcome;

std::string describe(const KeyValue& kv) {
  return kv.key + "=\"" + kv.value + "\" (created " + std::to_string(kv.created) + ", modified " +
         std::to_string(kv.modified) + ", version " + std::to_string(kv.version) + ", lease " +
         std::to_string(kv.lease) + ")";
}

std::string describe(const AppliedWrite& write) {
  if (write.operation != nullptr) return describe(*write.operation);
  return "the end of lease " + std::to_string(write.ended);
}

namespace {

// The values a call may have written under a key.
bool may_have_put(const Operation& operation, const KeyValue& kv) {
  if (operation.kind == Kind::Put) return operation.value == kv.value;
  bool found = false;
  if (operation.kind != Kind::Transact) return found;
  for_each_put(operation.transaction, [&](const storage::PutOperation& put) {
    found = found || (put.key == kv.key && (put.keep_value || put.value == kv.value));
  });
  return found;
}

bool may_have_removed(const Operation& operation, const Event& event) {
  if (operation.kind == Kind::Remove) return !event.previous || event.previous->modified == operation.expected;
  bool found = false;
  if (operation.kind != Kind::Transact) return found;
  for_each_removed(operation.transaction,
                   [&](const storage::KeyRange& range) { found = found || range.contains(event.kv.key); });
  return found;
}

// No moment before its first TTL may have passed.
Moment when_due(const History& history, const Operation& grant) {
  Moment due = grant.called;
  for (const Operation& other : history.operations) {
    const bool early = other.returned != kNever && other.returned_at < grant.called_at + grant.ttl;
    if (early) due = std::max(due, other.returned);
  }
  return due;
}

// Between which moments a lease ended: not before somebody began to revoke it, or its TTL may have passed. False when
// nobody granted it.
bool find_end(const History& history, storage::LeaseId id, AppliedWrite& end) {
  int grants = 0;
  const Operation* revoked = nullptr;
  end.called = kNever;
  for (const Operation& operation : history.operations) {
    if (operation.lease != id || operation.outcome == Outcome::Refused) continue;
    if (operation.kind == Kind::Revoke) {
      end.called = std::min(end.called, operation.called);
      if (operation.outcome == Outcome::Done) revoked = &operation;
    }
    if (operation.kind != Kind::Grant) continue;
    ++grants;
    end.called = std::min(end.called, when_due(history, operation));
  }
  if (grants == 1 && revoked != nullptr) {  // Then that was the end.
    end.called = revoked->called;
    end.returned = revoked->returned;
  }
  return grants > 0;
}

}  // namespace

RevisionHistory::RevisionHistory(const History& history) : history_(history) {
  find_acknowledged();
  find_seen();
  if (wrong_.empty()) check_gaps();
  if (wrong_.empty()) replay();
}

void RevisionHistory::add(Revision revision, const Operation& operation) {
  const AppliedWrite write{
      .operation = &operation, .called = operation.called, .returned = operation.returned, .changes = {}};
  const auto [at, added] = writes_.try_emplace(revision, write);
  if (added || !wrong_.empty()) return;
  wrong_ = "revision " + std::to_string(revision) + " was given twice:\n  " + describe(at->second) + "\n  " +
           describe(operation) + "\n";
}

void RevisionHistory::find_acknowledged() {
  for (const Operation& operation : history_.operations) {
    const bool transaction = operation.kind == Kind::Transact;
    if (operation.kind != Kind::Put && operation.kind != Kind::Remove && !transaction) continue;
    if (operation.outcome == Outcome::Done && operation.applied) add(operation.revision, operation);
    if (operation.outcome != Outcome::Unknown) continue;
    unmatched_.insert(&operation);
    if (!transaction) unknown_.emplace(operation.key, &operation);
    // What a range removes shows in events only; see saw_event().
    for_each_put(operation.transaction, [&](const auto& put) { unknown_.emplace(put.key, &operation); });
  }
}

// Writes nobody was told about show in what others saw.
void RevisionHistory::find_seen() {
  // The events first: they tell whole writes.
  for (const WatchRecord& watch : history_.watches) {
    for (const storage::WatchBatch& batch : watch.batches) {
      for (const Event& event : batch.events) saw_event(event);
    }
  }
  for (const Operation& operation : history_.operations) {
    if (operation.outcome != Outcome::Done) continue;
    if (operation.current) saw(*operation.current, operation);
    for (const KeyValue& item : operation.items) saw(item, operation);
  }
}

void RevisionHistory::saw(const KeyValue& kv, const Operation& by) {
  if (kv.modified <= history_.start || writes_.contains(kv.modified)) return;
  const Operation* found = nullptr;
  const auto [begin, end] = unknown_.equal_range(kv.key);
  for (auto at = begin; at != end && found == nullptr; ++at) {
    if (may_have_put(*at->second, kv)) found = at->second;
  }
  match(kv.modified, found, describe(by));
}

void RevisionHistory::saw_event(const Event& event) {
  const Revision revision = event.kv.modified;
  if (revision <= history_.start || writes_.contains(revision)) return;
  const bool put = event.type == Event::Type::Put;
  const Operation* found = nullptr;
  for (const Operation* operation : unmatched_) {
    const bool same_key = operation->kind == Kind::Transact || operation->key == event.kv.key;
    if (found != nullptr || !same_key) continue;
    if (put ? may_have_put(*operation, event.kv) : may_have_removed(*operation, event)) found = operation;
  }
  if (found == nullptr && !put && add_end(event)) return;
  match(revision, found,
        put ? "a watch: put " + describe(event.kv)
            : "a watch: delete " + event.kv.key + " at " + std::to_string(revision));
}

// A deletion that is nobody's is the end of a lease, if there are any. Which one, replay() finds.
bool RevisionHistory::add_end(const Event& event) {
  const auto& all = history_.operations;
  if (std::none_of(all.begin(), all.end(), [](const Operation& one) { return one.kind == Kind::Grant; })) return false;
  AppliedWrite end;
  end.changes.push_back({.deleted = true, .kv = event.kv, .previous = {}});
  writes_.emplace(event.kv.modified, std::move(end));
  return true;
}

void RevisionHistory::match(Revision revision, const Operation* found, const std::string& what) {
  if (found == nullptr) {
    if (wrong_.empty()) {
      wrong_ = "revision " + std::to_string(revision) + " was seen, but nobody wrote it:\n  " + what + "\n";
    }
    return;
  }
  add(revision, *found);
  forget(found);
}

// A revision nobody knows can only be of a write whose outcome is unknown.
void RevisionHistory::check_gaps() {
  std::size_t unaccounted = unmatched_.size();
  Revision next = history_.start + 1;
  for (const auto& [revision, write] : writes_) {
    if (revision <= history_.start) {
      wrong_ = "revision " + std::to_string(revision) + " was given again; the store was already at " +
               std::to_string(history_.start) + ":\n  " + describe(write) + "\n";
      return;
    }
    const auto missing = static_cast<std::size_t>(revision - next);
    if (missing > unaccounted) {
      wrong_ =
          "revision " + std::to_string(next) + " was given to nobody; the next one known:\n  " + describe(write) + "\n";
      return;
    }
    unaccounted -= missing;
    next = revision + 1;
  }
}

// A write before `before` was applied because the key was at `wanted` (0: gone). Whether it was, if need be because of
// writes nobody saw; those are added.
bool RevisionHistory::explain(const std::string& key, Revision wanted, Revision before) {
  const auto& versions = keys_[key];
  const Revision newest = versions.empty() ? history_.start : versions.rbegin()->first;
  const Revision current = !versions.empty() && versions.rbegin()->second ? newest : 0;
  if (current == wanted) return true;
  if (wanted != 0 && (wanted <= newest || wanted >= before || writes_.contains(wanted))) return false;
  std::vector<const Operation*> candidates;
  const auto [begin, end] = unknown_.equal_range(key);
  for (auto at = begin; at != end; ++at) {
    if (at->second->kind == Kind::Transact) continue;
    if ((at->second->kind == Kind::Remove) == (wanted == 0)) candidates.push_back(at->second);
  }
  for (const Operation* candidate : candidates) {
    forget(candidate);
    // A deletion's revision is one of those nobody knows.
    Revision revision = wanted;
    for (Revision next = std::max(newest, candidate->expected) + 1; revision == 0 && next < before; ++next) {
      if (!writes_.contains(next)) revision = next;
    }
    if (revision != 0 && explain(key, candidate->expected, revision)) {
      add(revision, *candidate);
      apply(revision, writes_.at(revision));
      return true;
    }
    unknown_.emplace(key, candidate);
    unmatched_.insert(candidate);
  }
  return false;
}

void RevisionHistory::forget(const Operation* unknown) {
  unmatched_.erase(unknown);
  std::erase_if(unknown_, [&](const auto& entry) { return entry.second == unknown; });
}

// Nothing for `kv`: the key is deleted.
void RevisionHistory::change(AppliedWrite& write, Revision revision, const std::string& key,
                             const std::optional<KeyValue>& kv) {
  auto& versions = keys_[key];
  Change change{.deleted = !kv, .kv = {}, .previous = {}};
  if (!versions.empty()) change.previous = versions.rbegin()->second;
  if (kv) change.kv = *kv;
  change.kv.key = key;
  change.kv.modified = revision;
  write.changes.push_back(std::move(change));
  versions[revision] = kv;
}

// Of a single key.
void RevisionHistory::apply(Revision revision, AppliedWrite& write) {
  const Operation& operation = *write.operation;
  if (operation.kind == Kind::Remove) return change(write, revision, operation.key, std::nullopt);
  const KeyValue* before = at(operation.key, revision);
  change(write, revision, operation.key,
         KeyValue{.key = operation.key,
                  .value = operation.value,
                  .created = before != nullptr ? before->created : revision,
                  .modified = revision,
                  .version = before != nullptr ? before->version + 1 : 1,
                  .lease = operation.lease});
}

std::string RevisionHistory::replay_one(Revision revision, AppliedWrite& write) {
  if (write.operation == nullptr) return replay_end(revision, write);
  const Operation& operation = *write.operation;
  if (operation.kind == Kind::Transact) return replay_transaction(revision, write);
  if (!explain(operation.key, operation.expected, revision) ||
      (operation.kind == Kind::Remove && operation.expected == 0)) {
    const auto& versions = keys_[operation.key];
    const bool there = !versions.empty() && versions.rbegin()->second;
    return "a write was applied although the key was " +
           (there ? "at " + std::to_string(versions.rbegin()->first) : std::string("not there")) + " then";
  }
  apply(revision, write);
  return "";
}

std::string RevisionHistory::check_transaction(const Operation& operation, Revision before, Revision own,
                                               std::map<std::string, std::optional<KeyValue>>* changed) const {
  std::map<std::string, KeyValue> there;
  std::set<std::string> names;
  for_each_range(operation.transaction, [&](const storage::KeyRange& keys) {
    if (keys.single()) names.insert(keys.start);
    for (KeyValue& kv : range(keys.start, keys.end, before)) {
      names.insert(kv.key);
      there[kv.key] = std::move(kv);
    }
  });
  const std::vector<std::string> sorted(names.begin(), names.end());
  Model start;
  start.names = &sorted;
  start.keys.resize(sorted.size());
  start.last = before;
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    if (const auto found = there.find(sorted[i]); found != there.end()) start.set(i, found->second);
  }
  ModelCall call{.operation = &operation, .stand_in = own, .branches = 0, .latest = {}, .past = {}};
  call.past = [this](const storage::RangeOptions& options) { return range(options.start, options.end, options.at); };
  // Of an unknown transaction any way is right that was possible then.
  const bool known = operation.outcome == Outcome::Done;
  const unsigned ways = known ? 1 : 1U << std::min<std::size_t>(transactions_in(operation.transaction), 6);
  std::string why;
  for (; call.branches < ways; ++call.branches) {
    Model model = start;
    why.clear();
    if (!testing::apply(model, call, &why)) continue;
    for (std::size_t i = 0; i < sorted.size() && changed != nullptr; ++i) {
      const ModelKey& key = model.keys[i];
      if (key == start.keys[i]) continue;
      (*changed)[sorted[i]] = std::nullopt;
      if (!key.exists) continue;
      (*changed)[sorted[i]] = KeyValue{.key = sorted[i],
                                       .value = *key.value,
                                       .created = key.created,
                                       .modified = key.modified,
                                       .version = key.version,
                                       .lease = key.lease};
    }
    return "";
  }
  return why;
}

std::string RevisionHistory::replay_transaction(Revision revision, AppliedWrite& write) {
  std::map<std::string, std::optional<KeyValue>> changed;
  if (const auto why = check_transaction(*write.operation, revision - 1, revision, &changed); !why.empty()) {
    return "a transaction told what cannot have been at revision " + std::to_string(revision) + ": " + why;
  }
  for (const auto& [key, kv] : changed) change(write, revision, key, kv);
  return "";
}

// All keys of the lease go.
std::string RevisionHistory::replay_end(Revision revision, AppliedWrite& write) {
  const std::string first = write.changes.front().kv.key;
  write.changes.clear();
  const KeyValue* kv = at(first, revision);
  if (kv == nullptr || kv->lease == 0) {
    return first + " was deleted, but nobody did, and it had no lease";
  }
  write.ended = kv->lease;
  if (!find_end(history_, write.ended, write)) {
    return "lease " + std::to_string(write.ended) + " ended, but nobody granted it";
  }
  std::vector<std::string> gone;
  for (const auto& [key, versions] : keys_) {
    const KeyValue* there = at(key, revision);
    if (there != nullptr && there->lease == write.ended) gone.push_back(key);
  }
  for (const std::string& key : gone) change(write, revision, key, std::nullopt);
  return "";
}

void RevisionHistory::replay() {
  for (const auto& [key, kv] : history_.initial) keys_[key][kv.modified] = kv;
  for (auto& [revision, write] : writes_) {
    const std::string wrong = replay_one(revision, write);
    if (wrong.empty()) continue;
    wrong_ = wrong + ":\n  " + describe(write) + "\n";
    return;
  }
}

const KeyValue* RevisionHistory::at(const std::string& key, Revision revision) const {
  const auto found = keys_.find(key);
  if (found == keys_.end()) return nullptr;
  const auto after = found->second.upper_bound(revision);
  if (after == found->second.begin()) return nullptr;
  const auto& version = std::prev(after)->second;
  return version ? &*version : nullptr;
}

std::optional<Revision> RevisionHistory::next_write(const std::string& key, Revision revision) const {
  const auto found = keys_.find(key);
  if (found == keys_.end()) return std::nullopt;
  const auto after = found->second.upper_bound(revision);
  return after == found->second.end() ? std::nullopt : std::optional(after->first);
}

std::vector<KeyValue> RevisionHistory::range(const std::string& start, const std::string& end,
                                             Revision revision) const {
  std::vector<KeyValue> out;
  for (auto key = keys_.lower_bound(start); key != keys_.end() && (end.empty() || key->first < end); ++key) {
    if (const KeyValue* kv = at(key->first, revision)) out.push_back(*kv);
  }
  return out;
}

}  // namespace kubernel::testing
