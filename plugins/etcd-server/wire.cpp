// SPDX-License-Identifier: Apache-2.0
#include "wire.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace kubernel::etcd_server {

using etcdserverpb::RangeRequest;
using net::GrpcCode;
using net::GrpcStatus;
using storage::KeyValue;
using storage::Operation;
using storage::Outcome;

namespace {

constexpr int kMostNesting = 16;

bool between(std::int64_t value, std::int64_t least, std::int64_t most) {
  return (least == 0 || value >= least) && (most == 0 || value <= most);
}

bool wanted(const KeyValue& kv, const RangeRequest& request) {
  return between(kv.modified, request.min_mod_revision(), request.max_mod_revision()) &&
         between(kv.created, request.min_create_revision(), request.max_create_revision());
}

bool less(const KeyValue& a, const KeyValue& b, RangeRequest::SortTarget target) {
  switch (target) {
    case RangeRequest::VERSION: return a.version < b.version;
    case RangeRequest::CREATE: return a.created < b.created;
    case RangeRequest::MOD: return a.modified < b.modified;
    case RangeRequest::VALUE: return a.value < b.value;
    default: return a.key < b.key;
  }
}

storage::Compare compare_of(etcdserverpb::Compare& compare) {
  using Target = storage::Compare::Target;
  using Relation = storage::Compare::Relation;
  storage::Compare out;
  out.keys = range_of(compare.key(), compare.range_end());
  switch (compare.result()) {
    case etcdserverpb::Compare::GREATER: out.relation = Relation::Greater; break;
    case etcdserverpb::Compare::LESS: out.relation = Relation::Less; break;
    case etcdserverpb::Compare::NOT_EQUAL: out.relation = Relation::NotEqual; break;
    default: out.relation = Relation::Equal; break;
  }
  switch (compare.target()) {
    case etcdserverpb::Compare::CREATE:
      out.target = Target::Created;
      out.number = compare.create_revision();
      break;
    case etcdserverpb::Compare::MOD:
      out.target = Target::Modified;
      out.number = compare.mod_revision();
      break;
    case etcdserverpb::Compare::VALUE:
      out.target = Target::Value;
      out.value = std::move(*compare.mutable_value());
      break;
    case etcdserverpb::Compare::LEASE:
      out.target = Target::Lease;
      out.number = compare.lease();
      break;
    default:
      out.target = Target::Version;
      out.number = compare.version();
      break;
  }
  return out;
}

Operation step_of(etcdserverpb::RequestOp& request) {
  if (request.has_request_put()) return {operation_of(std::move(*request.mutable_request_put()))};
  if (request.has_request_delete_range()) return {operation_of(request.request_delete_range())};
  if (request.has_request_txn()) return {transaction_of(*request.mutable_request_txn())};
  return {storage::ReadOperation{options_of(request.request_range())}};
}

void fill_step(etcdserverpb::ResponseOp& out, const etcdserverpb::RequestOp& request, Outcome&& outcome,
               storage::Revision revision) {
  if (auto* put = std::get_if<storage::PutOutcome>(&outcome.of)) {
    fill(*out.mutable_response_put(), std::move(*put));
    out.mutable_response_put()->mutable_header()->set_revision(revision);
  } else if (auto* removed = std::get_if<storage::RemoveOutcome>(&outcome.of)) {
    fill(*out.mutable_response_delete_range(), std::move(*removed));
    out.mutable_response_delete_range()->mutable_header()->set_revision(revision);
  } else if (auto* page = std::get_if<storage::Page>(&outcome.of)) {
    fill(*out.mutable_response_range(), request.request_range(), std::move(*page));
    out.mutable_response_range()->mutable_header()->set_revision(revision);
  } else {
    auto& nested = std::get<storage::TransactionResult>(outcome.of);
    fill(*out.mutable_response_txn(), request.request_txn(), std::move(nested));
    out.mutable_response_txn()->mutable_header()->set_revision(revision);
  }
}

GrpcStatus no_key() {
  return {GrpcCode::InvalidArgument, "etcdserver: key is not provided"};
}

GrpcStatus check_transaction(const etcdserverpb::TxnRequest& request, int max_operations, int depth);

GrpcStatus check_operations(const google::protobuf::RepeatedPtrField<etcdserverpb::RequestOp>& operations,
                            int max_operations, int depth) {
  for (const auto& operation : operations) {
    GrpcStatus status;
    switch (operation.request_case()) {
      case etcdserverpb::RequestOp::kRequestRange: status = check(operation.request_range()); break;
      case etcdserverpb::RequestOp::kRequestPut: status = check(operation.request_put()); break;
      case etcdserverpb::RequestOp::kRequestDeleteRange: status = check(operation.request_delete_range()); break;
      case etcdserverpb::RequestOp::kRequestTxn:
        status = check_transaction(operation.request_txn(), max_operations, depth + 1);
        break;
      default: status = no_key(); break;
    }
    if (!status.ok()) return status;
  }
  return {};
}

GrpcStatus check_transaction(const etcdserverpb::TxnRequest& request, int max_operations, int depth) {
  const int most = std::max({request.compare_size(), request.success_size(), request.failure_size()});
  if (most > max_operations || depth > kMostNesting) {
    return {GrpcCode::InvalidArgument, "etcdserver: too many operations in txn request"};
  }
  for (const auto& compare : request.compare()) {
    if (compare.key().empty()) return no_key();
  }
  if (GrpcStatus status = check_operations(request.success(), max_operations, depth); !status.ok()) return status;
  return check_operations(request.failure(), max_operations, depth);
}

}  // namespace

