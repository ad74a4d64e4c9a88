// SPDX-License-Identifier: Apache-2.0
#include <kubernel/testing/history.h>

#include <iterator>
#include <utility>

#include "history_model.h"

namespace kubernel::testing {

using storage::CasResult;
using storage::KeyValue;
using storage::Page;
using storage::Revision;
using Kind = Operation::Kind;
using Outcome = Operation::Outcome;

namespace {

// Whether the write may have been applied although it failed; see storage::Backend's guarantees.
bool may_have_happened(const Error& error) {
  return error.reason() == Reason::Timeout || error.reason() == Reason::ServiceUnavailable;
}

std::string text(const KeyValue& kv) {
  return kv.key + "=\"" + kv.value + "\"@" + std::to_string(kv.modified);
}

std::string text(const storage::KeyRange& range) {
  return range.single() ? range.start : "[" + range.start + ", " + range.end + ")";
}

std::string text(const storage::Compare& compare) {
  static constexpr const char* kTargets[] = {"version", "created", "modified", "lease", "value"};
  static constexpr const char* kRelations[] = {"=", "!=", "<", ">"};
  const bool of_value = compare.target == storage::Compare::Target::Value;
  return std::string(kTargets[static_cast<std::size_t>(compare.target)]) + " of " + text(compare.keys) +
         kRelations[static_cast<std::size_t>(compare.relation)] +
         (of_value ? "\"" + compare.value + "\"" : std::to_string(compare.number));
}

std::string text(const storage::Transaction& transaction);
std::string text(const storage::Outcome& outcome);
std::string text(const storage::TransactionResult& result);

std::string text(const storage::Operation& operation) {
  if (const auto* put = std::get_if<storage::PutOperation>(&operation.what)) {
    return "put " + put->key + (put->keep_value ? " as it is" : "=\"" + put->value + "\"") +
           (put->keep_lease   ? " with its lease"
            : put->lease != 0 ? " lease " + std::to_string(put->lease)
                              : "");
  }
  if (const auto* remove = std::get_if<storage::RemoveOperation>(&operation.what))
    return "remove " + text(remove->keys);
  if (const auto* read = std::get_if<storage::ReadOperation>(&operation.what)) {
    return "read " + text(storage::KeyRange{read->range.start, read->range.end}) +
           (read->range.at == 0 ? "" : " at " + std::to_string(read->range.at));
  }
  return text(std::get<storage::Transaction>(operation.what));
}

template <class T>
std::string joined(const std::vector<T>& list, const char* between) {
  std::string out;
  for (const T& item : list) out += (out.empty() ? "" : between) + text(item);
  return out;
}

std::string text(const storage::Transaction& transaction) {
  const std::string otherwise =
      transaction.otherwise.empty() ? "" : " else (" + joined(transaction.otherwise, "; ") + ")";
  return "if (" + joined(transaction.compares, " and ") + ") then (" + joined(transaction.then, "; ") + ")" + otherwise;
}

std::string text(const storage::Outcome& outcome) {
  if (const auto* put = std::get_if<storage::PutOutcome>(&outcome.of)) {
    return put->previous ? "put, was " + text(*put->previous) : "put";
  }
  if (const auto* removed = std::get_if<storage::RemoveOutcome>(&outcome.of)) {
    return "removed " + std::to_string(removed->removed) +
           (removed->previous.empty() ? "" : ": " + joined(removed->previous, " "));
  }
  if (const auto* page = std::get_if<storage::Page>(&outcome.of)) {
    return "read" + (page->items.empty() ? " nothing" : " " + joined(page->items, " ")) +
           (page->more ? " and more" : "");
  }
  return text(std::get<storage::TransactionResult>(outcome.of));
}

std::string text(const storage::TransactionResult& result) {
  return std::string(result.succeeded ? "then" : "else") + " at " + std::to_string(result.revision) + " (" +
         joined(result.outcomes, "; ") + ")";
}

std::string asked(const Operation& operation) {
  const std::string at = operation.at == 0 ? "" : " at " + std::to_string(operation.at);
  const std::string lease = " lease " + std::to_string(operation.lease);
  switch (operation.kind) {
    case Kind::Transact: return text(operation.transaction);
    case Kind::Grant: return "grant" + lease + " for " + std::to_string(operation.ttl.count()) + " s";
    case Kind::Renew: return "renew" + lease;
    case Kind::Revoke: return "revoke" + lease;
    case Kind::Put:
      return "put " + operation.key + "=\"" + operation.value + "\" if " + std::to_string(operation.expected) +
             (operation.lease == 0 ? "" : lease);
    case Kind::Remove: return "remove " + operation.key + " if " + std::to_string(operation.expected);
    case Kind::Get: return "get " + operation.key + at;
    default: return "range [" + operation.key + ", " + operation.end + ")" + at;
  }
}

std::string answered(const Operation& operation) {
  if (operation.outcome == Outcome::Unknown) return "outcome unknown";
  if (operation.outcome == Outcome::Refused) return "refused";
  if (operation.kind == Kind::Transact) return text(operation.result);
  if (operation.kind >= Kind::Grant) return "done";
  const std::string current = operation.current ? text(*operation.current) : "nothing";
  if (operation.kind == Kind::Get) return "found " + current;
  if (operation.kind == Kind::Range) {
    std::string out = "revision " + std::to_string(operation.revision) + ":";
    for (const KeyValue& item : operation.items) out += " " + text(item);
    return out + (operation.more ? " and more" : "");
  }
  if (operation.applied) return "applied at " + std::to_string(operation.revision);
  return "lost to " + current + ", store at " + std::to_string(operation.revision);
}

}  // namespace

std::string describe(const Operation& operation) {
  const std::string returned = operation.returned == kNever ? "" : std::to_string(operation.returned);
  return "client " + std::to_string(operation.client) + ": " + asked(operation) + ": " + answered(operation) + " [" +
         std::to_string(operation.called) + ", " + returned + "]";
}

RecordedClient::RecordedClient(History& history, storage::Backend& store, int number)
    : history_(history), store_(store), number_(number) {}

RecordedClient::~RecordedClient() {
  const std::lock_guard lock(history_.mutex);
  history_.operations.insert(history_.operations.end(), std::make_move_iterator(operations_.begin()),
                             std::make_move_iterator(operations_.end()));
}

Operation RecordedClient::begin(Kind kind, std::string_view key) {
  Operation operation;
  operation.client = number_;
  operation.kind = kind;
  operation.key = std::string(key);
  if (history_.clock != nullptr) operation.called_at = history_.clock->now();
  operation.called = ++history_.moments;
  return operation;
}

// Of a write. Keeps what came of it; `error` is null when it was done.
void RecordedClient::returned(Operation& operation, const Error* error) {
  operation.returned = ++history_.moments;
  if (history_.clock != nullptr) operation.returned_at = history_.clock->now();
  operation.outcome = Outcome::Done;
  if (error == nullptr) return;
  operation.outcome = may_have_happened(*error) ? Outcome::Unknown : Outcome::Refused;
  if (operation.outcome == Outcome::Unknown) operation.returned = kNever;
  operation.by_lease = error->reason() == (operation.kind == Kind::Grant ? Reason::AlreadyExists : Reason::NotFound);
}

void RecordedClient::finish(Operation operation, const Result<CasResult>& result) {
  returned(operation, result ? nullptr : &result.error());
  if (result) {
    operation.applied = result->applied;
    operation.revision = result->revision;
    operation.current = result->current;
  }
  operations_.push_back(std::move(operation));
}

Result<CasResult> RecordedClient::put(std::string_view key, std::string_view value, Revision expected,
                                      storage::LeaseId lease) {
  Operation operation = begin(Kind::Put, key);
  operation.value = std::string(value);
  operation.expected = expected;
  operation.lease = lease;
  auto result = store_.put({}, key, value, expected, lease);
  finish(std::move(operation), result);
  return result;
}

Result<CasResult> RecordedClient::remove(std::string_view key, Revision expected) {
  Operation operation = begin(Kind::Remove, key);
  operation.expected = expected;
  auto result = store_.remove({}, key, expected);
  finish(std::move(operation), result);
  return result;
}

Result<std::optional<KeyValue>> RecordedClient::get(std::string_view key, Revision at) {
  Operation operation = begin(Kind::Get, key);
  operation.at = at;
  auto found = store_.get({}, key, at);
  returned(operation, found ? nullptr : &found.error());
  operation.by_lease = false;
  if (found) operation.current = *found;
  operations_.push_back(std::move(operation));
  return found;
}

Result<Page> RecordedClient::range(const storage::RangeOptions& options) {
  Operation operation = begin(Kind::Range, options.start);
  operation.end = options.end;
  operation.at = options.at;
  operation.limit = options.limit;
  storage::RangeOptions whole = options;
  whole.keys_only = false;
  auto page = store_.range({}, whole);
  returned(operation, page ? nullptr : &page.error());
  operation.by_lease = false;
  if (page) {
    operation.revision = page->revision;
    operation.items = page->items;
    operation.more = page->more;
  }
  operations_.push_back(std::move(operation));
  return page;
}

Result<storage::TransactionResult> RecordedClient::transact(storage::Transaction transaction) {
  Operation operation = begin(Kind::Transact, "");
  auto result = store_.transact({}, transaction);
  returned(operation, result ? nullptr : &result.error());
  // A key that was to keep what it has may have been the one that is not there.
  for_each_put(transaction, [&](const storage::PutOperation& put) {
    operation.by_lease = operation.by_lease && !put.keep_value && !put.keep_lease;
  });
  operation.transaction = std::move(transaction);
  if (result) {
    operation.revision = result->revision;
    operation.result = *result;
    operation.applied = has_written(operation.transaction, operation.result);
  }
  operations_.push_back(std::move(operation));
  return result;
}

Result<storage::LeaseId> RecordedClient::grant(storage::LeaseId id, std::chrono::seconds ttl) {
  Operation operation = begin(Kind::Grant, "");
  operation.ttl = ttl;
  auto granted = store_.leases().grant({}, id, ttl);
  returned(operation, granted ? nullptr : &granted.error());
  operation.lease = granted ? *granted : id;
  operations_.push_back(std::move(operation));
  return granted;
}

Result<std::chrono::seconds> RecordedClient::renew(storage::LeaseId id) {
  Operation operation = begin(Kind::Renew, "");
  operation.lease = id;
  auto renewed = store_.leases().renew({}, id);
  returned(operation, renewed ? nullptr : &renewed.error());
  if (renewed) operation.ttl = *renewed;
  operations_.push_back(std::move(operation));
  return renewed;
}

Result<void> RecordedClient::revoke(storage::LeaseId id) {
  Operation operation = begin(Kind::Revoke, "");
  operation.lease = id;
  auto revoked = store_.leases().revoke({}, id);
  returned(operation, revoked ? nullptr : &revoked.error());
  operations_.push_back(std::move(operation));
  return revoked;
}

RecordedWatch::RecordedWatch(History& history, storage::Backend& store, storage::WatchOptions options)
    : history_(history),
      record_{.start = options.start, .end = options.end, .from = options.from},
      watch_(store.watch(options)) {
  if (options.from != 0) return;
  // Writes up to here may have been before the watch; all later ones are its own.
  if (const auto stats = store.stats({})) record_.must_follow = stats->revision;
}

RecordedWatch::~RecordedWatch() {
  if (!watch_) return;
  const std::lock_guard lock(history_.mutex);
  history_.watches.push_back(std::move(record_));
}

Result<storage::WatchBatch> RecordedWatch::take(std::size_t max_events) {
  if (!watch_) return watch_.error();
  auto batch = (*watch_)->take(max_events);
  if (batch) record_.batches.push_back(*batch);
  return batch;
}

Revision RecordedWatch::progress() const {
  return record_.batches.empty() ? 0 : record_.batches.back().progress;
}

std::string violation(const History& history) {
  // The revisions first: what they find is said most plainly.
  for (const auto check : {revision_violation, linearizability_violation, watch_violation}) {
    if (std::string wrong = check(history); !wrong.empty()) return wrong;
  }
  return "";
}

}  // namespace kubernel::testing
