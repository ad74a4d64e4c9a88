// SPDX-License-Identifier: Apache-2.0
//
// KV: reads, writes and transactions.

#pragma once

#include "rpc.pb.h"
#include "service_context.h"

namespace kubernel::etcd_server {

class KvService {
 public:
  explicit KvService(ServiceContext& context) : context_(context) {}

  void add_to(GrpcMethods& methods);

 private:
  GrpcStatus range(const CallContext& ctx, const etcdserverpb::RangeRequest& request,
                   etcdserverpb::RangeResponse& response);
  void put(Call call, etcdserverpb::PutRequest&& request, std::size_t bytes);
  void delete_range(Call call, const etcdserverpb::DeleteRangeRequest& request);
  void transact(Call call, etcdserverpb::TxnRequest&& request, std::size_t bytes);
  GrpcStatus compact(const CallContext& ctx, storage::Revision revision, etcdserverpb::CompactionResponse& response);
  GrpcStatus too_large(std::size_t bytes) const;

  ServiceContext& context_;
};

}  // namespace kubernel::etcd_server
