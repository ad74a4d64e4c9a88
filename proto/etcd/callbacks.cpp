// SPDX-License-Identifier: Apache-2.0
#include "callbacks.h"

#include <absl/synchronization/mutex.h>
#include <grpc/support/log.h>
#include <grpcpp/grpcpp.h>

#include "admin.grpc.pb.h"

namespace kubernel::etcd_api {

namespace {

struct Call {
  grpc::ClientContext context;
  etcdserverpb::StatusRequest request;
  etcdserverpb::StatusResponse response;
};

// A channel holds on to the threads from its first callback on: this one makes a call that is over before it begins,
// and is never destroyed.
etcdserverpb::Maintenance::Stub* hold() {
  auto* stub =
      etcdserverpb::Maintenance::NewStub(grpc::CreateChannel("unix:/nowhere", grpc::InsecureChannelCredentials()))
          .release();
  auto* call = new Call;
  call->context.set_deadline(gpr_time_0(GPR_TIMESPAN));
  stub->async()->Status(&call->context, &call->request, &call->response, [call](const grpc::Status&) { delete call; });
  return stub;
}

}  // namespace

void keep_callback_threads() {
  // Used: kept where a search for leaks finds it.
  [[gnu::used]] static const auto* const held = hold();
}

void trust_lock_order() {
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
}

void silence_log() {
  gpr_set_log_function([](gpr_log_func_args*) {});
}

}  // namespace kubernel::etcd_api
