// SPDX-License-Identifier: Apache-2.0
#include "kubelet.h"

#include <unistd.h>

#include <atomic>
#include <mutex>

#include <kubernel/client/events.h>
#include <kubernel/client/informer.h>
#include <kubernel/crypto/cluster_pki.h>
#include <kubernel/net/server.h>

#include "config.h"
#include "node/machine.h"
#include "node/node_agent.h"
#include "pods/pod_workers.h"
#include "server/kubelet_server.h"
#include "server/serving_certificate.h"

namespace kubernel::kubelet {

namespace {

constexpr const char* kKubeletVersion = "v1.36.0";
constexpr std::int64_t kReservedMemory = 100LL << 20;
constexpr std::chrono::hours kCertificateCheck{24};
constexpr std::chrono::seconds kStreamsMayFinish{2};

std::string host_name() {
  char buffer[256] = {};
  return ::gethostname(buffer, sizeof buffer - 1) == 0 ? buffer : "";
}

// The one extension at a point, or the one of that name.
template <class Spec>
Result<plugin::Provided<Spec>> choose(const plugin::Extensions& extensions, const std::string& name, const char* what) {
  const auto all = plugin::all<Spec>(extensions);
  for (const auto& one : all) {
    if (one.extension->name == name || (name.empty() && all.size() == 1)) return one;
  }
  if (!name.empty()) return Error(Reason::NotFound, std::string(what) + " plugin " + name + " is not loaded");
  if (all.empty()) return Error(Reason::NotFound, std::string("no ") + what + " plugin is loaded");
  return Error(Reason::Invalid,
               std::string("several ") + what + " plugins are loaded; choose one in the kubelet's configuration");
}

class Kubelet final : public plugin::Component {
 public:
  Kubelet(const plugin::ComponentContext& context, Config config)
      : context_(context), config_(std::move(config)), tasks_(context.blocking, context.clock, context.log) {}

  ~Kubelet() override { end({}); }

  Result<void> start(const CallContext& ctx) override;
  void stop(const CallContext& ctx) override { end(ctx); }
  std::string problem() const override { return agent_ ? agent_->problem() : "starting"; }

 private:
  Result<void> open_runtime();
  Result<void> open_network();
  void connect();
  Result<void> make_parts(const CallContext& ctx);
  void read_node();
  void start_informers();
  Result<void> start_server();
  void renew_certificate();
  NodeInput observe();
  void node_registered(const api::Object& node);
  void configure_network();
  void end(const CallContext& ctx);
  void wake(const std::string& uid) {
    if (workers_) workers_->wake(uid);
  }

