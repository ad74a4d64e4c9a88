// SPDX-License-Identifier: Apache-2.0
//
// Maintenance, Cluster and Auth: what operators ask of a cluster that has one member and no users.

#pragma once

#include "admin.pb.h"
#include "service_context.h"

namespace kubernel::etcd_server {

class MaintenanceService {
 public:
  explicit MaintenanceService(ServiceContext& context) : context_(context) {}

  void add_to(GrpcMethods& methods);

 private:
  GrpcStatus alarm(const CallContext& ctx, const etcdserverpb::AlarmRequest& request,
                   etcdserverpb::AlarmResponse& response);
  GrpcStatus status(const CallContext& ctx, etcdserverpb::StatusResponse& response);
  GrpcStatus defragment(const CallContext& ctx, etcdserverpb::DefragmentResponse& response);
  GrpcStatus hash(const CallContext& ctx, etcdserverpb::HashResponse& response);
  GrpcStatus hash_kv(const CallContext& ctx, const etcdserverpb::HashKVRequest& request,
                     etcdserverpb::HashKVResponse& response);

  ServiceContext& context_;
};

class ClusterService {
 public:
  explicit ClusterService(ServiceContext& context) : context_(context) {}

  void add_to(GrpcMethods& methods);

 private:
  GrpcStatus members(const CallContext& ctx, etcdserverpb::MemberListResponse& response);

  ServiceContext& context_;
};

class AuthService {
 public:
  explicit AuthService(ServiceContext& context) : context_(context) {}

  void add_to(GrpcMethods& methods);

 private:
  ServiceContext& context_;
};

/// CRC-32C of every key with its value and revisions, as of `at`; 0: now, which it then is set to.
Result<std::uint32_t> hash_keys(storage::Backend& store, const CallContext& ctx, storage::Revision& at);

}  // namespace kubernel::etcd_server
