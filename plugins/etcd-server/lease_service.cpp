// SPDX-License-Identifier: Apache-2.0
#include "lease_service.h"

#include <algorithm>
#include <deque>
#include <memory>

namespace kubernel::etcd_server {

using etcdserverpb::LeaseGrantRequest;
using etcdserverpb::LeaseGrantResponse;
using etcdserverpb::LeaseKeepAliveRequest;
using etcdserverpb::LeaseKeepAliveResponse;
using etcdserverpb::LeaseLeasesRequest;
using etcdserverpb::LeaseLeasesResponse;
using etcdserverpb::LeaseRevokeRequest;
using etcdserverpb::LeaseRevokeResponse;
using etcdserverpb::LeaseTimeToLiveRequest;
using etcdserverpb::LeaseTimeToLiveResponse;

namespace {

constexpr char kService[] = "Lease";
constexpr std::int64_t kLongestTtl = 9'000'000'000;  // etcd's limit.
constexpr std::size_t kMostWaiting = 1000;

// Renews the leases a client names, one after the other, on a thread that may block.
class KeepAlive final : public net::GrpcReceiver, public Stream, public std::enable_shared_from_this<KeepAlive> {
 public:
  KeepAlive(ServiceContext& context, Call call) : context_(context), call_(std::move(call)) {}
  ~KeepAlive() override { context_.over(); }

  void close() override { call_->finish(ServiceContext::stopped()); }

  void on_message(std::string_view message) override {
    LeaseKeepAliveRequest request;
    if (!request.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
      return call_->finish(ServiceContext::unreadable());
    }
    const std::lock_guard lock(mutex_);
    waiting_.push_back(request.id());
    if (waiting_.size() >= kMostWaiting) call_->pause(true);
    if (running_) return;
    auto queued = context_.blocking.submit([self = shared_from_this()] { self->run(); });
    running_ = static_cast<bool>(queued);
    if (!queued) call_->finish(ServiceContext::too_many());
  }
  void on_end() override {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    if (!running_) call_->finish({});
  }
  void on_closed() override { call_->finish({GrpcCode::Cancelled, ""}); }

 private:
  void run() {
    while (const auto id = next()) {
      if (!renew(*id)) return;
    }
  }

  std::optional<storage::LeaseId> next() {
    const std::lock_guard lock(mutex_);
    if (waiting_.empty()) {
      running_ = false;
      if (ended_) call_->finish({});
      return std::nullopt;
    }
    const storage::LeaseId id = waiting_.front();
    waiting_.pop_front();
    if (waiting_.empty()) call_->pause(false);
    return id;
  }

  bool renew(storage::LeaseId id) {
    LeaseKeepAliveResponse response;
    response.set_id(id);
    auto renewed = context_.store.leases().renew({}, id);
    if (!renewed && renewed.error().reason() != Reason::NotFound) {
      call_->finish(status_of(renewed.error()));
      return false;
    }
    if (renewed) response.set_ttl(renewed->count());  // A lease that is gone has a TTL of 0.
    const auto revision = context_.revision({});
    context_.head(*response.mutable_header(), revision ? *revision : 0);
    return call_->send(response.SerializeAsString());
  }

  ServiceContext& context_;
  const Call call_;
  std::mutex mutex_;
  std::deque<storage::LeaseId> waiting_;
  bool running_ = false;
  bool ended_ = false;  // The client asks for nothing more.
};

// The answer's header, when the work before it went well.
GrpcStatus with_header(const ServiceContext& context, const CallContext& ctx, etcdserverpb::ResponseHeader& header) {
  auto revision = context.revision(ctx);
  if (!revision) return status_of(revision.error());
  context.head(header, *revision);
  return {};
}

}  // namespace

void LeaseService::add_to(GrpcMethods& methods) {
  context_.add_blocking<LeaseGrantRequest, LeaseGrantResponse>(
      methods, kService, "LeaseGrant",
      [this](const auto& ctx, const auto& request, auto& response) { return grant(ctx, request, response); });
  context_.add_blocking<LeaseRevokeRequest, LeaseRevokeResponse>(
      methods, kService, "LeaseRevoke",
      [this](const auto& ctx, const auto& request, auto& response) { return revoke(ctx, request, response); });
  context_.add_blocking<LeaseTimeToLiveRequest, LeaseTimeToLiveResponse>(
      methods, kService, "LeaseTimeToLive",
      [this](const auto& ctx, const auto& request, auto& response) { return time_to_live(ctx, request, response); });
  context_.add_blocking<LeaseLeasesRequest, LeaseLeasesResponse>(
      methods, kService, "LeaseLeases",
      [this](const auto& ctx, const auto&, auto& response) { return leases(ctx, response); });
  methods.add_streaming(ServiceContext::path(kService, "LeaseKeepAlive"), [this](Call call) {
    auto stream = std::make_shared<KeepAlive>(context_, std::move(call));
    context_.opened(stream);
    return stream;
  });
}

GrpcStatus LeaseService::grant(const CallContext& ctx, const LeaseGrantRequest& request, LeaseGrantResponse& response) {
  if (request.ttl() > kLongestTtl) return {GrpcCode::OutOfRange, "etcdserver: too large lease TTL"};
  const std::chrono::seconds ttl(std::max<std::int64_t>(request.ttl(), 1));
  auto granted = context_.store.leases().grant(ctx, request.id(), ttl);
  if (!granted) return status_of(granted.error());
  response.set_id(*granted);
  response.set_ttl(ttl.count());
  return with_header(context_, ctx, *response.mutable_header());
}

GrpcStatus LeaseService::revoke(const CallContext& ctx, const LeaseRevokeRequest& request,
                                LeaseRevokeResponse& response) {
  if (auto revoked = context_.store.leases().revoke(ctx, request.id()); !revoked) return status_of(revoked.error());
  return with_header(context_, ctx, *response.mutable_header());
}

GrpcStatus LeaseService::time_to_live(const CallContext& ctx, const LeaseTimeToLiveRequest& request,
                                      LeaseTimeToLiveResponse& response) {
  response.set_id(request.id());
  auto found = context_.store.leases().find(ctx, request.id(), request.keys());
  if (!found && found.error().reason() != Reason::NotFound) return status_of(found.error());
  if (found) {
    response.set_ttl(std::chrono::duration_cast<std::chrono::seconds>(found->remaining).count());
    response.set_grantedttl(found->ttl.count());
    for (std::string& key : found->keys) response.add_keys(std::move(key));
  } else {
    response.set_ttl(-1);
  }
  return with_header(context_, ctx, *response.mutable_header());
}

GrpcStatus LeaseService::leases(const CallContext& ctx, LeaseLeasesResponse& response) {
  auto leases = context_.store.leases().list(ctx);
  if (!leases) return status_of(leases.error());
  for (const storage::LeaseId id : *leases) response.add_leases()->set_id(id);
  return with_header(context_, ctx, *response.mutable_header());
}

}  // namespace kubernel::etcd_server
