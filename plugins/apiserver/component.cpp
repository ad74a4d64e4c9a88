// SPDX-License-Identifier: Apache-2.0
#include "component.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <stop_token>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include <kubernel/crypto/cluster_pki.h>
#include <kubernel/net/client.h>
#include <kubernel/net/server.h>
#include <kubernel/storage/backend.h>
#include <kubernel/storage/store.h>

#include "admission/builtin.h"
#include "auth/auth.h"
#include "auth/bootstrap_policy.h"
#include "bootstrap.h"
#include "discovery/openapi.h"
#include "discovery/openapi_v2.h"
#include "http/front.h"
#include "pipeline/component_statuses.h"
#include "pipeline/local_client.h"
#include "proxy/kubelet_proxy.h"
#include "proxy/workload_proxy.h"
#include "registry/observed_backend.h"
#include "strategies/allocator.h"

namespace kubernel::apiserver {

namespace {

constexpr auto kRenewalCheck = std::chrono::hours(12);

struct Config {
  std::vector<std::string> listen;
  bool inherit_listen_fds = true;
  std::string pki_directory;
  std::vector<std::string> server_names;
  std::string service_cidr;
  std::string advertise_address;
  int advertise_port = 0;
  bool anonymous = true;
  bool host_network = false;
  std::chrono::seconds event_ttl{0};
  std::string token_issuer;
  std::chrono::seconds compaction_interval{0};
};

Result<Config> read_config(const std::string& text_in) {
  return catch_as_error("config", [&]() -> Result<Config> {
    const json document = json::parse(text_in);
    Config out;
    out.listen = document.at("listen").get<std::vector<std::string>>();
    out.inherit_listen_fds = document.at("inheritListenFds").get<bool>();
    out.pki_directory = document.at("pkiDirectory").get<std::string>();
    out.server_names = document.at("serverNames").get<std::vector<std::string>>();
    out.service_cidr = document.at("serviceCidr").get<std::string>();
    out.advertise_address = document.at("advertiseAddress").get<std::string>();
    out.advertise_port = document.at("advertisePort").get<int>();
    out.host_network = document.at("network").get<std::string>() == "host";
    out.anonymous = document.at("anonymousAuth").get<bool>();
    out.event_ttl = std::chrono::seconds(document.at("eventTtl").get<int>());
    out.token_issuer = document.at("tokenIssuer").get<std::string>();
    out.compaction_interval = std::chrono::seconds(document.at("compactionInterval").get<int>());
    KUBERNEL_CHECK_OK(AddressRange::parse(out.service_cidr));
    return out;
  });
}

// The sockets a service manager left us, by systemd's convention; none when nobody did.
std::vector<int> inherited_sockets() {
  const char* text_in =
      std::getenv("LISTEN_FDS");  // NOLINT(concurrency-mt-unsafe): read once, before other threads write it.
  const std::string_view count_text = text_in != nullptr ? text_in : "";
  int count = 0;
  std::from_chars(count_text.data(), count_text.data() + count_text.size(), count);
  std::vector<int> out;
  constexpr int kFirst = 3;
  for (int i = 0; i < count; ++i) out.push_back(kFirst + i);
  return out;
}

// Digits and dots, or a colon: an address rather than a name.
bool is_address(std::string_view text_in) {
  return text_in.find(':') != std::string_view::npos ||
         (!text_in.empty() && text_in.find_first_not_of("0123456789.") == std::string_view::npos);
}

std::string host_of(std::string_view address) {
  std::string host(address.substr(0, address.rfind(':')));
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  return host;
}

crypto::ServerNames certificate_names(const Config& config) {
  crypto::ServerNames names;
  names.dns_names = {"kubernetes", "kubernetes.default", "kubernetes.default.svc",
                     "kubernetes.default.svc.cluster.local", "localhost"};
  names.ip_addresses = {"127.0.0.1", "::1"};
  if (const auto range = AddressRange::parse(config.service_cidr)) names.ip_addresses.push_back(range->at(1));
  const auto add = [&](const std::string& name) {
    auto& list = is_address(name) ? names.ip_addresses : names.dns_names;
    const bool any = name.empty() || name == "0.0.0.0" || name == "::";
    if (!any && std::find(list.begin(), list.end(), name) == list.end()) list.push_back(name);
  };
  for (const std::string& name : config.server_names) add(name);
  for (const std::string& address : config.listen) add(host_of(address));
  add(config.advertise_address);
  return names;
}

// Work that timers put on the executor. close() waits for what runs and keeps the rest from running.
class Chores {
 public:
  template <class F>
  void run(F&& f) {
    const std::lock_guard lock(mutex_);
    if (!stop_.stop_requested()) f(CallContext{stop_.get_token()});
  }
  void close() {
    stop_.request_stop();
    const std::lock_guard lock(mutex_);
  }

