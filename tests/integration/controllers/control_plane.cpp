// SPDX-License-Identifier: Apache-2.0
#include "control_plane.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <stdexcept>

#include <gtest/gtest.h>

#include <kubernel/api/time.h>
#include <kubernel/controller/reconciler.h>

#include "auth/bootstrap_policy.h"
#include "auth/rbac.h"
#include "controller_manager.h"
#include "deployment.h"
#include "endpoints.h"
#include "endpointslice.h"
#include "garbage_collector.h"
#include "job.h"
#include "memory_backend.h"
#include "namespace.h"
#include "node_lifecycle.h"
#include "pod_garbage_collector.h"
#include "replicaset.h"
#include "root_ca_publisher.h"
#include "serviceaccount.h"

namespace kubernel::integration {

using api::Object;
using api::ObjectKey;
using api::Resource;
using api::resources::kLeases;
using api::resources::kNodes;
using api::resources::kPods;
using nlohmann::json;

class ControlPlane::Loaded final : public plugin::Extensions {
 public:
  using Make = Result<std::unique_ptr<controller::Reconciler>> (*)(const controller::ControllerContext&);
  void add(std::string name, std::string account, Make make, std::string config = "{}") {
    all_.push_back({"controller", name, name, std::move(config), &typeid(controller::Spec),
                    std::make_shared<const controller::Spec>(controller::Spec{std::move(account), 2, make})});
  }
  std::vector<const plugin::Extension*> at(std::string_view) const override {
    std::vector<const plugin::Extension*> out;
    for (const auto& extension : all_) out.push_back(&extension);
    return out;
  }

 private:
  std::vector<plugin::Extension> all_;
};

namespace {

class NoPoller final : public Poller {
 public:
  Result<std::unique_ptr<Subscription>> when_readable(int, std::function<void()>) override {
    return Error(Reason::BadRequest, "not here");
  }
};

template <class T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message());
  return *std::move(result);
}

std::string write_ca() {
  std::string path = (std::filesystem::temp_directory_path() / "control-plane-ca-XXXXXX").string();
  const int fd = mkstemp(path.data());
  if (fd < 0) throw std::runtime_error("cannot make a temporary file");
  close(fd);
  std::ofstream(path) << "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
  return path;
}

}  // namespace

ControlPlane::ControlPlane()
    : fixture_(std::make_unique<apiserver::testing::ApiFixture>(&storage_memory::open_memory)),
      poller_(std::make_unique<NoPoller>()),
      offered_(std::make_unique<kubernel::testing::FakeServices>()),
      loaded_(std::make_unique<Loaded>()),
      ca_file_(write_ca()) {
  namespace p = plugins;
  for (const char* name : {"kube-public", "kube-node-lease"}) {
    fixture_->create(api::resources::kNamespaces, "", json{{"metadata", {{"name", name}}}}.dump());
  }
  // From here on everybody has the rights upstream's bootstrap roles give, and no others.
  if (auto applied = apiserver::apply_bootstrap_policy({}, fixture_->client(), fixture_->executor()); !applied) {
    throw std::runtime_error(applied.error().message());
  }
  fixture_->api().set_authorizer(std::make_shared<apiserver::Rbac>(fixture_->api()));
  plugin::offer<client::Connector>(
      *offered_, std::shared_ptr<client::Connector>(&fixture_->connector(), [](client::Connector*) {}));
  loaded_->add("deployment", "deployment-controller", p::deployment::make_reconciler);
  loaded_->add("endpoints", "endpoint-controller", p::endpoints::make_reconciler);
  loaded_->add("endpointslice", "endpointslice-controller", p::endpointslice::make_reconciler);
  loaded_->add("garbage-collector", "generic-garbage-collector", p::garbage_collector::make_reconciler);
  loaded_->add("job", "job-controller", p::job::make_reconciler);
  loaded_->add("namespace", "namespace-controller", p::namespaces::make_reconciler);
  loaded_->add("node-lifecycle", "node-controller", p::node_lifecycle::make_reconciler);
  loaded_->add("pod-garbage-collector", "pod-garbage-collector", p::pod_garbage_collector::make_reconciler);
  loaded_->add("replicaset", "replicaset-controller", p::replicaset::make_reconciler);
  loaded_->add("root-ca-publisher", "root-ca-cert-publisher", p::root_ca_publisher::make_reconciler,
               json{{"caFile", ca_file_}}.dump());
  loaded_->add("serviceaccount", "service-account-controller", p::serviceaccount::make_reconciler);
  manager_ = must(p::controller_manager::make_component({"controller-manager", "{}", fixture_->log(), metrics_,
                                                         fixture_->clock(), random_, fixture_->executor(),
                                                         fixture_->executor(), *poller_, *offered_, *loaded_}));
  if (auto started = manager_->start({}); !started) throw std::runtime_error(started.error().message());
  settle();
}

