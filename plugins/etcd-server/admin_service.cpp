// SPDX-License-Identifier: Apache-2.0
#include "admin_service.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "snapshot.h"

namespace kubernel::etcd_server {

using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;
using grpc::StatusCode;

namespace {

// The version of etcd whose API this is. Clients look at it to know what they may use, such as progress requests.
constexpr const char* kApiVersion = "3.5.21";
constexpr std::size_t kPage = 1000;

constexpr std::array<std::uint32_t, 256> make_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1U) ^ ((crc & 1U) != 0 ? 0x82F63B78U : 0);
    table[i] = crc;
  }
  return table;
}

void add(std::uint32_t& crc, std::string_view bytes) {
  static constexpr auto kTable = make_table();
  for (const char c : bytes) crc = (crc >> 8U) ^ kTable[(crc ^ static_cast<unsigned char>(c)) & 0xffU];
}

void add(std::uint32_t& crc, std::int64_t number) {
  add(crc, std::string_view(reinterpret_cast<const char*>(&number), sizeof number));
}

grpc::Status one_member() {
  return {StatusCode::UNIMPLEMENTED, "etcdserver: this server is its cluster's one member; members cannot be changed"};
}

}  // namespace

Result<std::uint32_t> hash_keys(storage::Backend& store, const CallContext& ctx, storage::Revision& at) {
  std::uint32_t crc = ~0U;
  storage::RangeOptions options{.limit = kPage, .at = at};
  for (;;) {
    KUBERNEL_TRY(auto page, store.range(ctx, options));
    options.at = at = page.revision;
    for (const auto& kv : page.items) {
      add(crc, static_cast<std::int64_t>(kv.key.size()));
      add(crc, kv.key);
      add(crc, kv.created);
      add(crc, kv.modified);
      add(crc, kv.version);
      add(crc, kv.value);
    }
    if (!page.more) return ~crc;
    options.start = page.items.back().key + '\0';
  }
}

ServerUnaryReactor* MaintenanceService::Alarm(CallbackServerContext* call, const etcdserverpb::AlarmRequest* request,
                                              etcdserverpb::AlarmResponse* response) {
  return context_.unary(call, "Alarm",
                        [this, request, response](const CallContext& ctx) { return alarm(ctx, *request, *response); });
}

// The store raises the alarm itself while it takes no writes; it cannot be raised or put off from outside.
grpc::Status MaintenanceService::alarm(const CallContext& ctx, const etcdserverpb::AlarmRequest& request,
                                       etcdserverpb::AlarmResponse& response) {
  if (request.action() == etcdserverpb::AlarmRequest::ACTIVATE) {
    return {StatusCode::UNIMPLEMENTED,
            "etcdserver: alarms follow from the state of the store here and cannot be activated"};
  }
  auto stats = context_.store.stats(ctx);
  if (!stats) return status_of(stats.error());
  context_.head(*response.mutable_header(), stats->revision);
  if (stats->stopped.empty() || request.action() == etcdserverpb::AlarmRequest::DEACTIVATE) return grpc::Status::OK;
  auto& raised = *response.add_alarms();
  raised.set_memberid(context_.identity.member);
  raised.set_alarm(etcdserverpb::NOSPACE);
  return grpc::Status::OK;
}

ServerUnaryReactor* MaintenanceService::Status(CallbackServerContext* call, const etcdserverpb::StatusRequest*,
                                               etcdserverpb::StatusResponse* response) {
  return context_.unary(call, "Status", [this, response](const CallContext& ctx) { return status(ctx, *response); });
}

grpc::Status MaintenanceService::status(const CallContext& ctx, etcdserverpb::StatusResponse& response) {
  auto stats = context_.store.stats(ctx);
  if (!stats) return status_of(stats.error());
  context_.head(*response.mutable_header(), stats->revision);
  response.set_version(kApiVersion);
  response.set_dbsize(stats->size_bytes);
  response.set_dbsizeinuse(stats->size_bytes);
  response.set_leader(context_.identity.member);
  response.set_raftindex(static_cast<std::uint64_t>(stats->revision));  // One write, one entry.
  response.set_raftappliedindex(static_cast<std::uint64_t>(stats->revision));
  response.set_raftterm(1);
  if (!stats->stopped.empty()) response.add_errors(stats->stopped);
  return grpc::Status::OK;
}

// Nothing to do: every store uses again what compaction frees.
ServerUnaryReactor* MaintenanceService::Defragment(CallbackServerContext* call, const etcdserverpb::DefragmentRequest*,
                                                   etcdserverpb::DefragmentResponse* response) {
  return context_.unary(call, "Defragment", [this, response](const CallContext& ctx) -> grpc::Status {
    auto revision = context_.revision(ctx);
    if (!revision) return status_of(revision.error());
    context_.head(*response->mutable_header(), *revision);
    return grpc::Status::OK;
  });
}

ServerUnaryReactor* MaintenanceService::Hash(CallbackServerContext* call, const etcdserverpb::HashRequest*,
                                             etcdserverpb::HashResponse* response) {
  return context_.unary(call, "Hash", [this, response](const CallContext& ctx) -> grpc::Status {
    storage::Revision at = 0;
    auto hash = hash_keys(context_.store, ctx, at);
    if (!hash) return status_of(hash.error());
    context_.head(*response->mutable_header(), at);
    response->set_hash(*hash);
    return grpc::Status::OK;
  });
}

