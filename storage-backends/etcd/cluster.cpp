// SPDX-License-Identifier: Apache-2.0
#include "cluster.h"

#include <algorithm>
#include <cctype>
#include <stop_token>
#include <string_view>
#include <utility>

namespace kubernel::storage_etcd {

namespace {

constexpr int kConnectTimeoutMs = 3000;
constexpr int kMostBackoffMs = 2000;
constexpr int kPingMs = 10'000;
constexpr int kPingTimeoutMs = 5000;

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

// The part of gRPC's text that a person can use, when we know one. OpenSSL writes its reasons in several ways.
std::string hint_for(std::string message) {
  for (char& c : message) c = c == '_' ? ' ' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (contains(message, "certificate verify failed") || contains(message, "hostname verification")) {
    return "its certificate is not one that caFile vouches for, or is for another name (serverName)";
  }
  if (contains(message, "wrong version number")) return "it does not speak TLS; use http:// or start it with TLS";
  if (contains(message, "connection refused")) return "connection refused; is etcd running there?";
  if (contains(message, "bad certificate") || contains(message, "certificate required") ||
      contains(message, "unknown ca")) {
    return "it refuses our client certificate; set certFile and keyFile to one it trusts";
  }
  if (contains(message, "dns resolution failed")) return "its host name cannot be resolved";
  if (contains(message, "socket closed") || contains(message, "connection reset") ||
      contains(message, "handshake eof") || contains(message, "broken pipe") ||
      contains(message, "endpoint read failed")) {
    return "it closed the connection; if it speaks TLS, use https:// and, when it asks for one, a client certificate";
  }
  return {};
}

Error full_error(const std::string& url) {
  return {Reason::ServiceUnavailable,
          "etcd " + url +
              ": its database is full (NOSPACE alarm) and takes no writes; compact and defragment it, or raise "
              "--quota-backend-bytes, then `etcdctl alarm disarm`"};
}

}  // namespace

bool never_sent(const grpc::Status& status) {
  return status.error_code() == grpc::StatusCode::UNAVAILABLE &&
         (contains(status.error_message(), "failed to connect to all addresses") ||
          contains(status.error_message(), "DNS resolution failed"));
}

Result<std::unique_ptr<Cluster>> Cluster::make(Config config, Clock& clock) {
  if (!config.password_file.empty()) KUBERNEL_CHECK_OK(read_file("passwordFile", config.password_file, true));
  auto cluster = std::unique_ptr<Cluster>(new Cluster(std::move(config), clock));
  KUBERNEL_TRY(cluster->member_, cluster->connect(0));
  return cluster;
}

Result<std::shared_ptr<Member>> Cluster::connect(std::size_t index) const {
  auto member = std::make_shared<Member>();
  member->url = config_.endpoints[index];
  bool secure = false;
  KUBERNEL_TRY(const std::string address, address_of(member->url, secure));
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
  grpc::ChannelArguments arguments;
  if (secure) {
    grpc::SslCredentialsOptions options;
    if (!config_.ca_file.empty()) {
      KUBERNEL_TRY(options.pem_root_certs, read_file("caFile", config_.ca_file, false));
    }
    if (!config_.cert_file.empty()) {
      KUBERNEL_TRY(options.pem_cert_chain, read_file("certFile", config_.cert_file, false));
      KUBERNEL_TRY(options.pem_private_key, read_file("keyFile", config_.key_file, true));
    }
    credentials = grpc::SslCredentials(options);
    if (!config_.server_name.empty()) arguments.SetSslTargetNameOverride(config_.server_name);
  }
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectTimeoutMs);  // Also how long one attempt may take.
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kMostBackoffMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kPingMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kPingTimeoutMs);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // A new member means a new connection.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  member->channel = grpc::CreateCustomChannel(address, credentials, arguments);
  member->kv = etcdserverpb::KV::NewStub(member->channel);
  member->watch = etcdserverpb::Watch::NewStub(member->channel);
  member->lease = etcdserverpb::Lease::NewStub(member->channel);
  member->maintenance = etcdserverpb::Maintenance::NewStub(member->channel);
  member->auth = etcdserverpb::Auth::NewStub(member->channel);
  return member;
}

std::shared_ptr<Member> Cluster::current() const {
  const std::lock_guard lock(mutex_);
  return member_;
}

void Cluster::give_up(const std::shared_ptr<Member>& member) {
  const std::lock_guard lock(mutex_);
  if (member_ != member) return;
  index_ = (index_ + 1) % config_.endpoints.size();
  if (auto next = connect(index_))
    member_ = *std::move(next);  // Unreadable files: the member stays, and with it its error.
}

void Cluster::prepare(grpc::ClientContext& context) const {
  const std::lock_guard lock(mutex_);
  if (!token_.empty()) context.AddMetadata("token", token_);
}

void Cluster::set_deadline(grpc::ClientContext& context, const CallContext& ctx) const {
  std::chrono::nanoseconds left = config_.request_timeout;
  if (ctx.deadline != CallContext::Clock::time_point::max()) {
    left = std::min<std::chrono::nanoseconds>(left, ctx.deadline - clock_.now());
  }
  context.set_deadline(gpr_time_from_nanos(left.count(), GPR_TIMESPAN));
}

