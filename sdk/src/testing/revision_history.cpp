// SPDX-License-Identifier: Apache-2.0
#include "revision_history.h"

#include <set>

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
  match(revision, found, event.type == Event::Type::Put ? "a watch: put " + describe(event.kv)
                                                        : "a watch: delete " + event.kv.key + " at " +
                                                              std::to_string(revision));
}

void RevisionHistory::match(Revision revision, const Operation* found, const std::string& what) {
  if (found == nullptr) {
    if (wrong_.empty()) {
      wrong_ = "revision " + std::to_string(revision) + " was seen, but nobody wrote it:\n  " + what + "\n";
    }
    return;
  }
  add(revision, *found);
  const auto [begin, end] = unknown_.equal_range(found->key);
  for (auto at = begin; at != end; ++at) {
    if (at->second == found) {
      unknown_.erase(at);
      return;
    }
  }
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

// An unknown remove nobody saw, of what `write` found gone. Its revision is one of those given to nobody known.
bool RevisionHistory::removed_unseen(const std::string& key, Revision current, Revision before) {
  const auto [begin, end] = unknown_.equal_range(key);
  for (auto at = begin; at != end; ++at) {
    if (at->second->kind != Kind::Remove || at->second->expected != current) continue;
    for (Revision revision = current + 1; revision < before; ++revision) {
      if (writes_.contains(revision)) continue;
      keys_[key][revision] = std::nullopt;
      unknown_.erase(at);
      return true;
    }
  }
  return false;
}

void RevisionHistory::replay() {
  for (const auto& [key, kv] : history_.initial) keys_[key][kv.modified] = kv;
  for (auto& [revision, write] : writes_) {
    const Operation& operation = *write.operation;
    auto& versions = keys_[operation.key];
    if (!versions.empty()) write.previous = versions.rbegin()->second;
    const Revision current = write.previous ? write.previous->modified : 0;
    write.deleted = operation.kind == Kind::Remove;
    if (operation.expected == 0 && current != 0 && removed_unseen(operation.key, current, revision)) {
      write.previous.reset();
    } else if (operation.expected != current || (write.deleted && current == 0)) {
      wrong_ = "a write was applied although the key was " +
               (write.previous ? "at " + std::to_string(current) : std::string("not there")) + " then:\n  " +
               describe(operation) + "\n";
      return;
    }
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
