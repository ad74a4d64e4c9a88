// SPDX-License-Identifier: Apache-2.0
#include "admin_service.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "snapshot.h"

namespace kubernel::etcd_server {

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

GrpcStatus one_member() {
  return {GrpcCode::Unimplemented, "etcdserver: this server is its cluster's one member; members cannot be changed"};
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

void MaintenanceService::add_to(GrpcMethods& methods) {
  using namespace etcdserverpb;
  static constexpr char kService[] = "Maintenance";
  context_.add_blocking<AlarmRequest, AlarmResponse>(
      methods, kService, "Alarm",
      [this](const auto& ctx, const auto& request, auto& response) { return alarm(ctx, request, response); });
  context_.add_blocking<StatusRequest, StatusResponse>(
      methods, kService, "Status",
      [this](const auto& ctx, const auto&, auto& response) { return status(ctx, response); });
  context_.add_blocking<DefragmentRequest, DefragmentResponse>(
      methods, kService, "Defragment",
      [this](const auto& ctx, const auto&, auto& response) { return defragment(ctx, response); });
  context_.add_blocking<HashRequest, HashResponse>(
      methods, kService, "Hash", [this](const auto& ctx, const auto&, auto& response) { return hash(ctx, response); });
  context_.add_blocking<HashKVRequest, HashKVResponse>(
      methods, kService, "HashKV",
      [this](const auto& ctx, const auto& request, auto& response) { return hash_kv(ctx, request, response); });
  context_.add<SnapshotRequest>(methods, kService, "Snapshot", [this](Call call, SnapshotRequest&&, std::size_t) {
    stream_snapshot(context_, std::move(call));
  });
  // etcd's answer where there is nobody else to lead.
  context_.add<MoveLeaderRequest>(methods, kService, "MoveLeader", [this](const Call& call, const auto&, std::size_t) {
    context_.refuse(*call, "MoveLeader", {GrpcCode::FailedPrecondition, "etcdserver: bad leader transferee"});
  });
}

// The store raises the alarm itself while it takes no writes; it cannot be raised or put off from outside.
GrpcStatus MaintenanceService::alarm(const CallContext& ctx, const etcdserverpb::AlarmRequest& request,
                                     etcdserverpb::AlarmResponse& response) {
  if (request.action() == etcdserverpb::AlarmRequest::ACTIVATE) {
    return {GrpcCode::Unimplemented,
            "etcdserver: alarms follow from the state of the store here and cannot be activated"};
  }
  auto stats = context_.store.stats(ctx);
  if (!stats) return status_of(stats.error());
  context_.head(*response.mutable_header(), stats->revision);
  if (stats->stopped.empty() || request.action() == etcdserverpb::AlarmRequest::DEACTIVATE) return {};
  auto& raised = *response.add_alarms();
  raised.set_memberid(context_.identity.member);
  raised.set_alarm(etcdserverpb::NOSPACE);
  return {};
}

GrpcStatus MaintenanceService::status(const CallContext& ctx, etcdserverpb::StatusResponse& response) {
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
  return {};
}

// Nothing to do: every store uses again what compaction frees.
GrpcStatus MaintenanceService::defragment(const CallContext& ctx, etcdserverpb::DefragmentResponse& response) {
  auto revision = context_.revision(ctx);
  if (!revision) return status_of(revision.error());
  context_.head(*response.mutable_header(), *revision);
  return {};
}

GrpcStatus MaintenanceService::hash(const CallContext& ctx, etcdserverpb::HashResponse& response) {
  storage::Revision at = 0;
  auto hash = hash_keys(context_.store, ctx, at);
  if (!hash) return status_of(hash.error());
  context_.head(*response.mutable_header(), at);
  response.set_hash(*hash);
  return {};
}

GrpcStatus MaintenanceService::hash_kv(const CallContext& ctx, const etcdserverpb::HashKVRequest& request,
                                       etcdserverpb::HashKVResponse& response) {
  auto stats = context_.store.stats(ctx);
  if (!stats) return status_of(stats.error());
  storage::Revision at = request.revision();
  auto hash = hash_keys(context_.store, ctx, at);
  if (!hash) return status_of(hash.error());
  context_.head(*response.mutable_header(), std::max(at, stats->revision));
  response.set_hash(*hash);
  response.set_compact_revision(stats->compacted);
  return {};
}

void ClusterService::add_to(GrpcMethods& methods) {
  using namespace etcdserverpb;
  static constexpr char kService[] = "Cluster";
  context_.add_blocking<MemberListRequest, MemberListResponse>(
      methods, kService, "MemberList",
      [this](const auto& ctx, const auto&, auto& response) { return members(ctx, response); });
  const auto refused = [this](const char* method) {
    return [this, method](const Call& call, const auto&, std::size_t) { context_.refuse(*call, method, one_member()); };
  };
  context_.add<MemberAddRequest>(methods, kService, "MemberAdd", refused("MemberAdd"));
  context_.add<MemberRemoveRequest>(methods, kService, "MemberRemove", refused("MemberRemove"));
  context_.add<MemberUpdateRequest>(methods, kService, "MemberUpdate", refused("MemberUpdate"));
  context_.add<MemberPromoteRequest>(methods, kService, "MemberPromote", refused("MemberPromote"));
}

GrpcStatus ClusterService::members(const CallContext& ctx, etcdserverpb::MemberListResponse& response) {
  auto revision = context_.revision(ctx);
  if (!revision) return status_of(revision.error());
  context_.head(*response.mutable_header(), *revision);
  auto& member = *response.add_members();
  member.set_id(context_.identity.member);
  member.set_name(context_.config.name);
  for (const std::string& url : context_.client_urls) member.add_clienturls(url);
  return {};
}

// There are no users and roles, and none can be made.
void AuthService::add_to(GrpcMethods& methods) {
  using namespace etcdserverpb;
  static constexpr char kService[] = "Auth";
  const auto refused = [](const char* why) {
    return [why](const auto&, const auto&, auto&) { return GrpcStatus{GrpcCode::FailedPrecondition, why}; };
  };
  const auto nothing = [this](const auto&, const auto&, auto& response) {
    context_.head(*response.mutable_header(), 0);
    return GrpcStatus();
  };
  context_.add_blocking<AuthEnableRequest, AuthEnableResponse>(methods, kService, "AuthEnable",
                                                               refused("etcdserver: root user does not exist"));
  context_.add_blocking<AuthenticateRequest, AuthenticateResponse>(
      methods, kService, "Authenticate", refused("etcdserver: authentication is not enabled"));
  context_.add_blocking<AuthDisableRequest, AuthDisableResponse>(methods, kService, "AuthDisable", nothing);
  context_.add_blocking<AuthUserListRequest, AuthUserListResponse>(methods, kService, "UserList", nothing);
  context_.add_blocking<AuthRoleListRequest, AuthRoleListResponse>(methods, kService, "RoleList", nothing);
  context_.add_blocking<AuthStatusRequest, AuthStatusResponse>(methods, kService, "AuthStatus",
                                                               [this](const auto&, const auto&, auto& response) {
                                                                 context_.head(*response.mutable_header(), 0);
                                                                 response.set_enabled(false);
                                                                 response.set_authrevision(1);
                                                                 return GrpcStatus();
                                                               });
}

}  // namespace kubernel::etcd_server
