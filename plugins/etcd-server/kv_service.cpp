// SPDX-License-Identifier: Apache-2.0
#include "kv_service.h"

#include <utility>

namespace kubernel::etcd_server {

using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;
using grpc::Status;
using storage::Operation;
using storage::Transaction;

namespace {

// The methods' names in the metrics.
constexpr char kPut[] = "Put";
constexpr char kDeleteRange[] = "DeleteRange";
constexpr char kTxn[] = "Txn";

}  // namespace

Status KvService::too_large(std::size_t bytes) const {
  if (bytes <= context_.config.max_request_bytes) return Status::OK;
  return {grpc::StatusCode::INVALID_ARGUMENT, "etcdserver: request is too large"};
}

ServerUnaryReactor* KvService::Range(CallbackServerContext* call, const etcdserverpb::RangeRequest* request,
                                     etcdserverpb::RangeResponse* response) {
  return context_.unary(call, "Range", [this, request, response](const CallContext& ctx) -> Status {
    if (Status status = check(*request); !status.ok()) return status;
    return range(ctx, *request, *response);
  });
}

Status KvService::range(const CallContext& ctx, const etcdserverpb::RangeRequest& request,
                        etcdserverpb::RangeResponse& response) {
  auto options = options_of(request);
  if (options.at == 0) {
    auto page = context_.store.range(ctx, options);
    if (!page) return status_of(page.error());
    context_.head(*response.mutable_header(), page->revision);
    fill(response, request, *std::move(page));
    return Status::OK;
  }
  // As a transaction, which tells the store's revision besides the one that was read at.
  Transaction transaction;
  transaction.then.push_back({storage::ReadOperation{std::move(options)}});
  auto result = context_.store.transact(ctx, transaction);
  if (!result) return status_of(result.error());
  context_.head(*response.mutable_header(), result->revision);
  fill(response, request, std::move(std::get<storage::Page>(result->outcomes.front().of)));
  return Status::OK;
}

ServerUnaryReactor* KvService::Put(CallbackServerContext* call, const etcdserverpb::PutRequest* request,
                                   etcdserverpb::PutResponse* response) {
  if (Status status = check(*request); !status.ok()) return context_.refuse(call, kPut, status);
  if (Status status = too_large(request->ByteSizeLong()); !status.ok()) return context_.refuse(call, kPut, status);
  Transaction transaction;
  transaction.then.push_back({operation_of(etcdserverpb::PutRequest(*request))});
  return context_.write(call, kPut, std::move(transaction), [this, response](storage::TransactionResult&& result) {
    context_.head(*response->mutable_header(), result.revision);
    fill(*response, std::move(std::get<storage::PutOutcome>(result.outcomes.front().of)));
  });
}

ServerUnaryReactor* KvService::DeleteRange(CallbackServerContext* call, const etcdserverpb::DeleteRangeRequest* request,
                                           etcdserverpb::DeleteRangeResponse* response) {
  if (Status status = check(*request); !status.ok()) return context_.refuse(call, kDeleteRange, status);
  Transaction transaction;
  transaction.then.push_back({operation_of(*request)});
  return context_.write(call, kDeleteRange, std::move(transaction),
                        [this, response](storage::TransactionResult&& result) {
                          context_.head(*response->mutable_header(), result.revision);
                          fill(*response, std::move(std::get<storage::RemoveOutcome>(result.outcomes.front().of)));
                        });
}

ServerUnaryReactor* KvService::Txn(CallbackServerContext* call, const etcdserverpb::TxnRequest* request,
                                   etcdserverpb::TxnResponse* response) {
  Status status = check(*request, context_.config.max_operations);
  if (status.ok()) status = too_large(request->ByteSizeLong());
  if (!status.ok()) return context_.refuse(call, kTxn, status);
  etcdserverpb::TxnRequest taken(*request);
  return context_.write(call, kTxn, transaction_of(taken),
                        [this, request, response](storage::TransactionResult&& result) {
                          context_.head(*response->mutable_header(), result.revision);
                          fill(*response, *request, std::move(result));
                        });
}

ServerUnaryReactor* KvService::Compact(CallbackServerContext* call, const etcdserverpb::CompactionRequest* request,
                                       etcdserverpb::CompactionResponse* response) {
  return context_.unary(call, "Compact", [this, request, response](const CallContext& ctx) -> Status {
    return compact(ctx, request->revision(), *response);
  });
}

Status KvService::compact(const CallContext& ctx, storage::Revision revision,
                          etcdserverpb::CompactionResponse& response) {
  auto stats = context_.store.stats(ctx);
  if (!stats) return status_of(stats.error());
  // The store takes the same revision twice; etcd's clients rely on the second being refused.
  if (revision <= stats->compacted) return status_of(Error(Reason::Expired, ""));
  if (auto done = context_.store.compact(ctx, revision); !done) return status_of(done.error());
  context_.head(*response.mutable_header(), stats->revision);
  return Status::OK;
}

}  // namespace kubernel::etcd_server