Result<void> Cluster::check(const CallContext& ctx) const {
  if (ctx.stopping()) return Error(Reason::Cancelled, "storage: the call was cancelled");
  if (ctx.deadline != CallContext::Clock::time_point::max() && clock_.now() >= ctx.deadline) {
    return Error(Reason::Timeout, "storage: the deadline has passed");
  }
  return {};
}

Result<void> Cluster::call(const CallContext& ctx, bool repeatable,
                           const std::function<grpc::Status(Member&, grpc::ClientContext&)>& request) {
  grpc::Status status;
  std::string url;
  bool logged_in = false;
  for (std::size_t attempt = 0; attempt <= config_.endpoints.size(); ++attempt) {
    KUBERNEL_CHECK_OK(check(ctx));
    const auto member = current();
    url = member->url;
    grpc::ClientContext context;
    set_deadline(context, ctx);
    prepare(context);
    {
      const std::stop_callback cancel(ctx.stop, [&context] { context.TryCancel(); });
      status = request(*member, context);
    }
    if (status.ok()) return {};
    if (status.error_code() == grpc::StatusCode::UNAUTHENTICATED && !config_.username.empty() && !logged_in) {
      logged_in = true;  // The token has expired, or the server was restarted: it never carried out the request.
      KUBERNEL_CHECK_OK(log_in(ctx));
      continue;
    }
    if (status.error_code() != grpc::StatusCode::UNAVAILABLE) break;
    give_up(member);
    if (!repeatable && !never_sent(status)) break;
  }
  return error_of(status, ctx, url);
}

Result<void> Cluster::try_log_in(const CallContext& ctx, Member& member) {
  KUBERNEL_TRY(std::string password, read_file("passwordFile", config_.password_file, true));
  password.resize(std::min(password.find_first_of("\r\n"), password.size()));
  etcdserverpb::AuthenticateRequest request;
  request.set_name(config_.username);
  request.set_password(std::move(password));
  etcdserverpb::AuthenticateResponse response;
  grpc::ClientContext context;
  set_deadline(context, ctx);
  const auto status = member.auth->Authenticate(&context, request, &response);
  if (!status.ok()) return error_of(status, ctx, member.url);
  const std::lock_guard lock(mutex_);
  token_ = response.token();
  return {};
}

Result<void> Cluster::log_in(const CallContext& ctx) {
  if (config_.username.empty()) return {};
  Result<void> done;
  for (std::size_t attempt = 0; attempt <= config_.endpoints.size(); ++attempt) {
    KUBERNEL_CHECK_OK(check(ctx));
    const auto member = current();
    done = try_log_in(ctx, *member);
    if (done || done.error().reason() != Reason::ServiceUnavailable) break;
    give_up(member);
  }
  return done;
}

Error Cluster::error_of(const grpc::Status& status, const CallContext& ctx, const std::string& url) const {
  const std::string& text = status.error_message();
  const std::string where = "etcd " + url + ": ";
  switch (status.error_code()) {
    case grpc::StatusCode::CANCELLED:
      if (ctx.stopping()) return {Reason::Cancelled, "storage: the call was cancelled"};
      return {Reason::ServiceUnavailable, where + text};
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return {Reason::Timeout, where + "no answer in time; it is overloaded, unreachable or without a quorum"};
    case grpc::StatusCode::OUT_OF_RANGE:
      if (contains(text, "has been compacted")) return {Reason::Expired, text};
      return {Reason::BadRequest, text};
    case grpc::StatusCode::NOT_FOUND: return {Reason::NotFound, text};
    case grpc::StatusCode::FAILED_PRECONDITION:
      if (contains(text, "lease already exists")) return {Reason::AlreadyExists, text};
      if (contains(text, "authentication is not enabled")) {
        return {Reason::Invalid,
                where + "its authentication is off; take out username and passwordFile, or turn it on"};
      }
      return {Reason::Internal, where + text};
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      if (contains(text, "database space exceeded")) return full_error(url);
      if (contains(text, "too many requests")) return {Reason::TooManyRequests, where + text};
      return {Reason::RequestEntityTooLarge, where + text};
    case grpc::StatusCode::INVALID_ARGUMENT:
      if (contains(text, "request is too large")) {
        return {Reason::RequestEntityTooLarge, where + "the value is larger than its --max-request-bytes"};
      }
      if (contains(text, "key not found")) return {Reason::NotFound, "key not found"};
      if (contains(text, "authentication failed")) {
        return {Reason::Unauthorized, where + "wrong password, or there is no user \"" + config_.username + "\""};
      }
      if (contains(text, "user name is empty")) {
        return {Reason::Unauthorized, where + "it wants a login; set username and passwordFile"};
      }
      return {Reason::BadRequest, where + text};
    case grpc::StatusCode::PERMISSION_DENIED:
      return {Reason::Forbidden, where + "user \"" + config_.username +
                                     "\" may not do this; it needs a role with read and write "
                                     "permission on the whole key space"};
    case grpc::StatusCode::UNAUTHENTICATED: return {Reason::Unauthorized, where + text};
    case grpc::StatusCode::UNAVAILABLE: {
      const std::string hint = hint_for(text);
      if (contains(text, "no leader") || contains(text, "request timed out") || contains(text, "leader changed")) {
        return {Reason::ServiceUnavailable, where + "the cluster has no quorum or is electing a leader (" + text + ")"};
      }
      return {Reason::ServiceUnavailable, where + (hint.empty() ? text : hint)};
    }
    default: return {Reason::Internal, where + text};
  }
}

}  // namespace kubernel::storage_etcd
