// SPDX-License-Identifier: Apache-2.0
#include "endpointslice.h"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include <kubernel/controller/expectations.h>
#include <kubernel/controller/owners.h>
#include <kubernel/controller/pods.h>
#include <kubernel/controller/services.h>

#include "slice_plan.h"

namespace kubernel::plugins::endpointslice {
namespace {

using api::LabelSelector;
using api::Object;
using api::ObjectKey;
using api::Value;
using api::resources::kEndpointSlices;
using api::resources::kNodes;
using api::resources::kPods;
using api::resources::kServices;
using controller::Next;
using nlohmann::json;

constexpr const char* kServiceName = "kubernetes.io/service-name";
constexpr const char* kManagedBy = "endpointslice.kubernetes.io/managed-by";
constexpr const char* kManager = "endpointslice-controller.k8s.io";
constexpr const char* kHeadless = "service.kubernetes.io/headless";
constexpr const char* kZone = "topology.kubernetes.io/zone";

ObjectKey service_key(const Object& slice) {
  return {slice.ns(), std::string(slice.labels()[kServiceName].string())};
}

class EndpointSliceReconciler final : public controller::Reconciler {
 public:
  explicit EndpointSliceReconciler(const controller::ControllerContext& context)
      : context_(context), expectations_(context.clock) {}

  Result<void> watch(client::InformerFactory& informers, controller::KeyQueue& queue) override {
    queue_ = &queue;
    services_ = informers.informer(kServices, {});
    pods_ = informers.informer(kPods, {});
    nodes_ = informers.informer(kNodes, {});
    slices_ = informers.informer(kEndpointSlices, {});
    pods_->add_index("node", [](const Object& pod) -> std::vector<std::string> {
      return {std::string(pod.pointer("/spec/nodeName").string())};
    });
    slices_->add_index("service", [](const Object& slice) -> std::vector<std::string> {
      if (slice.labels()[kManagedBy].string() != kManager) return {};
      return {to_string(service_key(slice))};
    });
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
    on_nodes_ = nodes_->add_handler({.added = [this](const Object& node) { node_changed(node); },
                                     .updated =
                                         [this](const Object& before, const Object& after) {
                                           if (before.labels()[kZone] != after.labels()[kZone]) node_changed(after);
                                         }});
    on_slices_ =
        slices_->add_handler({.added = [this](const Object& slice) { slice_seen(slice, true); },
                              .updated = [this](const Object&, const Object& after) { slice_seen(after, false); },
                              .deleted = [this](const Object& slice) { slice_seen(slice, false); }});
    return {};
  }

  Result<Next> reconcile(const CallContext& ctx, const ObjectKey& key) override {
    const auto service = services_->find(key);
    if (!service) {
      expectations_.forget(key);  // Its slices are garbage collected.
      return Next::done();
    }
    if (!controller::has_managed_endpoints(*service) || service->head().deleting) return Next::done();
    // A slice of ours is not in the cache yet: it would be made a second time. Its arrival brings us back.
    if (!expectations_.satisfied(key)) return Next::done();

    const auto families = controller::service_families(*service);
    std::map<std::string, std::vector<Object>> by_family;
    for (Object& slice : slices_->by_index("service", to_string(key))) {
      if (slice.head().deleting) continue;
      std::string family(slice["addressType"].string());
      if (std::ranges::find(families, family) == families.end()) {
        KUBERNEL_CHECK_OK(remove(ctx, slice));
      } else {
        by_family[std::move(family)].push_back(std::move(slice));
      }
    }
    const auto pods = pods_->list(key.ns, LabelSelector::from_map(service->pointer("/spec/selector")));
    for (const std::string& family : families) {
      KUBERNEL_CHECK_OK(carry_out(ctx, *service, family, make_plan(wanted(*service, family, pods), by_family[family])));
    }
    return Next::done();
  }

 private:
  Wanted wanted(const Object& service, const std::string& family, const std::vector<Object>& pods) {
    Wanted out;
    const bool publish_all = service.pointer("/spec/publishNotReadyAddresses").boolean();
    for (const Object& pod : pods) {
      if (!controller::reachable(pod)) continue;
      const auto addresses = controller::pod_addresses(pod, family);
      if (addresses.empty()) continue;
      const std::string node_name(pod.pointer("/spec/nodeName").string());
      const auto node = nodes_->find({"", node_name});
      // A pod of a node that is gone is about to be collected; when the node appears, we look again.
      if (!node && !node_name.empty() && !publish_all) continue;
      const json ports = controller::endpoint_ports(service, pod);
      // No port of the service is one of the pod's. A headless service needs none.
      if (ports.empty() && !service.pointer("/spec/ports").empty()) continue;
      PortGroup& group = out[ports_key(ports)];
      group.ports = ports;
      group.endpoints.push_back(endpoint(service, pod, addresses, node, publish_all));
    }
    return out;
  }

