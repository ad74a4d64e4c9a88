// SPDX-License-Identifier: Apache-2.0
//
// Lease: grant, revoke, keep-alive, time to live.

#pragma once

#include "rpc.pb.h"
#include "service_context.h"

namespace kubernel::etcd_server {

class LeaseService {
 public:
  explicit LeaseService(ServiceContext& context) : context_(context) {}

  void add_to(GrpcMethods& methods);

 private:
  GrpcStatus grant(const CallContext& ctx, const etcdserverpb::LeaseGrantRequest& request,
                   etcdserverpb::LeaseGrantResponse& response);
  GrpcStatus revoke(const CallContext& ctx, const etcdserverpb::LeaseRevokeRequest& request,
                    etcdserverpb::LeaseRevokeResponse& response);
  GrpcStatus time_to_live(const CallContext& ctx, const etcdserverpb::LeaseTimeToLiveRequest& request,
                          etcdserverpb::LeaseTimeToLiveResponse& response);
  GrpcStatus leases(const CallContext& ctx, etcdserverpb::LeaseLeasesResponse& response);

  ServiceContext& context_;
};

}  // namespace kubernel::etcd_server
