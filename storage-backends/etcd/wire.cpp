// SPDX-License-Identifier: Apache-2.0
#include "wire.h"

#include <utility>

namespace kubernel::storage_etcd {

using storage::KeyRange;
using storage::KeyValue;
using storage::Operation;
using storage::Outcome;
using storage::Page;
using storage::PutOperation;
using storage::RangeOptions;
using storage::ReadOperation;
using storage::RemoveOperation;
using storage::Revision;
using storage::Transaction;
using storage::TransactionResult;

namespace {

// etcd's name for "to the end": a range_end of one zero byte; as a key, the least one there is.
const std::string kZero(1, '\0');

// The first key after all those with the prefix.
std::string after_prefix(std::string prefix) {
  while (!prefix.empty() && prefix.back() == '\xff') prefix.pop_back();
  if (prefix.empty()) return kZero;
  prefix.back() = static_cast<char>(static_cast<unsigned char>(prefix.back()) + 1);
  return prefix;
}

etcdserverpb::Compare to_wire(const Keys& keys, const storage::Compare& compare) {
  using Target = storage::Compare::Target;
  using Relation = storage::Compare::Relation;
  etcdserverpb::Compare out;
  auto bounds = keys.bounds(compare.keys);
  out.set_key(std::move(bounds.key));
  out.set_range_end(std::move(bounds.range_end));
  switch (compare.relation) {
    case Relation::Equal: out.set_result(etcdserverpb::Compare::EQUAL); break;
    case Relation::NotEqual: out.set_result(etcdserverpb::Compare::NOT_EQUAL); break;
    case Relation::Less: out.set_result(etcdserverpb::Compare::LESS); break;
    case Relation::Greater: out.set_result(etcdserverpb::Compare::GREATER); break;
  }
  switch (compare.target) {
    case Target::Version:
      out.set_target(etcdserverpb::Compare::VERSION);
      out.set_version(compare.number);
      break;
    case Target::Created:
      out.set_target(etcdserverpb::Compare::CREATE);
      out.set_create_revision(compare.number);
      break;
    case Target::Modified:
      out.set_target(etcdserverpb::Compare::MOD);
      out.set_mod_revision(compare.number);
      break;
    case Target::Lease:
      out.set_target(etcdserverpb::Compare::LEASE);
      out.set_lease(compare.number);
      break;
    case Target::Value:
      out.set_target(etcdserverpb::Compare::VALUE);
      out.set_value(compare.value);
      break;
  }
  return out;
}

etcdserverpb::RequestOp to_wire(const Keys& keys, const Operation& operation) {
  etcdserverpb::RequestOp out;
  if (const auto* put = std::get_if<PutOperation>(&operation.what)) {
    auto& request = *out.mutable_request_put();
    request.set_key(keys.to_etcd(put->key));
    if (!put->keep_value) request.set_value(put->value);
    if (!put->keep_lease) request.set_lease(put->lease);
    request.set_ignore_value(put->keep_value);
    request.set_ignore_lease(put->keep_lease);
    request.set_prev_kv(put->want_previous);
  } else if (const auto* remove = std::get_if<RemoveOperation>(&operation.what)) {
    auto& request = *out.mutable_request_delete_range();
    auto bounds = keys.bounds(remove->keys);
    request.set_key(std::move(bounds.key));
    request.set_range_end(std::move(bounds.range_end));
    request.set_prev_kv(remove->want_previous);
  } else if (const auto* read = std::get_if<ReadOperation>(&operation.what)) {
    *out.mutable_request_range() = to_wire(keys, read->range);
  } else {
    *out.mutable_request_txn() = to_wire(keys, std::get<Transaction>(operation.what));
  }
  return out;
}

Outcome from_wire(const Keys& keys, const Operation& operation, etcdserverpb::ResponseOp&& response,
                  Revision revision) {
  if (response.has_response_put()) {
    storage::PutOutcome out;
    auto& put = *response.mutable_response_put();
    if (put.has_prev_kv()) out.previous = from_wire(keys, std::move(*put.mutable_prev_kv()));
    return {out};
  }
  if (response.has_response_delete_range()) {
    auto& removed = *response.mutable_response_delete_range();
    storage::RemoveOutcome out{.removed = removed.deleted(), .previous = {}};
    for (auto& kv : *removed.mutable_prev_kvs()) out.previous.push_back(from_wire(keys, std::move(kv)));
    return {std::move(out)};
  }
  if (response.has_response_range()) {
    const auto* read = std::get_if<ReadOperation>(&operation.what);
    const Revision at = read != nullptr && read->range.at != 0 ? read->range.at : revision;
    return {from_wire(keys, std::move(*response.mutable_response_range()), at)};
  }
  return {
      from_wire(keys, std::get<Transaction>(operation.what), std::move(*response.mutable_response_txn()), revision)};
}

}  // namespace

std::optional<std::string_view> Keys::from_etcd(std::string_view key) const {
  if (!key.starts_with(prefix_)) return std::nullopt;
  return key.substr(prefix_.size());
}

Keys::Bounds Keys::bounds(const KeyRange& range) const {
  Bounds out{prefix_ + range.start, {}};
  if (out.key.empty()) out.key = kZero;  // No key is shorter than one byte.
  if (!range.single()) out.range_end = range.end.empty() ? after_prefix(prefix_) : prefix_ + range.end;
  return out;
}

KeyValue from_wire(const Keys& keys, mvccpb::KeyValue&& kv) {
  return {.key = std::string(keys.from_etcd(kv.key()).value_or(kv.key())),
          .value = std::move(*kv.mutable_value()),
          .created = kv.create_revision(),
          .modified = kv.mod_revision(),
          .version = kv.version(),
          .lease = kv.lease()};
}

std::optional<storage::Event> from_wire(const Keys& keys, mvccpb::Event&& event) {
  if (!keys.from_etcd(event.kv().key())) return std::nullopt;
  storage::Event out;
  out.type = event.type() == mvccpb::Event::DELETE ? storage::Event::Type::Delete : storage::Event::Type::Put;
  if (event.has_prev_kv()) out.previous = from_wire(keys, std::move(*event.mutable_prev_kv()));
  out.kv = from_wire(keys, std::move(*event.mutable_kv()));
  return out;
}

etcdserverpb::RangeRequest to_wire(const Keys& keys, const RangeOptions& options) {
  etcdserverpb::RangeRequest out;
  auto bounds = keys.bounds({options.start, options.end});
  out.set_key(std::move(bounds.key));
  out.set_range_end(std::move(bounds.range_end));
  out.set_limit(static_cast<std::int64_t>(options.limit));
  out.set_revision(options.at);
  out.set_keys_only(options.keys_only);
  return out;
}

Page from_wire(const Keys& keys, etcdserverpb::RangeResponse&& response, Revision at) {
  Page out{.items = {}, .revision = at, .more = response.more(), .count = response.count()};
  out.items.reserve(static_cast<std::size_t>(response.kvs_size()));
  for (auto& kv : *response.mutable_kvs()) out.items.push_back(from_wire(keys, std::move(kv)));
  return out;
}

etcdserverpb::TxnRequest to_wire(const Keys& keys, const Transaction& transaction) {
  etcdserverpb::TxnRequest out;
  for (const auto& compare : transaction.compares) *out.add_compare() = to_wire(keys, compare);
  for (const auto& operation : transaction.then) *out.add_success() = to_wire(keys, operation);
  for (const auto& operation : transaction.otherwise) *out.add_failure() = to_wire(keys, operation);
  return out;
}

TransactionResult from_wire(const Keys& keys, const Transaction& transaction, etcdserverpb::TxnResponse&& response,
                            Revision revision) {
  TransactionResult out{.succeeded = response.succeeded(), .revision = revision, .outcomes = {}};
  const auto& done = out.succeeded ? transaction.then : transaction.otherwise;
  for (std::size_t i = 0; i < done.size() && i < static_cast<std::size_t>(response.responses_size()); ++i) {
    out.outcomes.push_back(
        from_wire(keys, done[i], std::move(*response.mutable_responses(static_cast<int>(i))), revision));
  }
  return out;
}

etcdserverpb::WatchRequest watch_everything(Revision from) {
  etcdserverpb::WatchRequest out;
  auto& create = *out.mutable_create_request();
  create.set_key(kZero);
  create.set_range_end(kZero);
  create.set_start_revision(from);
  create.set_prev_kv(true);
  create.set_fragment(true);
  return out;
}

}  // namespace kubernel::storage_etcd
