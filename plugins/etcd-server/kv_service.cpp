// SPDX-License-Identifier: Apache-2.0
#include "kv_service.h"

#include <utility>

namespace kubernel::etcd_server {

using etcdserverpb::CompactionRequest;
using etcdserverpb::CompactionResponse;
using etcdserverpb::DeleteRangeRequest;
using etcdserverpb::DeleteRangeResponse;
using etcdserverpb::PutRequest;
using etcdserverpb::PutResponse;
using etcdserverpb::RangeRequest;
using etcdserverpb::RangeResponse;
using etcdserverpb::TxnRequest;
using etcdserverpb::TxnResponse;
using storage::Transaction;
using storage::TransactionResult;

namespace {

constexpr char kService[] = "KV";
constexpr char kPut[] = "Put";
constexpr char kDeleteRange[] = "DeleteRange";
constexpr char kTxn[] = "Txn";

}  // namespace

void KvService::add_to(GrpcMethods& methods) {
  context_.add_blocking<RangeRequest, RangeResponse>(
      methods, kService, "Range", [this](const CallContext& ctx, const RangeRequest& request, RangeResponse& response) {
        GrpcStatus status = check(request);
        return status.ok() ? range(ctx, request, response) : status;
      });
  context_.add_blocking<CompactionRequest, CompactionResponse>(
      methods, kService, "Compact",
      [this](const CallContext& ctx, const CompactionRequest& request, CompactionResponse& response) {
        return compact(ctx, request.revision(), response);
      });
  context_.add<PutRequest>(methods, kService, kPut, [this](Call call, PutRequest&& request, std::size_t bytes) {
    put(std::move(call), std::move(request), bytes);
  });
  context_.add<DeleteRangeRequest>(
      methods, kService, kDeleteRange,
      [this](Call call, DeleteRangeRequest&& request, std::size_t) { delete_range(std::move(call), request); });
  context_.add<TxnRequest>(methods, kService, kTxn, [this](Call call, TxnRequest&& request, std::size_t bytes) {
    transact(std::move(call), std::move(request), bytes);
  });
}

GrpcStatus KvService::too_large(std::size_t bytes) const {
  if (bytes <= context_.config.max_request_bytes) return {};
  return {GrpcCode::InvalidArgument, "etcdserver: request is too large"};
}

GrpcStatus KvService::range(const CallContext& ctx, const RangeRequest& request, RangeResponse& response) {
  auto options = options_of(request);
  if (options.at == 0) {
    auto page = context_.store.range(ctx, options);
    if (!page) return status_of(page.error());
    context_.head(*response.mutable_header(), page->revision);
    fill(response, request, *std::move(page));
    return {};
  }
  // As a transaction, which tells the store's revision besides the one that was read at.
  Transaction transaction;
  transaction.then.push_back({storage::ReadOperation{std::move(options)}});
  auto result = context_.store.transact(ctx, transaction);
  if (!result) return status_of(result.error());
  context_.head(*response.mutable_header(), result->revision);
  fill(response, request, std::move(std::get<storage::Page>(result->outcomes.front().of)));
  return {};
}

void KvService::put(Call call, PutRequest&& request, std::size_t bytes) {
  GrpcStatus status = check(request);
  if (status.ok()) status = too_large(bytes);
  if (!status.ok()) return context_.refuse(*call, kPut, status);
  Transaction transaction;
  transaction.then.push_back({operation_of(std::move(request))});
  context_.write<PutResponse>(std::move(call), kPut, std::move(transaction),
                              [this](TransactionResult&& result, PutResponse& response) {
                                context_.head(*response.mutable_header(), result.revision);
                                fill(response, std::move(std::get<storage::PutOutcome>(result.outcomes.front().of)));
                              });
}

void KvService::delete_range(Call call, const DeleteRangeRequest& request) {
  if (GrpcStatus status = check(request); !status.ok()) return context_.refuse(*call, kDeleteRange, status);
  Transaction transaction;
  transaction.then.push_back({operation_of(request)});
  context_.write<DeleteRangeResponse>(std::move(call), kDeleteRange, std::move(transaction),
                                      [this](TransactionResult&& result, DeleteRangeResponse& response) {
                                        context_.head(*response.mutable_header(), result.revision);
                                        fill(response,
                                             std::move(std::get<storage::RemoveOutcome>(result.outcomes.front().of)));
                                      });
}

void KvService::transact(Call call, TxnRequest&& request, std::size_t bytes) {
  GrpcStatus status = check(request, context_.config.max_operations);
  if (status.ok()) status = too_large(bytes);
  if (!status.ok()) return context_.refuse(*call, kTxn, status);
  const auto asked = std::make_shared<const TxnRequest>(request);
  context_.write<TxnResponse>(std::move(call), kTxn, transaction_of(request),
                              [this, asked](TransactionResult&& result, TxnResponse& response) {
                                context_.head(*response.mutable_header(), result.revision);
                                fill(response, *asked, std::move(result));
                              });
}

GrpcStatus KvService::compact(const CallContext& ctx, storage::Revision revision, CompactionResponse& response) {
  auto stats = context_.store.stats(ctx);
  if (!stats) return status_of(stats.error());
  // The store takes the same revision twice; etcd's clients rely on the second being refused.
  if (revision <= stats->compacted) return status_of(Error(Reason::Expired, ""));
  if (auto done = context_.store.compact(ctx, revision); !done) return status_of(done.error());
  context_.head(*response.mutable_header(), stats->revision);
  return {};
}

}  // namespace kubernel::etcd_server
