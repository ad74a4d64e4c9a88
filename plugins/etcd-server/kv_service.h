// SPDX-License-Identifier: Apache-2.0
//
// KV: reads, writes and transactions.

#pragma once

#include "rpc.grpc.pb.h"
#include "service_context.h"

namespace kubernel::etcd_server {

class KvService final : public etcdserverpb::KV::CallbackService {
 public:
  explicit KvService(ServiceContext& context) : context_(context) {}

  grpc::ServerUnaryReactor* Range(grpc::CallbackServerContext* call, const etcdserverpb::RangeRequest* request,
                                  etcdserverpb::RangeResponse* response) override;
  grpc::ServerUnaryReactor* Put(grpc::CallbackServerContext* call, const etcdserverpb::PutRequest* request,
                                etcdserverpb::PutResponse* response) override;
  grpc::ServerUnaryReactor* DeleteRange(grpc::CallbackServerContext* call,
                                        const etcdserverpb::DeleteRangeRequest* request,
                                        etcdserverpb::DeleteRangeResponse* response) override;
  grpc::ServerUnaryReactor* Txn(grpc::CallbackServerContext* call, const etcdserverpb::TxnRequest* request,
                                etcdserverpb::TxnResponse* response) override;
  grpc::ServerUnaryReactor* Compact(grpc::CallbackServerContext* call, const etcdserverpb::CompactionRequest* request,
                                    etcdserverpb::CompactionResponse* response) override;

 private:
  grpc::Status range(const CallContext& ctx, const etcdserverpb::RangeRequest& request,
                     etcdserverpb::RangeResponse& response);
  grpc::Status compact(const CallContext& ctx, storage::Revision revision, etcdserverpb::CompactionResponse& response);
  grpc::Status too_large(std::size_t bytes) const;

  ServiceContext& context_;
};

}  // namespace kubernel::etcd_server
