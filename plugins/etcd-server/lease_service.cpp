// SPDX-License-Identifier: Apache-2.0
#include "lease_service.h"

#include <algorithm>
#include <memory>

namespace kubernel::etcd_server {

using etcdserverpb::LeaseKeepAliveRequest;
using etcdserverpb::LeaseKeepAliveResponse;
using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;
using grpc::Status;

namespace {

constexpr std::int64_t kLongestTtl = 9'000'000'000;  // etcd's limit.

// Reads one request, renews, answers, reads the next.
class KeepAlive final : public grpc::ServerBidiReactor<LeaseKeepAliveRequest, LeaseKeepAliveResponse>, public Stream {
 public:
  explicit KeepAlive(ServiceContext& context) : context_(context) {}
  ~KeepAlive() override { context_.over(); }

  void begin(std::shared_ptr<KeepAlive> self) {
    self_ = std::move(self);
    context_.opened(self_);
    read();
  }

  void close() override {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    if (reading_) finish(ServiceContext::stopped());  // Else whatever is being done ends with it.
  }

  void OnReadDone(bool ok) override {
    const std::lock_guard lock(mutex_);
    reading_ = false;
    if (finished_) return;
    if (!ok) {
      finish(Status::OK);
      return;
    }
    auto queued = context_.blocking.submit([this, self = self_] { renew(); });
    if (!queued) finish({grpc::StatusCode::RESOURCE_EXHAUSTED, "etcdserver: too many requests"});
  }

  void OnWriteDone(bool ok) override {
    if (ok) {
      read();
      return;
    }
    const std::lock_guard lock(mutex_);
    finish(Status::CANCELLED);
  }

  void OnDone() override { const auto last = std::move(self_); }

 private:
  void read() {
    const std::lock_guard lock(mutex_);
    if (finished_) return;
    if (closing_) {
      finish(ServiceContext::stopped());
      return;
    }
    reading_ = true;
    StartRead(&request_);
  }

  // The mutex is held.
  void finish(const Status& status) {
    if (!std::exchange(finished_, true)) Finish(status);
  }

  void renew() {
    response_.Clear();
    response_.set_id(request_.id());
    auto renewed = context_.store.leases().renew({}, request_.id());
    if (renewed) response_.set_ttl(renewed->count());  // A lease that is gone has a TTL of 0.
    const auto revision = context_.revision({});
    context_.head(*response_.mutable_header(), revision ? *revision : 0);
    const std::lock_guard lock(mutex_);
    if (!renewed && renewed.error().reason() != Reason::NotFound) {
      finish(status_of(renewed.error()));
      return;
    }
    StartWrite(&response_);
  }

  ServiceContext& context_;
  std::shared_ptr<KeepAlive> self_;  // Until gRPC is done with it.
  LeaseKeepAliveRequest request_;
  LeaseKeepAliveResponse response_;

  // Recursive: gRPC may call back from within Finish.
  std::recursive_mutex mutex_;
  bool reading_ = false;
  bool closing_ = false;
  bool finished_ = false;
};

// The answer's header, when the work before it went well.
Status with_header(const ServiceContext& context, const CallContext& ctx, etcdserverpb::ResponseHeader& header) {
  auto revision = context.revision(ctx);
  if (!revision) return status_of(revision.error());
  context.head(header, *revision);
  return Status::OK;
}

}  // namespace

ServerUnaryReactor* LeaseService::LeaseGrant(CallbackServerContext* call,
                                             const etcdserverpb::LeaseGrantRequest* request,
                                             etcdserverpb::LeaseGrantResponse* response) {
  return context_.unary(call, "LeaseGrant", [this, request, response](const CallContext& ctx) -> Status {
    if (request->ttl() > kLongestTtl) return {grpc::StatusCode::OUT_OF_RANGE, "etcdserver: too large lease TTL"};
    const std::chrono::seconds ttl(std::max<std::int64_t>(request->ttl(), 1));
    auto granted = context_.store.leases().grant(ctx, request->id(), ttl);
    if (!granted) return status_of(granted.error());
    response->set_id(*granted);
    response->set_ttl(ttl.count());
    return with_header(context_, ctx, *response->mutable_header());
  });
}

ServerUnaryReactor* LeaseService::LeaseRevoke(CallbackServerContext* call,
                                              const etcdserverpb::LeaseRevokeRequest* request,
                                              etcdserverpb::LeaseRevokeResponse* response) {
  return context_.unary(call, "LeaseRevoke", [this, request, response](const CallContext& ctx) -> Status {
    if (auto revoked = context_.store.leases().revoke(ctx, request->id()); !revoked) return status_of(revoked.error());
    return with_header(context_, ctx, *response->mutable_header());
  });
}

grpc::ServerBidiReactor<LeaseKeepAliveRequest, LeaseKeepAliveResponse>* LeaseService::LeaseKeepAlive(
    CallbackServerContext*) {
  auto stream = std::make_shared<KeepAlive>(context_);
  stream->begin(stream);
  return stream.get();
}

ServerUnaryReactor* LeaseService::LeaseTimeToLive(CallbackServerContext* call,
                                                  const etcdserverpb::LeaseTimeToLiveRequest* request,
                                                  etcdserverpb::LeaseTimeToLiveResponse* response) {
  return context_.unary(call, "LeaseTimeToLive", [this, request, response](const CallContext& ctx) -> Status {
    response->set_id(request->id());
    auto found = context_.store.leases().find(ctx, request->id(), request->keys());
    if (!found && found.error().reason() != Reason::NotFound) return status_of(found.error());
    if (found) {
      response->set_ttl(std::chrono::duration_cast<std::chrono::seconds>(found->remaining).count());
      response->set_grantedttl(found->ttl.count());
      for (std::string& key : found->keys) response->add_keys(std::move(key));
    } else {
      response->set_ttl(-1);
    }
    return with_header(context_, ctx, *response->mutable_header());
  });
}

ServerUnaryReactor* LeaseService::LeaseLeases(CallbackServerContext* call, const etcdserverpb::LeaseLeasesRequest*,
                                              etcdserverpb::LeaseLeasesResponse* response) {
  return context_.unary(call, "LeaseLeases", [this, response](const CallContext& ctx) -> Status {
    auto leases = context_.store.leases().list(ctx);
    if (!leases) return status_of(leases.error());
    for (const storage::LeaseId id : *leases) response->add_leases()->set_id(id);
    return with_header(context_, ctx, *response->mutable_header());
  });
}

}  // namespace kubernel::etcd_server