 private:
  std::mutex mutex_;
  std::stop_source stop_;
};

const auth::User& self() {
  static const auth::User kSelf{"system:apiserver", "", {"system:masters", "system:authenticated"}, {}};
  return kSelf;
}

class ApiServer final : public plugin::Component {
 public:
  ApiServer(const plugin::ComponentContext& context, Config config)
      : context_(context), config_(std::move(config)), chores_(std::make_shared<Chores>()) {}
  ~ApiServer() override { close(); }

  Result<void> start(const CallContext& ctx) override;
  void stop(const CallContext& ctx) override;
  std::string problem() const override { return backend_ ? backend_->problem() : std::string(); }

 private:
  Result<void> open_store();
  Result<void> open_server(net::TlsIdentity identity);
  std::vector<plugin::Process::Check> readiness() const;
  Result<void> open_proxies();
  Result<std::vector<std::unique_ptr<admission::Admission>>> make_admission_plugins();
  Result<net::TlsIdentity> load_pki();
  int served_port() const;
  void close();
  void every(std::chrono::nanoseconds period, void (ApiServer::*chore)(const CallContext&),
             std::unique_ptr<Subscription>& timer);
  void compact(const CallContext& ctx);
  void renew(const CallContext& ctx);

  plugin::ComponentContext context_;
  Config config_;
  crypto::ClusterPki pki_;
  std::unique_ptr<ObservedBackend> backend_;
  std::unique_ptr<client::ApiClient> admission_client_;  // Lent to admission plugins, which api_ owns.
  std::unique_ptr<Api> api_;
  std::unique_ptr<Auth> auth_;
  std::shared_ptr<LocalConnector> connector_;
  std::unique_ptr<client::ApiClient> self_;
  std::unique_ptr<OpenApi> openapi_;
  std::unique_ptr<OpenApiV2> openapi_v2_;
  std::unique_ptr<net::HttpClient> kubelet_client_;
  std::unique_ptr<KubeletProxy> kubelet_proxy_;
  std::unique_ptr<WorkloadProxy> workload_proxy_;
  std::shared_ptr<ExtraPaths> extra_paths_ = std::make_shared<ExtraPaths>();
  std::unique_ptr<Front> front_;
  std::unique_ptr<net::Server> server_;

