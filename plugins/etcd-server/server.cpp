// SPDX-License-Identifier: Apache-2.0
#include "server.h"

#include <sys/stat.h>

#include <fstream>
#include <iterator>
#include <utility>

#include <kubernel/net/server.h>

#include "admin_service.h"
#include "kv_service.h"
#include "lease_service.h"
#include "service_context.h"
#include "watch_service.h"

namespace kubernel::etcd_server {

namespace {

constexpr std::size_t kMessageOverhead = 512 * 1024;  // As etcd allows a message to be larger than its request.
constexpr std::uint32_t kMostCallsOfAConnection = 10'000;
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

Result<std::unique_ptr<net::ServerTls>> tls_of(const Config& config) {
  if (config.cert_file.empty()) return std::unique_ptr<net::ServerTls>();
  auto tls = std::make_unique<net::ServerTls>();
  KUBERNEL_TRY(tls->identity.certificate_chain_pem, read_file("certFile", config.cert_file, false));
  KUBERNEL_TRY(tls->identity.private_key_pem, read_file("keyFile", config.key_file, true));
  if (!config.client_ca_file.empty()) {
    KUBERNEL_TRY(tls->client_ca_pem, read_file("clientCaFile", config.client_ca_file, false));
    tls->require_client_certificate = true;
  }
  return tls;
}

// Whoever speaks HTTP/1.1 is told what is here; etcd's JSON gateway is not.
void not_grpc(net::Exchange& exchange) {
  exchange.respond(
      {.status = 404, .headers = {}, .body = "this is etcd's gRPC API; use etcdctl or a client library\n"});
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
  std::shared_ptr<const GrpcMethods> methods() {
    auto out = std::make_shared<GrpcMethods>();
    out->max_message_bytes = config.max_request_bytes + kMessageOverhead;
    kv.add_to(*out);
    watch.add_to(*out);
    lease.add_to(*out);
    maintenance.add_to(*out);
    cluster.add_to(*out);
    auth.add_to(*out);
    return out;
  }

  std::vector<std::string> addresses;
  std::unique_ptr<net::Server> server;
};

Server::Server(std::unique_ptr<State> state) : state_(std::move(state)) {}

Server::~Server() {
  stop({});
}

const std::vector<std::string>& Server::addresses() const noexcept {
  return state_->addresses;
}

Result<std::unique_ptr<Server>> Server::open(const Surroundings& surroundings, Config config) {
  auto state = std::make_unique<State>(surroundings, std::move(config));
  net::ServerOptions options;
  options.listen = state->config.listen;
  KUBERNEL_TRY(options.tls, tls_of(state->config));
  options.limits.max_concurrent_streams = kMostCallsOfAConnection;
  options.grpc = state->methods();
  const bool secure = options.tls != nullptr;
  auto server = net::open_server({surroundings.log, surroundings.metrics, surroundings.clock, surroundings.blocking},
                                 std::move(options), not_grpc);
  if (!server) return Error(server.error().reason(), "etcd-server: " + server.error().message());
  state->server = *std::move(server);
  state->addresses = state->server->addresses();
  for (const std::string& address : state->addresses) {
    state->context.client_urls.push_back((secure ? "https://" : "http://") + address);
  }
  if (!state->config.advertise_urls.empty()) state->context.client_urls = state->config.advertise_urls;
  return std::unique_ptr<Server>(new Server(std::move(state)));
}

void Server::stop(const CallContext& ctx) {
  if (!state_->server) return;
  state_->watch.stop();
  state_->context.close_streams();
  const auto longest = state_->context.clock.now() + kLongestStop;
  const CallContext bounded{.stop = ctx.stop, .deadline = std::min(ctx.deadline, longest)};
  const auto give_up = state_->context.clock.call_at(bounded.deadline, [this] { state_->context.request_stop(); });
  state_->server->shutdown(bounded);
  state_->context.wait_for_streams();
  state_->server.reset();
}

}  // namespace kubernel::etcd_server
