// SPDX-License-Identifier: Apache-2.0
#include "server.h"

#include <sys/stat.h>

#include <fstream>
#include <iterator>
#include <utility>

#include <grpcpp/grpcpp.h>

#include "admin_service.h"
#include "callbacks.h"
#include "kv_service.h"
#include "lease_service.h"
#include "service_context.h"
#include "watch_service.h"

namespace kubernel::etcd_server {

namespace {

constexpr std::size_t kMessageOverhead = 512 * 1024;  // As etcd allows a message to be larger than its request.
constexpr int kMinPingMs = 5000;
constexpr std::chrono::seconds kLongestStop{5};

Result<std::string> read_file(const std::string& setting, const std::string& path, bool secret) {
  std::ifstream in(path, std::ios::binary);
  struct stat status {};
  if (!in || ::stat(path.c_str(), &status) != 0) {
    return Error(Reason::Invalid, "etcd-server: " + setting + " \"" + path + "\" cannot be read");
  }
  if (secret && (status.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return Error(Reason::Invalid,
                 "etcd-server: " + setting + " \"" + path + "\" is a secret that others can read; chmod 600 it");
  }
  return std::string(std::istreambuf_iterator<char>(in), {});
}

Result<std::shared_ptr<grpc::ServerCredentials>> credentials_of(const Config& config) {
  if (config.cert_file.empty()) return grpc::InsecureServerCredentials();
  grpc::SslServerCredentialsOptions options(config.client_ca_file.empty()
                                                ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                                                : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  grpc::SslServerCredentialsOptions::PemKeyCertPair pair;
  KUBERNEL_TRY(pair.cert_chain, read_file("certFile", config.cert_file, false));
  KUBERNEL_TRY(pair.private_key, read_file("keyFile", config.key_file, true));
  options.pem_key_cert_pairs.push_back(std::move(pair));
  if (!config.client_ca_file.empty()) {
    KUBERNEL_TRY(options.pem_root_certs, read_file("clientCaFile", config.client_ca_file, false));
  }
  return grpc::SslServerCredentials(options);
}

}  // namespace

struct Server::State {
  State(const Surroundings& s, Config c)
      : config(std::move(c)),
        context(config, s.store, s.clock, s.blocking, s.log, s.metrics),
        kv(context),
        watch(context),
        lease(context),
        maintenance(context),
        cluster(context),
        auth(context) {}

  const Config config;
  ServiceContext context;
  KvService kv;
  WatchService watch;
  LeaseService lease;
  MaintenanceService maintenance;
  ClusterService cluster;
  AuthService auth;
  std::vector<std::string> addresses;
  std::unique_ptr<grpc::Server> server;
};

Server::Server(std::unique_ptr<State> state) : state_(std::move(state)) {}

Server::~Server() {
  stop({});
}

const std::vector<std::string>& Server::addresses() const noexcept {
  return state_->addresses;
}

Result<std::unique_ptr<Server>> Server::open(const Surroundings& surroundings, Config config) {
  etcd_api::silence_log();
  etcd_api::trust_lock_order();
  etcd_api::keep_callback_threads();
  auto state = std::make_unique<State>(surroundings, std::move(config));
  KUBERNEL_TRY(const auto credentials, credentials_of(state->config));
  grpc::ServerBuilder builder;
  std::vector<int> ports(state->config.listen.size());
  for (std::size_t i = 0; i < ports.size(); ++i)
    builder.AddListeningPort(state->config.listen[i], credentials, &ports[i]);
  builder.RegisterService(&state->kv);
  builder.RegisterService(&state->watch);
  builder.RegisterService(&state->lease);
  builder.RegisterService(&state->maintenance);
  builder.RegisterService(&state->cluster);
  builder.RegisterService(&state->auth);
  builder.SetMaxReceiveMessageSize(static_cast<int>(state->config.max_request_bytes + kMessageOverhead));
  builder.SetMaxSendMessageSize(-1);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kMinPingMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  state->server = builder.BuildAndStart();
  const bool secure = !state->config.cert_file.empty();
  for (std::size_t i = 0; i < ports.size(); ++i) {
    const std::string& wanted = state->config.listen[i];
    if (!state->server || ports[i] == 0) {
      return Error(Reason::ServiceUnavailable, "etcd-server: address " + wanted +
                                                   " cannot be served on; it is in use, or not this "
                                                   "machine's, or certFile and keyFile do not fit together");
    }
    state->addresses.push_back(wanted.substr(0, wanted.rfind(':') + 1) + std::to_string(ports[i]));
    state->context.client_urls.push_back((secure ? "https://" : "http://") + state->addresses.back());
  }
  if (!state->config.advertise_urls.empty()) state->context.client_urls = state->config.advertise_urls;
  return std::unique_ptr<Server>(new Server(std::move(state)));
}

void Server::stop(const CallContext& ctx) {
  if (!state_->server) return;
  state_->watch.stop();
  state_->context.close_streams();
  std::chrono::nanoseconds left = kLongestStop;
  if (ctx.deadline != CallContext::Clock::time_point::max()) {
    left = std::min<std::chrono::nanoseconds>(left, ctx.deadline - state_->context.clock.now());
  }
  state_->server->Shutdown(gpr_time_from_nanos(left.count(), GPR_TIMESPAN));
  state_->context.request_stop();
  state_->server->Wait();
  state_->context.wait_for_streams();
  state_->server.reset();
}

}  // namespace kubernel::etcd_server