  std::shared_ptr<Chores> chores_;
  std::mutex timer_mutex_;
  bool stopped_ = false;
  std::unique_ptr<Subscription> compaction_timer_;
  std::unique_ptr<Subscription> renewal_timer_;
  storage::Revision compact_to_ = 0;
};

Result<void> ApiServer::open_store() {
  KUBERNEL_TRY(auto opened, storage::open_loaded(context_));
  backend_ = ObservedBackend::make(std::move(opened));
  return {};
}

Result<std::vector<std::unique_ptr<admission::Admission>>> ApiServer::make_admission_plugins() {
  std::vector<std::unique_ptr<admission::Admission>> out;
  for (const auto& provided : plugin::all<admission::AdmissionSpec>(context_.extensions)) {
    auto made = catch_as_error("admission", [&] {
      return provided.spec->make(
          {provided.extension->config_json, context_.log, context_.clock, context_.random, *admission_client_});
    });
    if (!made) return std::move(made).error().wrap("admission plugin " + provided.extension->plugin);
    out.push_back(*std::move(made));
  }
  return out;
}

Result<net::TlsIdentity> ApiServer::load_pki() {
  KUBERNEL_TRY(pki_,
               crypto::open_cluster_pki(config_.pki_directory, certificate_names(config_), context_.clock.wall_now()));
  return net::TlsIdentity{pki_.apiserver.certificate_pem, pki_.apiserver.private_key_pem};
}

Result<void> ApiServer::open_server(net::TlsIdentity identity) {
  net::ServerOptions options;
  options.listen = config_.listen;
  if (config_.inherit_listen_fds) options.inherited_fds = inherited_sockets();
  options.tls = std::make_unique<net::ServerTls>();
  options.tls->identity = std::move(identity);
  options.tls->client_ca_pem = pki_.ca.certificate_pem;

  FrontOptions front{*api_, context_.metrics, auth_->authenticators(), config_.anonymous, {}, extra_paths_};
  front.readiness = [this] { return readiness(); };
  front_ = std::make_unique<Front>(std::move(front));
  openapi_ = std::make_unique<OpenApi>(*api_);
  for (const std::string& path : openapi_->paths()) {
    front_->serve_path(path, [this](const net::Request& request) { return openapi_->serve(request); });
  }
  openapi_v2_ = std::make_unique<OpenApiV2>(*api_);
  front_->serve_path(OpenApiV2::kPath, [this](const net::Request& request) { return openapi_v2_->serve(request); });
  KUBERNEL_CHECK_OK(open_proxies());
  KUBERNEL_CHECK_OK(auth_->serve_documents(*front_));
  KUBERNEL_TRY(server_,
               net::open_server({context_.log, context_.metrics, context_.clock, context_.blocking}, std::move(options),
                                [this](net::Exchange& exchange) { front_->serve(exchange); }));
  for (const std::string& address : server_->addresses()) log_info(context_.log, "serving", {{"address", address}});
  return {};
}

// Kubelets prove themselves by the cluster's CA, and know us by our client certificate.
Result<void> ApiServer::open_proxies() {
  net::ClientOptions options;
  options.http2 = false;  // Upgrades need HTTP/1.1, and logs gain nothing from more.
  options.tls = std::make_unique<net::ClientTls>();
  options.tls->ca_pem = pki_.ca.certificate_pem;
  options.tls->identity = std::make_unique<net::TlsIdentity>(
      net::TlsIdentity{pki_.kubelet_client.certificate_pem, pki_.kubelet_client.private_key_pem});
  KUBERNEL_TRY(
      kubelet_client_,
      net::make_http_client({context_.log, context_.metrics, context_.clock, context_.blocking}, std::move(options)));
  kubelet_proxy_ = std::make_unique<KubeletProxy>(*api_, *kubelet_client_);
  kubelet_proxy_->attach_to(*front_);
  // Workloads are asked by plain HTTP, for which the client's certificate does not matter.
  workload_proxy_ = std::make_unique<WorkloadProxy>(*api_, *kubelet_client_,
                                                    config_.host_network ? proxied_address : sandboxed_address);
  workload_proxy_->attach_to(*front_);
  return {};
}

std::vector<plugin::Process::Check> ApiServer::readiness() const {
  const auto process = plugin::find<plugin::Process>(context_.services);
  return process ? process->readiness() : std::vector<plugin::Process::Check>();
}

int ApiServer::served_port() const {
  if (config_.advertise_port != 0) return config_.advertise_port;
  const std::vector<std::string> addresses = server_->addresses();
  if (addresses.empty()) return 0;
  const std::string_view text_in = addresses.front();
  int port = 0;
  const std::size_t colon = text_in.rfind(':');
  std::from_chars(text_in.data() + colon + 1, text_in.data() + text_in.size(), port);
  return port;
}

Result<void> ApiServer::start(const CallContext& ctx) {
  KUBERNEL_CHECK_OK(open_store());
  api_ = std::make_unique<Api>(ApiContext{*backend_, context_.clock, context_.random, context_.blocking, context_.log,
                                          config_.service_cidr, config_.event_ttl});
  KUBERNEL_TRY(net::TlsIdentity identity, load_pki());
  connector_ = std::make_shared<LocalConnector>(*api_);
  admission_client_ = connector_->connect(self());
  KUBERNEL_TRY(auto plugins, make_admission_plugins());
  add_admission(*api_, std::move(plugins));
  auth_ = std::make_unique<Auth>(
      *api_, TokenOptions{config_.token_issuer, pki_.service_account_key, pki_.service_account_public_key});
  serve_component_statuses(*api_, [this] { return readiness(); });
  KUBERNEL_CHECK_OK(api_->start(ctx));
  self_ = connector_->connect(self());
  KUBERNEL_CHECK_OK(open_server(std::move(identity)));
  KUBERNEL_CHECK_OK(bootstrap(ctx, *self_, {config_.service_cidr, config_.advertise_address, served_port()}));
  KUBERNEL_CHECK_OK(apply_bootstrap_policy(ctx, *self_, context_.blocking));
  KUBERNEL_CHECK_OK(repair_addresses(ctx, *self_));
  if (config_.compaction_interval.count() > 0)
    every(config_.compaction_interval, &ApiServer::compact, compaction_timer_);
  every(kRenewalCheck, &ApiServer::renew, renewal_timer_);
  plugin::offer<client::Connector>(context_.services, connector_);
  plugin::offer<net::Paths>(context_.services, extra_paths_);
  plugin::offer<storage::Store>(context_.services, std::make_shared<storage::Store>(*backend_));
  return {};
}

void ApiServer::stop(const CallContext& ctx) {
  if (front_) front_->close_streams();
  if (kubelet_proxy_) kubelet_proxy_->close_all();
  if (workload_proxy_) workload_proxy_->close_all();
  if (server_) server_->shutdown(ctx);
  close();
}

void ApiServer::close() {
  std::unique_ptr<Subscription> compaction;
  std::unique_ptr<Subscription> renewal;
  {
    const std::lock_guard lock(timer_mutex_);
    stopped_ = true;
    compaction = std::move(compaction_timer_);
    renewal = std::move(renewal_timer_);
  }
  // Not under the lock, which their callbacks take.
  compaction.reset();
  renewal.reset();
  chores_->close();
  server_.reset();
  if (front_) front_->close_streams();
  if (api_) api_->stop();
}

void ApiServer::every(std::chrono::nanoseconds period, void (ApiServer::*chore)(const CallContext&),
                      std::unique_ptr<Subscription>& timer) {
  const std::lock_guard lock(timer_mutex_);
  if (stopped_) return;
  timer =
      context_.clock.call_at(context_.clock.now() + std::chrono::duration_cast<Clock::TimePoint::duration>(period),
                             [this, period, chore, &timer] {
                               auto queued = context_.blocking.submit([this, chore, chores = chores_] {
                                 chores->run([&](const CallContext& ctx) { (this->*chore)(ctx); });
                               });
                               if (!queued)
                                 log_warning(context_.log, "a periodic task is put off", {{"error", queued.error()}});
                               every(period, chore, timer);
                             });
}

// Each time the history older than one interval is forgotten, as upstream does with etcd.
void ApiServer::compact(const CallContext& ctx) {
  const storage::Revision target = std::exchange(compact_to_, api_->caches().progress());
  if (target == 0) return;
  auto done = backend_->compact(ctx, target);
  if (!done && done.error().reason() != Reason::Expired) {
    log_error(context_.log, "the store's history cannot be compacted", {{"revision", target}, {"error", done.error()}});
  }
}

// Opening the directory renews what ends soon; new handshakes then see the new certificate.
void ApiServer::renew(const CallContext&) {
  auto identity = load_pki();
  auto replaced = identity ? server_->replace_identity(*identity) : Result<void>(std::move(identity).error());
  if (!replaced) log_error(context_.log, "the server's certificate cannot be renewed", {{"error", replaced.error()}});
}

}  // namespace

Result<std::unique_ptr<plugin::Component>> make_component(const plugin::ComponentContext& context) {
  KUBERNEL_TRY(Config config, read_config(context.config_json));
  return std::unique_ptr<plugin::Component>(std::make_unique<ApiServer>(context, std::move(config)));
}

}  // namespace kubernel::apiserver
