// SPDX-License-Identifier: Apache-2.0
//
// Lease: grant, revoke, keep-alive, time to live.

#pragma once

#include "rpc.grpc.pb.h"
#include "service_context.h"

namespace kubernel::etcd_server {

class LeaseService final : public etcdserverpb::Lease::CallbackService {
 public:
  explicit LeaseService(ServiceContext& context) : context_(context) {}

  grpc::ServerUnaryReactor* LeaseGrant(grpc::CallbackServerContext* call,
                                       const etcdserverpb::LeaseGrantRequest* request,
                                       etcdserverpb::LeaseGrantResponse* response) override;
  grpc::ServerUnaryReactor* LeaseRevoke(grpc::CallbackServerContext* call,
                                        const etcdserverpb::LeaseRevokeRequest* request,
                                        etcdserverpb::LeaseRevokeResponse* response) override;
  grpc::ServerBidiReactor<etcdserverpb::LeaseKeepAliveRequest, etcdserverpb::LeaseKeepAliveResponse>* LeaseKeepAlive(
      grpc::CallbackServerContext* call) override;
  grpc::ServerUnaryReactor* LeaseTimeToLive(grpc::CallbackServerContext* call,
                                            const etcdserverpb::LeaseTimeToLiveRequest* request,
                                            etcdserverpb::LeaseTimeToLiveResponse* response) override;
  grpc::ServerUnaryReactor* LeaseLeases(grpc::CallbackServerContext* call,
                                        const etcdserverpb::LeaseLeasesRequest* request,
                                        etcdserverpb::LeaseLeasesResponse* response) override;

 private:
  ServiceContext& context_;
};

}  // namespace kubernel::etcd_server
