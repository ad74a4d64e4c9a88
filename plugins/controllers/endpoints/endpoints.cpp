// SPDX-License-Identifier: Apache-2.0
#include "endpoints.h"

#include <algorithm>
#include <map>
#include <utility>

#include <nlohmann/json.hpp>

#include <kubernel/controller/pods.h>
#include <kubernel/controller/services.h>

namespace kubernel::plugins::endpoints {
namespace {

using api::LabelSelector;
using api::Object;
using api::ObjectKey;
using api::Value;
using api::resources::kEndpoints;
using api::resources::kPods;
using api::resources::kServices;
using controller::Next;
using nlohmann::json;

constexpr std::size_t kMaxAddresses = 1000;
constexpr const char* kOverCapacity = "endpoints.kubernetes.io/over-capacity";
constexpr const char* kLeader = "control-plane.alpha.kubernetes.io/leader";
constexpr const char* kHeadless = "service.kubernetes.io/headless";
constexpr const char* kManagedBy = "endpoints.kubernetes.io/managed-by";
constexpr const char* kManager = "endpoint-controller";

// No object has this key: it stands for the look at what is left over from before the start.
const ObjectKey kLeftovers{"", ""};

struct Address {
  bool ready = false;
  std::string ip;
  json entry;
  json ports;
};

class EndpointsReconciler final : public controller::Reconciler {
 public:
  explicit EndpointsReconciler(const controller::ControllerContext& context) : context_(context) {}

  Result<void> watch(client::InformerFactory& informers, controller::KeyQueue& queue) override {
    queue_ = &queue;
    services_ = informers.informer(kServices, {});
    pods_ = informers.informer(kPods, {});
    endpoints_ = informers.informer(kEndpoints, {});
    const auto add = [this](const Object& object) { queue_->add(object.key()); };
    on_services_ = services_->add_handler(
        {.added = add, .updated = [add](const Object&, const Object& after) { add(after); }, .deleted = add});
    on_pods_ = pods_->add_handler({.added = [this](const Object& pod) { add_services(pod); },
                                   .updated =
                                       [this](const Object& before, const Object& after) {
                                         if (!controller::endpoint_changed(before, after)) return;
                                         add_services(after);
                                         if (before.labels() != after.labels()) add_services(before);
                                       },
                                   .deleted = [this](const Object& pod) { add_services(pod); }});
    // Only for services that exist: Endpoints without one are somebody else's.
    const auto add_known = [this](const Object& object) {
      if (services_->find(object.key())) queue_->add(object.key());
    };
    on_endpoints_ = endpoints_->add_handler(
        {.updated = [add_known](const Object&, const Object& after) { add_known(after); }, .deleted = add_known});
    queue.add(kLeftovers);
    return {};
  }

  Result<Next> reconcile(const CallContext& ctx, const ObjectKey& key) override {
    if (key == kLeftovers) return find_leftovers();
    const auto service = services_->find(key);
    if (!service) {
      const auto removed = context_.api.remove(ctx, kEndpoints, key, {});
      if (!removed && removed.error().reason() != Reason::NotFound) return removed.error();
      return Next::done();
    }
    if (!controller::has_managed_endpoints(*service)) return Next::done();
    bool truncated = false;
    const json subsets = subsets_of(*service, truncated);
    const auto current = endpoints_->find(key);
    if (!current) return create(ctx, *service, subsets, truncated);
    return update(ctx, *service, *current, subsets, truncated);
  }

 private:
  Result<Next> find_leftovers() {
    for (const Object& object : endpoints_->list({}, {})) {
      // Old leader elections keep their records in Endpoints that never had a service.
      if (!object.annotations()[kLeader] && !services_->find(object.key())) queue_->add(object.key());
    }
    return Next::done();
  }

  json subsets_of(const Object& service, bool& truncated) {
    const bool publish_all = service.pointer("/spec/publishNotReadyAddresses").boolean();
    const std::string family = controller::service_families(service).front();
    std::vector<Address> addresses;
    for (const Object& pod : pods_->list(service.ns(), LabelSelector::from_map(service.pointer("/spec/selector")))) {
      if (!controller::reachable(pod) || (pod.head().deleting && !publish_all)) continue;
      const auto ips = controller::pod_addresses(pod, family);
      if (ips.empty()) continue;
      json ports = controller::endpoint_ports(service, pod);
      if (ports.empty() && !service.pointer("/spec/ports").empty()) continue;
      for (json& port : ports) {
        if (port["name"] == "") port.erase("name");
      }
      addresses.push_back(
          {publish_all || controller::pod_ready(pod), ips.front(), entry(service, pod, ips.front()), std::move(ports)});
    }
    std::ranges::sort(addresses, [](const Address& a, const Address& b) {
      return a.ip != b.ip ? a.ip < b.ip : a.entry.dump() < b.entry.dump();
    });
    truncated = addresses.size() > kMaxAddresses;
    if (truncated) {
      std::ranges::stable_partition(addresses, [](const Address& a) { return a.ready; });
      addresses.resize(kMaxAddresses);
    }
    return group(addresses);
  }

