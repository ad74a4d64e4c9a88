// SPDX-License-Identifier: Apache-2.0
//
// etcd's requests as the store's operations, and the answers back.

#pragma once

#include <kubernel/net/grpc.h>
#include <kubernel/storage/backend.h>
#include <kubernel/storage/transaction.h>

#include "rpc.pb.h"

namespace kubernel::etcd_server {

/// What every answer says of the server.
struct Identity {
  std::uint64_t cluster = 0;
  std::uint64_t member = 0;
};

void fill(etcdserverpb::ResponseHeader& header, const Identity& identity, storage::Revision revision);

void fill(mvccpb::KeyValue& out, storage::KeyValue&& kv);
void fill(mvccpb::Event& out, storage::Event&& event, bool with_previous);

/// etcd's key and range_end as a range.
storage::KeyRange range_of(const std::string& key, const std::string& range_end);

/// Whether the answer must be sorted or filtered here, from all keys of the range.
bool needs_all(const etcdserverpb::RangeRequest& request);
storage::RangeOptions options_of(const etcdserverpb::RangeRequest& request);
void fill(etcdserverpb::RangeResponse& out, const etcdserverpb::RangeRequest& request, storage::Page&& page);

storage::PutOperation operation_of(etcdserverpb::PutRequest&& request);
storage::RemoveOperation operation_of(const etcdserverpb::DeleteRangeRequest& request);
storage::Transaction transaction_of(etcdserverpb::TxnRequest& request);

/// The headers inside carry the revision, as etcd's do.
void fill(etcdserverpb::TxnResponse& out, const etcdserverpb::TxnRequest& request, storage::TransactionResult&& result);
void fill(etcdserverpb::PutResponse& out, storage::PutOutcome&& outcome);
void fill(etcdserverpb::DeleteRangeResponse& out, storage::RemoveOutcome&& outcome);

/// Refuses what etcd refuses before it looks at the store.
net::GrpcStatus check(const etcdserverpb::RangeRequest& request);
net::GrpcStatus check(const etcdserverpb::PutRequest& request);
net::GrpcStatus check(const etcdserverpb::DeleteRangeRequest& request);
net::GrpcStatus check(const etcdserverpb::TxnRequest& request, int max_operations);

/// In etcd's words, which its clients compare with.
net::GrpcStatus status_of(const Error& error);

}  // namespace kubernel::etcd_server
