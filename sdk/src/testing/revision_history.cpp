// SPDX-License-Identifier: Apache-2.0
#include "revision_history.h"

#include <algorithm>
#include <iterator>

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

RevisionHistory::RevisionHistory(const History& history) : history_(history) {
  find_acknowledged();
  find_seen();
  if (wrong_.empty()) check_gaps();
  if (wrong_.empty()) replay();
}

bool RevisionHistory::add(Revision revision, const Operation& operation) {
  const auto [at, added] = writes_.try_emplace(revision, AppliedWrite{.operation = &operation});
  if (added) return true;
  if (wrong_.empty()) {
    wrong_ = "revision " + std::to_string(revision) + " was given twice:\n  " + describe(*at->second.operation) +
             "\n  " + describe(operation) + "\n";
  }
  return false;
}

void RevisionHistory::find_acknowledged() {
  for (const Operation& operation : history_.operations) {
    if (operation.kind != Kind::Put && operation.kind != Kind::Remove) continue;
    if (operation.outcome == Outcome::Unknown) unknown_.emplace(operation.key, &operation);
    if (operation.outcome == Outcome::Done && operation.applied) add(operation.revision, operation);
  }
}

// Writes nobody was told about show in what others saw.
void RevisionHistory::find_seen() {
  for (const Operation& operation : history_.operations) {
    if (operation.outcome != Outcome::Done) continue;
    if (operation.current) saw(*operation.current, operation);
    for (const KeyValue& item : operation.items) saw(item, operation);
  }
  for (const WatchRecord& watch : history_.watches) {
    for (const storage::WatchBatch& batch : watch.batches) {
      for (const Event& event : batch.events) saw_event(event);
    }
  }
}

void RevisionHistory::saw(const KeyValue& kv, const Operation& by) {
  if (kv.modified <= history_.start || writes_.contains(kv.modified)) return;
  const Operation* found = nullptr;
  const auto [begin, end] = unknown_.equal_range(kv.key);
  for (auto at = begin; at != end && found == nullptr; ++at) {
    if (at->second->kind == Kind::Put && at->second->value == kv.value) found = at->second;
  }
  match(kv.modified, found, describe(by));
}

void RevisionHistory::saw_event(const Event& event) {
  const Revision revision = event.kv.modified;
  if (revision <= history_.start || writes_.contains(revision)) return;
  const Operation* found = nullptr;
  const auto [begin, end] = unknown_.equal_range(event.kv.key);
  for (auto at = begin; at != end && found == nullptr; ++at) {
    const Operation& operation = *at->second;
    if (event.type == Event::Type::Put && operation.kind == Kind::Put && operation.value == event.kv.value) {
      found = &operation;
    }
    const bool same = !event.previous || event.previous->modified == operation.expected;
    if (event.type == Event::Type::Delete && operation.kind == Kind::Remove && same) found = &operation;
  }
  match(revision, found,
        event.type == Event::Type::Put ? "a watch: put " + describe(event.kv)
                                       : "a watch: delete " + event.kv.key + " at " + std::to_string(revision));
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
  std::size_t unaccounted = unknown_.size();
  Revision next = history_.start + 1;
  for (const auto& [revision, write] : writes_) {
    if (revision <= history_.start) {
      wrong_ = "revision " + std::to_string(revision) + " was given again; the store was already at " +
               std::to_string(history_.start) + ":\n  " + describe(*write.operation) + "\n";
      return;
    }
    const auto missing = static_cast<std::size_t>(revision - next);
    if (missing > unaccounted) {
      wrong_ = "revision " + std::to_string(next) + " was given to nobody; the next one known:\n  " +
               describe(*write.operation) + "\n";
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
      apply(revision, writes_.try_emplace(revision, AppliedWrite{.operation = candidate}).first->second);
      return true;
    }
    unknown_.emplace(key, candidate);
  }
  return false;
}

void RevisionHistory::forget(const Operation* unknown) {
  const auto [begin, end] = unknown_.equal_range(unknown->key);
  const auto found = std::find_if(begin, end, [&](const auto& entry) { return entry.second == unknown; });
  if (found != end) unknown_.erase(found);
}

void RevisionHistory::apply(Revision revision, AppliedWrite& write) {
  const Operation& operation = *write.operation;
  auto& versions = keys_[operation.key];
  if (!versions.empty()) write.previous = versions.rbegin()->second;
  write.deleted = operation.kind == Kind::Remove;
  write.kv.key = operation.key;
  write.kv.modified = revision;
  if (!write.deleted) {
    write.kv.value = operation.value;
    write.kv.lease = operation.lease;
    write.kv.created = write.previous ? write.previous->created : revision;
    write.kv.version = write.previous ? write.previous->version + 1 : 1;
  }
  versions[revision] = write.deleted ? std::nullopt : std::optional(write.kv);
}

void RevisionHistory::replay() {
  for (const auto& [key, kv] : history_.initial) keys_[key][kv.modified] = kv;
  for (auto& [revision, write] : writes_) {
    const Operation& operation = *write.operation;
    if (!explain(operation.key, operation.expected, revision) ||
        (operation.kind == Kind::Remove && operation.expected == 0)) {
      const auto& versions = keys_[operation.key];
      const bool there = !versions.empty() && versions.rbegin()->second;
      wrong_ = "a write was applied although the key was " +
               (there ? "at " + std::to_string(versions.rbegin()->first) : std::string("not there")) + " then:\n  " +
               describe(operation) + "\n";
      return;
    }
    apply(revision, write);
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