void fill(etcdserverpb::ResponseHeader& header, const Identity& identity, storage::Revision revision) {
  header.set_cluster_id(identity.cluster);
  header.set_member_id(identity.member);
  header.set_revision(revision);
  header.set_raft_term(1);  // There is one member, and it leads from the start.
}

void fill(mvccpb::KeyValue& out, KeyValue&& kv) {
  out.set_key(std::move(kv.key));
  out.set_value(std::move(kv.value));
  out.set_create_revision(kv.created);
  out.set_mod_revision(kv.modified);
  out.set_version(kv.version);
  out.set_lease(kv.lease);
}

void fill(mvccpb::Event& out, storage::Event&& event, bool with_previous) {
  out.set_type(event.type == storage::Event::Type::Delete ? mvccpb::Event::DELETE : mvccpb::Event::PUT);
  fill(*out.mutable_kv(), std::move(event.kv));
  if (with_previous && event.previous) fill(*out.mutable_prev_kv(), std::move(*event.previous));
}

storage::KeyRange range_of(const std::string& key, const std::string& range_end) {
  if (range_end.empty()) return storage::KeyRange::only(key);
  return {key, range_end == std::string_view("\0", 1) ? std::string() : range_end};
}

bool needs_all(const RangeRequest& request) {
  const bool filtered = request.min_mod_revision() != 0 || request.max_mod_revision() != 0 ||
                        request.min_create_revision() != 0 || request.max_create_revision() != 0;
  const bool sorted = request.sort_target() != RangeRequest::KEY || request.sort_order() == RangeRequest::DESCEND;
  return (filtered || sorted) && !request.range_end().empty();
}

storage::RangeOptions options_of(const RangeRequest& request) {
  auto range = range_of(request.key(), request.range_end());
  storage::RangeOptions out{.start = std::move(range.start), .end = std::move(range.end)};
  out.at = std::max<storage::Revision>(request.revision(), 0);
  if (request.count_only()) {
    out.limit = 1;
    out.keys_only = true;
    out.count = true;
    return out;
  }
  // Sorting by value needs the values, also when they are not sent.
  out.keys_only = request.keys_only() && request.sort_target() != RangeRequest::VALUE;
  if (!needs_all(request) && request.limit() > 0) {
    out.limit = static_cast<std::size_t>(request.limit());
    out.count = true;
  }
  return out;
}

void fill(etcdserverpb::RangeResponse& out, const RangeRequest& request, storage::Page&& page) {
  if (request.count_only()) {
    out.set_count(page.count);
    return;
  }
  auto& items = page.items;
  bool more = page.more;
  out.set_count(!needs_all(request) && request.limit() > 0 ? page.count : static_cast<std::int64_t>(items.size()));
  std::erase_if(items, [&](const KeyValue& kv) { return !wanted(kv, request); });
  if (needs_all(request)) {
    const auto target = request.sort_target();
    if (request.sort_order() == RangeRequest::DESCEND) {
      std::stable_sort(items.begin(), items.end(), [&](const auto& a, const auto& b) { return less(b, a, target); });
    } else {
      std::stable_sort(items.begin(), items.end(), [&](const auto& a, const auto& b) { return less(a, b, target); });
    }
    if (request.limit() > 0 && items.size() > static_cast<std::size_t>(request.limit())) {
      items.resize(static_cast<std::size_t>(request.limit()));
      more = true;
    }
  }
  out.set_more(more);
  out.mutable_kvs()->Reserve(static_cast<int>(items.size()));
  for (KeyValue& kv : items) {
    if (request.keys_only()) kv.value.clear();
    fill(*out.add_kvs(), std::move(kv));
  }
}

