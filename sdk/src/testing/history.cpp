// SPDX-License-Identifier: Apache-2.0
#include <kubernel/testing/history.h>

#include <iterator>
#include <utility>

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

std::string asked(const Operation& operation) {
  const std::string at = operation.at == 0 ? "" : " at " + std::to_string(operation.at);
  switch (operation.kind) {
    case Kind::Put:
      return "put " + operation.key + "=\"" + operation.value + "\" if " + std::to_string(operation.expected);
    case Kind::Remove: return "remove " + operation.key + " if " + std::to_string(operation.expected);
    case Kind::Get: return "get " + operation.key + at;
    default: return "range [" + operation.key + ", " + operation.end + ")" + at;
  }
}

std::string answered(const Operation& operation) {
  if (operation.outcome == Outcome::Unknown) return "outcome unknown";
  if (operation.outcome == Outcome::Refused) return "refused";
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
  operation.called = ++history_.moments;
  return operation;
}

void RecordedClient::finish(Operation operation, const Result<CasResult>& result) {
  const Moment now = ++history_.moments;
  if (result) {
    operation.outcome = Outcome::Done;
    operation.applied = result->applied;
    operation.revision = result->revision;
    operation.current = result->current;
  } else {
    operation.outcome = may_have_happened(result.error()) ? Outcome::Unknown : Outcome::Refused;
  }
  operation.returned = operation.outcome == Outcome::Unknown ? kNever : now;
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
  operation.returned = ++history_.moments;
  operation.outcome = found ? Outcome::Done : Outcome::Refused;
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
  operation.returned = ++history_.moments;
  operation.outcome = page ? Outcome::Done : Outcome::Refused;
  if (page) {
    operation.revision = page->revision;
    operation.items = page->items;
    operation.more = page->more;
  }
  operations_.push_back(std::move(operation));
  return page;
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