  const plugin::ComponentContext context_;
  const Config config_;
  Tasks tasks_;
  NodeFacts node_;
  Machine machine_;
  std::vector<std::string> addresses_;
  std::shared_ptr<client::Connector> connector_;
  std::unique_ptr<client::ApiClient> api_;
  runtime::OpenedRuntime runtime_;
  std::unique_ptr<network::PodNetwork> network_;
  std::unique_ptr<client::EventRecorder> events_;
  std::unique_ptr<client::InformerFactory> informers_;
  std::shared_ptr<client::Informer> pods_, services_, nodes_;
  std::unique_ptr<RuntimeCache> cache_;
  std::unique_ptr<ImagePuller> puller_;
  std::unique_ptr<ObjectSource> objects_;
  std::unique_ptr<PodVolumes> volumes_;
  std::unique_ptr<ProbeHandlers> handlers_;
  std::unique_ptr<Prober> prober_;
  std::unique_ptr<Kit> kit_;
  std::unique_ptr<PodWorkers> workers_;
  std::unique_ptr<NodeAgent> agent_;
  std::unique_ptr<NodeAuth> auth_;
  std::unique_ptr<FileWatcher> file_watcher_;
  std::unique_ptr<KubeletServer> routes_;
  std::unique_ptr<net::Server> server_;
  std::string certificate_;
  int port_ = 0;
  std::unique_ptr<Subscription> certificate_timer_;
  std::vector<std::unique_ptr<Subscription>> handlers_of_informers_;
  std::atomic<bool> ended_ = false;
  std::mutex network_mutex_;
  std::string network_problem_;  // Guarded by network_mutex_.
  std::string network_config_;   // What configure() was last given, as text; guarded by network_mutex_.
};

Result<void> Kubelet::open_runtime() {
  KUBERNEL_TRY(const auto chosen, choose<runtime::RuntimeSpec>(context_.extensions, config_.runtime, "runtime"));
  auto opened = chosen.spec->open({chosen.extension->config_json, context_.log, context_.metrics, context_.clock,
                                   context_.random, context_.blocking, context_.poller});
  if (!opened) return std::move(opened).error().wrap("runtime " + chosen.extension->name);
  runtime_ = *std::move(opened);
  return {};
}

Result<void> Kubelet::open_network() {
  const auto chosen = choose<network::NetworkSpec>(context_.extensions, config_.network_plugin, "network");
  if (!chosen) {
    if (!config_.network_plugin.empty() || chosen.error().reason() == Reason::Invalid) return chosen.error();
    log_warning(context_.log, "no network plugin is loaded: only pods on the host's network can run");
    network_problem_ = "no network plugin is loaded";
    return {};
  }
  auto opened = chosen->spec->open(
      {chosen->extension->config_json, context_.log, context_.clock, context_.blocking, config_.host_network_allowed});
  if (!opened) return std::move(opened).error().wrap("network " + chosen->extension->name);
  network_ = *std::move(opened);
  network_problem_ = "the node's pod ranges are not known yet";
  return {};
}

void Kubelet::connect() {
  connector_ = plugin::find<client::Connector>(context_.services);
  const auth::User user{"system:node:" + config_.node_name, {}, {"system:nodes", "system:authenticated"}, {}};
  api_ = connector_->connect(user);
  events_ = client::make_event_recorder(*api_, {"kubelet", config_.node_name}, context_.log, context_.clock,
                                        context_.random, context_.blocking);
}

void Kubelet::read_node() {
  machine_ = read_machine({}, config_.root_directory);
  addresses_ = config_.node_ip.empty() ? global_addresses() : std::vector<std::string>{config_.node_ip};
  if (addresses_.size() > 1) addresses_.resize(1);
  if (addresses_.empty()) addresses_ = {"127.0.0.1"};
  node_.host_ips = addresses_;
  node_.memory_bytes = machine_.memory_bytes;
  node_.lowest_oom_score_adj = machine_.lowest_oom_score_adj;
  node_.allocatable_cpu = api::Quantity::of(machine_.cpus);
  node_.allocatable_memory = api::Quantity::of(std::max<std::int64_t>(machine_.memory_bytes - kReservedMemory, 0),
                                               api::Quantity::Format::BinarySi);
  node_.allocatable_storage = api::Quantity::of(machine_.disk_bytes / 10 * 9);
}

Result<void> Kubelet::make_parts(const CallContext& ctx) {
  const auto wake_pod = [this](const std::string& uid) { wake(uid); };
  cache_ = std::make_unique<RuntimeCache>(*runtime_.containers, tasks_, context_.log, wake_pod);
  KUBERNEL_CHECK_OK(cache_->refresh(ctx));
  puller_ = std::make_unique<ImagePuller>(*runtime_.images, tasks_, config_.parallel_pulls);
  objects_ = std::make_unique<ObjectSource>(*api_, tasks_, context_.log, wake_pod);
  volumes_ = std::make_unique<PodVolumes>(config_.root_directory, *api_, *objects_, context_.clock, context_.log,
                                          system_mounts());
  KUBERNEL_TRY(handlers_, NodeProbeHandlers::make(*runtime_.containers, tasks_,
                                                  {context_.log, context_.metrics, context_.clock, context_.blocking}));
  prober_ = std::make_unique<Prober>(*handlers_, tasks_, *events_, wake_pod);
  informers_ = client::make_informer_factory({context_.log, context_.clock, context_.random, context_.blocking}, *api_);
  kit_.reset(new Kit{config_, node_, tasks_, context_.log, *api_, *events_, *runtime_.containers, runtime_.name,
                     *cache_, *puller_, *prober_, *volumes_, *objects_, network_.get(),
                     [this] { return services_->list({}, {}); }});
  workers_ = std::make_unique<PodWorkers>(*kit_);
  agent_ = std::make_unique<NodeAgent>(
      config_, *api_, tasks_, context_.log, [this] { return observe(); },
      [this](const api::Object& node) { node_registered(node); });
  return {};
}

void Kubelet::start_informers() {
  pods_ = informers_->informer(
      api::resources::kPods, {.ns = {}, .label_selector = {}, .field_selector = "spec.nodeName=" + config_.node_name});
  services_ = informers_->informer(api::resources::kServices, {});
  nodes_ = informers_->informer(api::resources::kNodes, {});
  // Pods wait for the services: their variables are part of a container's environment.
  services_->on_synced([this] {
    if (ended_) return;
    auto subscription =
        pods_->add_handler({.added = [this](const api::Object& pod) { workers_->update(pod); },
                            .updated = [this](const api::Object&, const api::Object& pod) { workers_->update(pod); },
                            .deleted = [this](const api::Object& pod) { workers_->gone(pod); }});
    {
      const std::lock_guard lock(network_mutex_);
      handlers_of_informers_.push_back(std::move(subscription));
    }
    pods_->on_synced([this] { tasks_.run([this] { workers_->end_orphans(pods_->list({}, {})); }); });
  });
  const auto node_changed = [this](const api::Object&) { tasks_.run([this] { configure_network(); }); };
  auto subscription = nodes_->add_handler({.added = node_changed,
                                           .updated =
                                               [node_changed](const api::Object& before, const api::Object& after) {
                                                 const bool same =
                                                     before["spec"]["podCIDRs"] == after["spec"]["podCIDRs"] &&
                                                     before["status"]["addresses"] == after["status"]["addresses"];
                                                 if (!same) node_changed(after);
                                               },
                                           .deleted = node_changed});
  {
    const std::lock_guard lock(network_mutex_);
    handlers_of_informers_.push_back(std::move(subscription));
  }
  informers_->start();
}

Result<void> Kubelet::start_server() {
  if (config_.listen.empty()) return {};
  auto tls = serving_tls(config_, addresses_, host_name(), context_.clock.wall_now());
  if (!tls) return std::move(tls).error();
  certificate_ = tls->identity.certificate_chain_pem;
  auto watcher = FileWatcher::open(context_.poller);
  if (watcher) {
    file_watcher_ = *std::move(watcher);
  } else {
    log_warning(context_.log, "logs cannot be followed", {{"error", watcher.error()}});
  }
  auth_ = std::make_unique<NodeAuth>(*api_, context_.clock, config_.node_name);
  routes_ = std::make_unique<KubeletServer>(ServerParts{*auth_, *workers_, *cache_, *runtime_.containers,
                                                        *runtime_.images, config_.node_name, file_watcher_.get(),
                                                        context_.poller, tasks_, context_.log, context_.metrics});
  net::ServerOptions options;
  options.listen = {config_.listen};
  options.tls = std::make_unique<net::ServerTls>(*std::move(tls));
  auto opened = net::open_server({context_.log, context_.metrics, context_.clock, context_.blocking},
                                 std::move(options), [this](net::Exchange& exchange) { routes_->handle(exchange); });
  if (!opened) return std::move(opened).error();
  server_ = *std::move(opened);
  const std::string address = server_->addresses().front();
  port_ = std::atoi(address.substr(address.rfind(':') + 1).c_str());
  certificate_timer_ = tasks_.run_after(kCertificateCheck, [this] { renew_certificate(); });
  return {};
}

// Once a day: takes over files that were renewed, and reissues a certificate that ends soon.
void Kubelet::renew_certificate() {
  const auto now = context_.clock.wall_now();
  const auto mine = crypto::read_certificate(certificate_);
  if (!config_.tls_certificate_file.empty() || !mine || crypto::ends_soon(*mine, now)) {
    auto tls = serving_tls(config_, addresses_, host_name(), now);
    const auto replaced = tls ? server_->replace_identity(tls->identity) : Result<void>(tls.error());
    if (replaced) {
      certificate_ = tls->identity.certificate_chain_pem;
    } else {
      log_warning(context_.log, "cannot renew the kubelet's serving certificate", {{"error", replaced.error()}});
    }
  }
  if (!ended_) certificate_timer_ = tasks_.run_after(kCertificateCheck, [this] { renew_certificate(); });
}

Result<void> Kubelet::start(const CallContext& ctx) {
  read_node();
  connect();
  KUBERNEL_CHECK_OK(open_runtime());
  KUBERNEL_CHECK_OK(open_network());
  KUBERNEL_CHECK_OK(make_parts(ctx));
  KUBERNEL_CHECK_OK(start_server());
  cache_->start();
  start_informers();
  // With ranges of its own the node's network is up before it says so: a node that registers as not ready gets a taint
  // first.
  tasks_.run([this] {
    configure_network();
    agent_->start();
  });
  return {};
}

NodeInput Kubelet::observe() {
  machine_ = read_machine({}, config_.root_directory);
  NodeInput input{.config = config_,
                  .machine = machine_,
                  .addresses = addresses_,
                  .hostname = host_name(),
                  .port = port_,
                  .runtime_version = runtime_.name + "://" + runtime_.version,
                  .kubelet_version = kKubeletVersion,
                  .images = {},
                  .network_problem = {},
                  .now = context_.clock.wall_now()};
  if (auto images = runtime_.images->list(tasks_.context())) {
    input.images = *std::move(images);
  } else {
    log_warning(context_.log, "cannot list images", {{"error", images.error()}});
  }
  const std::lock_guard lock(network_mutex_);
  input.network_problem = network_problem_;
  if (network_ && input.network_problem.empty()) input.network_problem = network_->problem();
  return input;
}

void Kubelet::node_registered(const api::Object&) {
  if (network_) configure_network();
}

// Tells the network plugin this node's ranges and where the others' are.
void Kubelet::configure_network() {
  if (!network_) return;
  network::NodeNetwork wanted;
  wanted.node_name = config_.node_name;
  std::string text;
  for (const api::Object& node : nodes_->list({}, {})) {
    std::vector<std::string> ranges;
    for (const api::Value range : node["spec"]["podCIDRs"]) ranges.emplace_back(range.string());
    if (ranges.empty() && !node["spec"]["podCIDR"].string().empty())
      ranges.emplace_back(node["spec"]["podCIDR"].string());
    std::string ip;
    for (const api::Value address : node["status"]["addresses"]) {
      if (ip.empty() && address["type"].string() == "InternalIP") ip = address["address"].string();
    }
    text += node.name() + " " + ip;
    for (const auto& range : ranges) text += " " + range;
    text += "\n";
    if (node.name() == config_.node_name) {
      wanted.pod_cidrs = ranges;
    } else if (!ip.empty() && !ranges.empty()) {
      wanted.peers.push_back({node.name(), ip, ranges});
    }
  }
  if (wanted.pod_cidrs.empty()) {
    wanted.pod_cidrs = config_.pod_cidrs;
    for (const auto& range : config_.pod_cidrs) text += range + "\n";
  }
  bool was_down = false;
  std::string problem;
  {
    const std::lock_guard lock(network_mutex_);
    if (wanted.pod_cidrs.empty() || (text == network_config_ && network_problem_.empty())) return;
    // Before its first configuration the plugin itself says that it is not ready.
    was_down = !network_problem_.empty() || !network_->problem().empty();
    auto configured = network_->configure(tasks_.context(), wanted);
    if (!configured) problem = configured.error().message();
    if (problem != network_problem_ && !problem.empty())
      log_warning(context_.log, "cannot configure the pod network", {{"error", problem}});
    network_problem_ = problem;
    network_config_ = text;
  }
  if (was_down && problem.empty()) {
    agent_->observe_soon();
    workers_->wake_all();
  }
}

void Kubelet::end(const CallContext& ctx) {
  if (ended_.exchange(true)) return;
  if (server_) {
    // A followed log would go on for ever: such streams are broken off.
    CallContext soon = ctx;
    soon.deadline = std::min(ctx.deadline, context_.clock.now() + kStreamsMayFinish);
    server_->shutdown(soon);
  }
  if (agent_) agent_->stop();
  if (informers_) informers_->stop();
  handlers_of_informers_.clear();
  if (cache_) cache_->stop();
  if (prober_) prober_->stop();
  if (objects_) objects_->stop();
  // Containers run on: the next kubelet adopts them.
  if (!tasks_.stop(ctx)) log_warning(context_.log, "some of the kubelet's tasks did not end in time");
  certificate_timer_.reset();
  server_.reset();
  routes_.reset();
  workers_.reset();
}

}  // namespace

Result<std::unique_ptr<plugin::Component>> make_kubelet(const plugin::ComponentContext& context) {
  auto config = parse_config(context.config_json);
  if (!config) return std::move(config).error();
  return std::unique_ptr<plugin::Component>(std::make_unique<Kubelet>(context, *std::move(config)));
}

}  // namespace kubernel::kubelet