  static json endpoint(const Object& service, const Object& pod, const std::vector<std::string>& addresses,
                       const std::optional<Object>& node, bool publish_all) {
    const bool serving = controller::pod_ready(pod);
    const bool terminating = pod.head().deleting;
    json out = {
        {"addresses", addresses},
        {"conditions",
         {{"ready", publish_all || (serving && !terminating)}, {"serving", serving}, {"terminating", terminating}}},
        {"targetRef", {{"kind", "Pod"}, {"namespace", pod.ns()}, {"name", pod.name()}, {"uid", pod.uid()}}}};
    if (const auto name = pod.pointer("/spec/nodeName").string(); !name.empty()) out["nodeName"] = std::string(name);
    if (node && node->labels()[kZone].is_string()) out["zone"] = std::string(node->labels()[kZone].string());
    if (std::string hostname = controller::endpoint_hostname(service, pod); !hostname.empty())
      out["hostname"] = std::move(hostname);
    return out;
  }

  Result<void> carry_out(const CallContext& ctx, const Object& service, const std::string& family, const Plan& plan) {
    const json labels = labels_of(service);
    for (const auto& update : plan.update)
      KUBERNEL_CHECK_OK(write(ctx, update.slice, labels, update.ports, update.endpoints));
    for (const Object& slice : plan.keep) {
      if (slice.labels().to_json() == labels) continue;
      KUBERNEL_CHECK_OK(write(ctx, slice, labels, slice["ports"].to_json(), slice["endpoints"].to_json()));
    }
    for (const Object& slice : plan.remove) KUBERNEL_CHECK_OK(remove(ctx, slice));
    if (plan.create.empty()) return {};
    expectations_.expect_creations(service.key(), static_cast<int>(plan.create.size()));
    std::optional<Error> first;
    for (const auto& create : plan.create) {
      if (!first) {
        const auto created = context_.api.create(ctx, kEndpointSlices, {service.ns(), ""},
                                                 document(service, family, labels, create), {});
        if (created) continue;
        if (!controller::namespace_terminating(created.error())) first = created.error();
      }
      expectations_.creation_observed(service.key());
    }
    if (first) {
      context_.events.record(
          service, "Warning", "FailedToUpdateEndpointSlices",
          "Error updating Endpoint Slices for Service " + to_string(service.key()) + ": " + first->message());
      return *first;
    }
    return {};
  }

  static json labels_of(const Object& service) {
    json out = json::object();
    const Value own = service.labels();
    for (auto it = own.begin(); it != own.end(); ++it) {
      const auto name = it.key();
      if (name != kServiceName && name != kManagedBy && name != kHeadless)
        out[std::string(name)] = std::string((*it).string());
    }
    if (controller::headless(service)) out[kHeadless] = "";
    out[kServiceName] = service.name();
    out[kManagedBy] = kManager;
    return out;
  }

  static json document(const Object& service, const std::string& family, const json& labels,
                       const Plan::Create& create) {
    return {{"apiVersion", "discovery.k8s.io/v1"},
            {"kind", "EndpointSlice"},
            {"metadata",
             {{"generateName", service.name() + "-"},
              {"namespace", service.ns()},
              {"labels", labels},
              {"ownerReferences", json::array({controller::controller_reference(service)})}}},
            {"addressType", family},
            {"ports", create.ports},
            {"endpoints", create.endpoints}};
  }

  Result<void> write(const CallContext& ctx, const Object& slice, const json& labels, const json& ports,
                     const json& endpoints) {
    json document = slice.to_json();
    document["metadata"]["labels"] = labels;
    document["ports"] = ports.is_array() ? ports : json::array();
    document["endpoints"] = endpoints.is_array() ? endpoints : json::array();
    const auto written = context_.api.update(ctx, kEndpointSlices, slice.key(), document, {});
    if (!written) return written.error();
    return {};
  }

  Result<void> remove(const CallContext& ctx, const Object& slice) {
    const auto removed = context_.api.remove(ctx, kEndpointSlices, slice.key(), {.precondition_uid = slice.uid()});
    if (!removed && removed.error().reason() != Reason::NotFound) return removed.error();
    return {};
  }

  void add_services(const Object& pod) {
    for (const ObjectKey& key : controller::services_of(*services_, pod)) queue_->add(key);
  }

  void node_changed(const Object& node) {
    for (const Object& pod : pods_->by_index("node", node.name())) add_services(pod);
  }

  void slice_seen(const Object& slice, bool added) {
    if (slice.labels()[kManagedBy].string() != kManager) return;
    const ObjectKey key = service_key(slice);
    if (added) expectations_.creation_observed(key);
    queue_->add(key);
  }

  const controller::ControllerContext context_;
  controller::Expectations expectations_;
  controller::KeyQueue* queue_ = nullptr;
  std::shared_ptr<client::Informer> services_;
  std::shared_ptr<client::Informer> pods_;
  std::shared_ptr<client::Informer> nodes_;
  std::shared_ptr<client::Informer> slices_;
  std::unique_ptr<Subscription> on_services_;
  std::unique_ptr<Subscription> on_pods_;
  std::unique_ptr<Subscription> on_nodes_;
  std::unique_ptr<Subscription> on_slices_;
};

}  // namespace

Result<std::unique_ptr<controller::Reconciler>> make_reconciler(const controller::ControllerContext& context) {
  return std::make_unique<EndpointSliceReconciler>(context);
}

}  // namespace kubernel::plugins::endpointslice