ControlPlane::~ControlPlane() {
  manager_->stop({});
  manager_.reset();
  std::filesystem::remove(ca_file_);
}

void ControlPlane::settle() {
  fixture_->executor().run_all();
}

void ControlPlane::advance(std::chrono::seconds by) {
  for (auto passed = std::chrono::seconds(0); passed < by; passed += std::chrono::seconds(1)) {
    settle();
    fixture_->clock().advance(std::chrono::seconds(1));
  }
  settle();
}

Object ControlPlane::create(const Resource& resource, const std::string& ns, const std::string& text) {
  const Object made = must(api().create({}, resource, {ns, ""}, json::parse(text), {}));
  settle();
  return made;
}

void ControlPlane::patch(const Resource& resource, const ObjectKey& key, const std::string& text,
                         const std::string& subresource) {
  must(api().patch({}, resource, key, client::PatchType::Merge, json::parse(text), {.subresource = subresource}));
  settle();
}

void ControlPlane::remove(const Resource& resource, const ObjectKey& key, client::Propagation propagation) {
  must(api().remove({}, resource, key, {.propagation = propagation}));
  settle();
}

std::vector<Object> ControlPlane::list(const Resource& resource, const std::string& ns, const std::string& labels) {
  return must(api().list({}, resource, {.ns = ns, .label_selector = labels})).items;
}

std::optional<Object> ControlPlane::find(const Resource& resource, const ObjectKey& key) {
  auto found = api().get({}, resource, key, {});
  if (found) return *std::move(found);
  if (found.error().reason() != Reason::NotFound) throw std::runtime_error(found.error().message());
  return std::nullopt;
}

void ControlPlane::add_node(const std::string& name) {
  create(kNodes, "", json{{"metadata", {{"name", name}}}}.dump());
  patch(kNodes, {"", name},
        json{{"status",
              {{"conditions", json::array({{{"type", "Ready"},
                                            {"status", "True"},
                                            {"lastHeartbeatTime", api::format_time(fixture_->clock().wall_now())}}})}}}}
            .dump(),
        "status");
  create(
      kLeases, "kube-node-lease",
      json{{"metadata", {{"name", name}}}, {"spec", {{"holderIdentity", name}, {"leaseDurationSeconds", 40}}}}.dump());
  renew(name);
}

void ControlPlane::renew(const std::string& node) {
  patch(kLeases, {"kube-node-lease", node},
        json{{"spec", {{"renewTime", api::format_micro_time(fixture_->clock().wall_now())}}}}.dump());
}

bool ControlPlane::play_node(const std::string& node) {
  bool busy = false;
  for (const Object& pod : list(kPods)) {
    const auto bound = pod.pointer("/spec/nodeName").string();
    if (bound.empty() && !pod.head().deleting) {
      must(api().create({}, kPods, pod.key(),
                        {{"apiVersion", "v1"},
                         {"kind", "Binding"},
                         {"metadata", {{"name", pod.name()}}},
                         {"target", {{"kind", "Node"}, {"name", node}}}},
                        {.subresource = "binding"}));
      busy = true;
    } else if (bound == node && pod.head().deleting) {
      const auto gone = api().remove({}, kPods, pod.key(), {.grace_period_seconds = 0});
      busy = busy || gone.has_value();
    } else if (bound == node && pod.pointer("/status/phase").string() == "Pending") {
      const std::string now = api::format_time(fixture_->clock().wall_now());
      const std::string ip = "10.244.0." + std::to_string(++addresses_ % 250 + 2);
      const json status = {
          {"phase", "Running"},
          {"podIP", ip},
          {"podIPs", json::array({{{"ip", ip}}})},
          {"conditions", json::array({{{"type", "Ready"}, {"status", "True"}, {"lastTransitionTime", now}}})}};
      patch(kPods, pod.key(), json{{"status", status}}.dump(), "status");
      busy = true;
    }
  }
  settle();
  return busy;
}

void ControlPlane::play_until_quiet(const std::string& node) {
  for (int round = 0; round < 100; ++round) {
    if (!play_node(node)) return;
  }
  ADD_FAILURE() << "the control plane never came to rest";
}

void ControlPlane::end_pod(const Object& pod, const std::string& phase) {
  patch(kPods, pod.key(), json{{"status", {{"phase", phase}}}}.dump(), "status");
}

}  // namespace kubernel::integration
