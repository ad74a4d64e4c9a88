// SPDX-License-Identifier: Apache-2.0
#include "pending.h"

#include <algorithm>
#include <utility>

namespace kubernel::storage_common {

using storage::CasResult;
using storage::Event;
using storage::KeyValue;
using storage::LeaseId;
using storage::Page;
using storage::RangeOptions;
using storage::Revision;
using storage::Transaction;
using storage::TransactionResult;

namespace {

std::shared_ptr<const KeyValue> live(const std::optional<Row>& row) {
  return row && !row->deleted ? row->kv : nullptr;
}

RowId id_of(const std::optional<Row>& row) {
  return row ? row->id : 0;
}

}  // namespace

Pending::Pending(Database& database, const Marks& marks, CheckLease check_lease)
    : database_(database),
      writer_(database.writer()),
      marks_(marks),
      check_lease_(std::move(check_lease)),
      head_(marks.head) {}

void Pending::load(std::vector<std::string_view> keys) {
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  auto rows = writer_.newest(keys);
  newest_.reserve(newest_.size() + keys.size());
  for (std::size_t i = 0; i < keys.size(); ++i) newest_.emplace(keys[i], std::move(rows[i]));
}

void Pending::load_owned(const std::vector<std::string_view>& keys) {
  std::vector<std::string_view> owned;
  for (const std::string_view key : keys) {
    if (!newest_.contains(key)) owned.push_back(owned_keys_.emplace_back(key));
  }
  if (!owned.empty()) load(std::move(owned));
}

Pending::Newest& Pending::newest(std::string_view key) {
  const auto found = newest_.find(key);
  if (found != newest_.end()) return found->second;
  load_owned({key});
  return newest_.at(key);
}

Result<CasResult> Pending::apply(const Write& write) {
  KUBERNEL_CHECK_OK(check_lease(write.lease));
  Newest& row = newest(write.key);
  if (!row) return row.error();
  const auto current = live(*row);
  const bool wins = write.remove ? current && current->modified == write.expected
                                 : (current ? current->modified : 0) == write.expected;
  CasResult result{.applied = wins, .revision = head_, .current = std::nullopt};
  if (current && (!wins || write.remove)) result.current = *current;
  if (!wins) return result;
  result.revision = ++head_;
  auto kv = std::make_shared<KeyValue>();
  kv->key = std::string(write.key);
  kv->modified = head_;
  if (!write.remove) {
    kv->value = std::string(write.value);
    kv->created = current ? current->created : head_;
    kv->version = current ? current->version + 1 : 1;
    kv->lease = write.lease;
  }
  add(row, current, Row{.kv = std::move(kv), .id = row_id(head_), .previous = id_of(*row), .deleted = write.remove});
  return result;
}

Result<TransactionResult> Pending::transact(const Transaction& transaction) {
  KUBERNEL_TRY(Evaluated evaluated, evaluate(transaction, *this));
  KUBERNEL_CHECK_OK(write(evaluated.changes));
  return std::move(evaluated.result);
}

Result<void> Pending::remove_all(std::span<const std::string> keys) {
  std::vector<Change> changes;
  load_owned({keys.begin(), keys.end()});
  for (const std::string& key : keys) {
    KUBERNEL_TRY(auto doomed, current(key));
    if (!doomed) continue;
    auto tombstone = std::make_shared<KeyValue>();
    tombstone->key = key;
    tombstone->modified = head_ + 1;
    changes.push_back({std::move(tombstone), std::move(doomed), true});
  }
  return write(changes);
}

// All under the next revision, or nothing.
Result<void> Pending::write(const std::vector<Change>& changes) {
  if (changes.empty()) return {};
  if (changes.size() > static_cast<std::size_t>(kRowsPerRevision)) {
    return Error(Reason::RequestEntityTooLarge,
                 "a transaction changes at most " + std::to_string(kRowsPerRevision) + " keys");
  }
  std::vector<std::string_view> keys;
  for (const Change& change : changes) keys.push_back(change.kv->key);
  load_owned(keys);
  for (const std::string_view key : keys) {
    if (const Newest& row = newest(key); !row) return row.error();
  }
  ++head_;
  std::int64_t place = 0;
  for (const Change& change : changes) {
    Newest& row = newest(change.kv->key);
    add(row, change.previous,
        Row{.kv = change.kv, .id = row_id(head_, place++), .previous = id_of(*row), .deleted = change.deleted});
  }
  return {};
}

void Pending::add(Newest& newest, const std::shared_ptr<const KeyValue>& current, Row row) {
  live_change_ += (row.deleted ? 0 : 1) - (current ? 1 : 0);
  entries_.push_back({row.deleted ? Event::Type::Delete : Event::Type::Put, row.kv, current});
  newest = std::optional<Row>(row);
  rows_.push_back(std::move(row));
}

Result<std::shared_ptr<const KeyValue>> Pending::current(std::string_view key) {
  const Newest& row = newest(key);
  if (!row) return row.error();
  return live(*row);
}

void Pending::overlay() {
  for (; overlaid_ < rows_.size(); ++overlaid_) {
    const Row& row = rows_[overlaid_];
    const auto found = changes_.try_emplace(row.kv->key, Change{nullptr, entries_[overlaid_].previous, false}).first;
    found->second.kv = row.kv;
    found->second.deleted = row.deleted;
  }
}

Result<Page> Pending::range(const RangeOptions& options) {
  // Revisions this batch assigned have been told to nobody.
  if (options.at != 0) return database_.range(CallContext{}, options);
  overlay();
  return range_through(
      changes_, [this](const RangeOptions& wider) { return writer_.range(wider); }, options);
}

Result<void> Pending::check_lease(LeaseId id) {
  if (id == 0) return {};
  return check_lease_(id);
}

}  // namespace kubernel::storage_common