  static json entry(const Object& service, const Object& pod, const std::string& ip) {
    json out = {{"ip", ip},
                {"targetRef", {{"kind", "Pod"}, {"namespace", pod.ns()}, {"name", pod.name()}, {"uid", pod.uid()}}}};
    if (const auto node = pod.pointer("/spec/nodeName").string(); !node.empty()) out["nodeName"] = std::string(node);
    if (std::string hostname = controller::endpoint_hostname(service, pod); !hostname.empty())
      out["hostname"] = std::move(hostname);
    return out;
  }

  // One subset per set of ports, in a fixed order, so that equal endpoints are equal text.
  static json group(const std::vector<Address>& addresses) {
    std::map<std::string, json> by_ports;
    for (const Address& address : addresses) {
      json& subset = by_ports[address.ports.dump()];
      if (!address.ports.empty()) subset["ports"] = address.ports;
      subset[address.ready ? "addresses" : "notReadyAddresses"].push_back(address.entry);
    }
    json out = json::array();
    for (auto& [ports, subset] : by_ports) out.push_back(std::move(subset));
    return out;
  }

  static json labels_of(const Object& service) {
    json out = service.labels().is_object() ? service.labels().to_json() : json::object();
    out.erase(kHeadless);
    if (controller::headless(service)) out[kHeadless] = "";
    out[kManagedBy] = kManager;
    return out;
  }

  Result<Next> create(const CallContext& ctx, const Object& service, const json& subsets, bool truncated) {
    json document = {
        {"apiVersion", "v1"},
        {"kind", "Endpoints"},
        {"metadata", {{"name", service.name()}, {"namespace", service.ns()}, {"labels", labels_of(service)}}}};
    if (!subsets.empty()) document["subsets"] = subsets;
    if (truncated) document["metadata"]["annotations"][kOverCapacity] = "truncated";
    const auto created = context_.api.create(ctx, kEndpoints, {service.ns(), ""}, document, {});
    if (created || controller::namespace_terminating(created.error())) return Next::done();
    // The cache has not shown it yet: what it shows is compared then.
    if (created.error().reason() == Reason::AlreadyExists) return Next::after(std::chrono::seconds(1));
    context_.events.record(
        service, "Warning", "FailedToCreateEndpoint",
        "Failed to create endpoint for service " + to_string(service.key()) + ": " + created.error().message());
    return created.error();
  }

  Result<Next> update(const CallContext& ctx, const Object& service, const Object& current, const json& subsets,
                      bool truncated) {
    json document = current.to_json();
    if (subsets.empty()) {
      document.erase("subsets");
    } else {
      document["subsets"] = subsets;
    }
    document["metadata"]["labels"] = labels_of(service);
    json& annotations = document["metadata"]["annotations"];
    if (truncated) {
      annotations[kOverCapacity] = "truncated";
    } else if (annotations.is_object()) {
      annotations.erase(kOverCapacity);
    }
    if (annotations.is_null() || annotations.empty()) document["metadata"].erase("annotations");
    if (document == current.to_json()) return Next::done();
    const auto written = context_.api.update(ctx, kEndpoints, current.key(), document, {});
    if (!written) {
      if (written.error().reason() != Reason::Conflict) {
        context_.events.record(
            service, "Warning", "FailedToUpdateEndpoint",
            "Failed to update endpoint " + to_string(service.key()) + ": " + written.error().message());
      }
      return written.error();
    }
    return Next::done();
  }

  void add_services(const Object& pod) {
    for (const ObjectKey& key : controller::services_of(*services_, pod)) queue_->add(key);
  }

  const controller::ControllerContext context_;
  controller::KeyQueue* queue_ = nullptr;
  std::shared_ptr<client::Informer> services_;
  std::shared_ptr<client::Informer> pods_;
  std::shared_ptr<client::Informer> endpoints_;
  std::unique_ptr<Subscription> on_services_;
  std::unique_ptr<Subscription> on_pods_;
  std::unique_ptr<Subscription> on_endpoints_;
};

}  // namespace

Result<std::unique_ptr<controller::Reconciler>> make_reconciler(const controller::ControllerContext& context) {
  return std::make_unique<EndpointsReconciler>(context);
}

}  // namespace kubernel::plugins::endpoints