storage::PutOperation operation_of(etcdserverpb::PutRequest&& request) {
  return {.key = std::move(*request.mutable_key()),
          .value = std::move(*request.mutable_value()),
          .lease = request.lease(),
          .keep_value = request.ignore_value(),
          .keep_lease = request.ignore_lease(),
          .want_previous = request.prev_kv()};
}

storage::RemoveOperation operation_of(const etcdserverpb::DeleteRangeRequest& request) {
  return {.keys = range_of(request.key(), request.range_end()), .want_previous = request.prev_kv()};
}

storage::Transaction transaction_of(etcdserverpb::TxnRequest& request) {
  storage::Transaction out;
  for (auto& compare : *request.mutable_compare()) out.compares.push_back(compare_of(compare));
  for (auto& operation : *request.mutable_success()) out.then.push_back(step_of(operation));
  for (auto& operation : *request.mutable_failure()) out.otherwise.push_back(step_of(operation));
  return out;
}

void fill(etcdserverpb::TxnResponse& out, const etcdserverpb::TxnRequest& request,
          storage::TransactionResult&& result) {
  out.set_succeeded(result.succeeded);
  const auto& done = result.succeeded ? request.success() : request.failure();
  for (int i = 0; i < done.size(); ++i) {
    fill_step(*out.add_responses(), done[i], std::move(result.outcomes[static_cast<std::size_t>(i)]), result.revision);
  }
}

void fill(etcdserverpb::PutResponse& out, storage::PutOutcome&& outcome) {
  if (outcome.previous) fill(*out.mutable_prev_kv(), std::move(*outcome.previous));
}

void fill(etcdserverpb::DeleteRangeResponse& out, storage::RemoveOutcome&& outcome) {
  out.set_deleted(outcome.removed);
  for (KeyValue& kv : outcome.previous) fill(*out.add_prev_kvs(), std::move(kv));
}

GrpcStatus check(const RangeRequest& request) {
  if (request.key().empty()) return no_key();
  if (!RangeRequest::SortOrder_IsValid(request.sort_order()) ||
      !RangeRequest::SortTarget_IsValid(request.sort_target())) {
    return {GrpcCode::InvalidArgument, "etcdserver: invalid sort option"};
  }
  return {};
}

GrpcStatus check(const etcdserverpb::PutRequest& request) {
  if (request.key().empty()) return no_key();
  if (request.ignore_value() && !request.value().empty())
    return {GrpcCode::InvalidArgument, "etcdserver: value is provided"};
  if (request.ignore_lease() && request.lease() != 0)
    return {GrpcCode::InvalidArgument, "etcdserver: lease is provided"};
  return {};
}

GrpcStatus check(const etcdserverpb::DeleteRangeRequest& request) {
  return request.key().empty() ? no_key() : GrpcStatus();
}

GrpcStatus check(const etcdserverpb::TxnRequest& request, int max_operations) {
  return check_transaction(request, max_operations, 0);
}

GrpcStatus status_of(const Error& error) {
  const std::string& text = error.message();
  switch (error.reason()) {
    case Reason::Expired: return {GrpcCode::OutOfRange, "etcdserver: mvcc: required revision has been compacted"};
    case Reason::NotFound:
      if (text == "key not found") return {GrpcCode::InvalidArgument, "etcdserver: key not found"};
      return {GrpcCode::NotFound, "etcdserver: requested lease not found"};
    case Reason::AlreadyExists: return {GrpcCode::FailedPrecondition, "etcdserver: lease already exists"};
    case Reason::BadRequest:
      if (text.find("in the future") != std::string::npos || text.find("future revision") != std::string::npos) {
        return {GrpcCode::OutOfRange, "etcdserver: mvcc: required revision is a future revision"};
      }
      if (text.find("duplicate key") != std::string::npos) {
        return {GrpcCode::InvalidArgument, "etcdserver: duplicate key given in txn request"};
      }
      return {GrpcCode::InvalidArgument, text};
    case Reason::RequestEntityTooLarge: return {GrpcCode::InvalidArgument, "etcdserver: request is too large"};
    case Reason::TooManyRequests: return {GrpcCode::ResourceExhausted, "etcdserver: too many requests"};
    case Reason::Timeout: return {GrpcCode::Unavailable, "etcdserver: request timed out"};
    case Reason::Cancelled: return {GrpcCode::Unavailable, "etcdserver: server stopped"};
    case Reason::ServiceUnavailable: return {GrpcCode::Unavailable, text};
    default: return {GrpcCode::Internal, text};
  }
}

}  // namespace kubernel::etcd_server
