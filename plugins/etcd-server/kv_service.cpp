// SPDX-License-Identifier: Apache-2.0
#include "kv_service.h"

#include <utility>

namespace kubernel::etcd_server {

using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;
using grpc::Status;
using storage::Operation;
using storage::Transaction;

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

Status KvService::range(const CallContext& ctx, const etcdserverpb::RangeRequest& request, etcdserverpb::RangeResponse& response) {
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
  return context_.unary(call, "Put", [this, request, response](const CallContext& ctx) -> Status {
    if (Status status = check(*request); !status.ok()) return status;
    if (Status status = too_large(request->ByteSizeLong()); !status.ok()) return status;
    Transaction transaction;
    transaction.then.push_back({operation_of(etcdserverpb::PutRequest(*request))});
    auto result = context_.store.transact(ctx, transaction);
    if (!result) return status_of(result.error());
    context_.head(*response->mutable_header(), result->revision);
    fill(*response, std::move(std::get<storage::PutOutcome>(result->outcomes.front().of)));
    return Status::OK;
  });
}

ServerUnaryReactor* KvService::DeleteRange(CallbackServerContext* call, const etcdserverpb::DeleteRangeRequest* request,
                                           etcdserverpb::DeleteRangeResponse* response) {
  return context_.unary(call, "DeleteRange", [this, request, response](const CallContext& ctx) -> Status {
    if (Status status = check(*request); !status.ok()) return status;
    Transaction transaction;
    transaction.then.push_back({operation_of(*request)});
    auto result = context_.store.transact(ctx, transaction);
    if (!result) return status_of(result.error());
    context_.head(*response->mutable_header(), result->revision);
    fill(*response, std::move(std::get<storage::RemoveOutcome>(result->outcomes.front().of)));
    return Status::OK;
  });
}

ServerUnaryReactor* KvService::Txn(CallbackServerContext* call, const etcdserverpb::TxnRequest* request,
                                   etcdserverpb::TxnResponse* response) {
  return context_.unary(call, "Txn", [this, request, response](const CallContext& ctx) -> Status {
    if (Status status = check(*request, context_.config.max_operations); !status.ok()) return status;
    if (Status status = too_large(request->ByteSizeLong()); !status.ok()) return status;
    etcdserverpb::TxnRequest taken(*request);
    auto result = context_.store.transact(ctx, transaction_of(taken));
    if (!result) return status_of(result.error());
    context_.head(*response->mutable_header(), result->revision);
    fill(*response, *request, *std::move(result));
    return Status::OK;
  });
}

ServerUnaryReactor* KvService::Compact(CallbackServerContext* call, const etcdserverpb::CompactionRequest* request,
                                       etcdserverpb::CompactionResponse* response) {
  return context_.unary(call, "Compact", [this, request, response](const CallContext& ctx) -> Status {
    return compact(ctx, request->revision(), *response);
  });
}

Status KvService::compact(const CallContext& ctx, storage::Revision revision, etcdserverpb::CompactionResponse& response) {
  auto stats = context_.store.stats(ctx);
  if (!stats) return status_of(stats.error());
  // The store takes the same revision twice; etcd's clients rely on the second being refused.
  if (revision <= stats->compacted) return status_of(Error(Reason::Expired, ""));
  if (auto done = context_.store.compact(ctx, revision); !done) return status_of(done.error());
  context_.head(*response.mutable_header(), stats->revision);
  return Status::OK;
}

}  // namespace kubernel::etcd_server