ServerUnaryReactor* MaintenanceService::HashKV(CallbackServerContext* call, const etcdserverpb::HashKVRequest* request,
                                               etcdserverpb::HashKVResponse* response) {
  return context_.unary(call, "HashKV", [this, request, response](const CallContext& ctx) -> grpc::Status {
    auto stats = context_.store.stats(ctx);
    if (!stats) return status_of(stats.error());
    storage::Revision at = request->revision();
    auto hash = hash_keys(context_.store, ctx, at);
    if (!hash) return status_of(hash.error());
    context_.head(*response->mutable_header(), std::max(at, stats->revision));
    response->set_hash(*hash);
    response->set_compact_revision(stats->compacted);
    return grpc::Status::OK;
  });
}

grpc::ServerWriteReactor<etcdserverpb::SnapshotResponse>* MaintenanceService::Snapshot(
    CallbackServerContext* call, const etcdserverpb::SnapshotRequest*) {
  return stream_snapshot(context_, call);
}

// etcd's answer where there is nobody else to lead.
ServerUnaryReactor* MaintenanceService::MoveLeader(CallbackServerContext* call, const etcdserverpb::MoveLeaderRequest*,
                                                   etcdserverpb::MoveLeaderResponse*) {
  return context_.refuse(call, "MoveLeader", {StatusCode::FAILED_PRECONDITION, "etcdserver: bad leader transferee"});
}

ServerUnaryReactor* ClusterService::MemberAdd(CallbackServerContext* call, const etcdserverpb::MemberAddRequest*,
                                              etcdserverpb::MemberAddResponse*) {
  return context_.refuse(call, "MemberAdd", one_member());
}

ServerUnaryReactor* ClusterService::MemberRemove(CallbackServerContext* call, const etcdserverpb::MemberRemoveRequest*,
                                                 etcdserverpb::MemberRemoveResponse*) {
  return context_.refuse(call, "MemberRemove", one_member());
}

ServerUnaryReactor* ClusterService::MemberUpdate(CallbackServerContext* call, const etcdserverpb::MemberUpdateRequest*,
                                                 etcdserverpb::MemberUpdateResponse*) {
  return context_.refuse(call, "MemberUpdate", one_member());
}

ServerUnaryReactor* ClusterService::MemberPromote(CallbackServerContext* call,
                                                  const etcdserverpb::MemberPromoteRequest*,
                                                  etcdserverpb::MemberPromoteResponse*) {
  return context_.refuse(call, "MemberPromote", one_member());
}

ServerUnaryReactor* ClusterService::MemberList(CallbackServerContext* call, const etcdserverpb::MemberListRequest*,
                                               etcdserverpb::MemberListResponse* response) {
  return context_.unary(call, "MemberList", [this, response](const CallContext& ctx) -> grpc::Status {
    auto revision = context_.revision(ctx);
    if (!revision) return status_of(revision.error());
    context_.head(*response->mutable_header(), *revision);
    auto& member = *response->add_members();
    member.set_id(context_.identity.member);
    member.set_name(context_.config.name);
    for (const std::string& url : context_.client_urls) member.add_clienturls(url);
    return grpc::Status::OK;
  });
}

ServerUnaryReactor* AuthService::AuthEnable(CallbackServerContext* call, const etcdserverpb::AuthEnableRequest*,
                                            etcdserverpb::AuthEnableResponse*) {
  return context_.unary(call, "AuthEnable", [](const CallContext&) {
    return grpc::Status(StatusCode::FAILED_PRECONDITION, "etcdserver: root user does not exist");
  });
}

ServerUnaryReactor* AuthService::AuthDisable(CallbackServerContext* call, const etcdserverpb::AuthDisableRequest*,
                                             etcdserverpb::AuthDisableResponse* response) {
  return context_.unary(call, "AuthDisable", [this, response](const CallContext&) {
    context_.head(*response->mutable_header(), 0);
    return grpc::Status::OK;
  });
}

ServerUnaryReactor* AuthService::AuthStatus(CallbackServerContext* call, const etcdserverpb::AuthStatusRequest*,
                                            etcdserverpb::AuthStatusResponse* response) {
  return context_.unary(call, "AuthStatus", [this, response](const CallContext&) {
    context_.head(*response->mutable_header(), 0);
    response->set_enabled(false);
    response->set_authrevision(1);
    return grpc::Status::OK;
  });
}

ServerUnaryReactor* AuthService::Authenticate(CallbackServerContext* call, const etcdserverpb::AuthenticateRequest*,
                                              etcdserverpb::AuthenticateResponse*) {
  return context_.unary(call, "Authenticate", [](const CallContext&) {
    return grpc::Status(StatusCode::FAILED_PRECONDITION, "etcdserver: authentication is not enabled");
  });
}

ServerUnaryReactor* AuthService::UserList(CallbackServerContext* call, const etcdserverpb::AuthUserListRequest*,
                                          etcdserverpb::AuthUserListResponse* response) {
  return context_.unary(call, "UserList", [this, response](const CallContext&) {
    context_.head(*response->mutable_header(), 0);
    return grpc::Status::OK;
  });
}

ServerUnaryReactor* AuthService::RoleList(CallbackServerContext* call, const etcdserverpb::AuthRoleListRequest*,
                                          etcdserverpb::AuthRoleListResponse* response) {
  return context_.unary(call, "RoleList", [this, response](const CallContext&) {
    context_.head(*response->mutable_header(), 0);
    return grpc::Status::OK;
  });
}

}  // namespace kubernel::etcd_server
