// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "strategies/strategy.h"

namespace kubernel::apiserver {

bool Strategy::has_status() const {
  return std::any_of(info_.subresources.begin(), info_.subresources.end(),
                     [](const schema::Subresource& sub) { return sub.name == "status"; });
}

void Strategy::prepare_create(json& document) const {
  if (has_status() && !traits_.keeps_status) document.erase("status");
  if (traits_.generation_of.empty()) {
    erase_member(document, {"metadata"}, "generation");
  } else {
    make_member(document, {"metadata", "generation"}) = 1;
  }
}

void Strategy::count_generation(json& document, const json& old) const {
  copy_member(make_member(document, {"metadata"}), member(old, {"metadata"}), "generation");
  const bool changed =
      std::any_of(traits_.generation_of.begin(), traits_.generation_of.end(), [&](const std::string& name) {
        if (name == "metadata.annotations")
          return member(document, {"metadata", "annotations"}) != member(old, {"metadata", "annotations"});
        return member(document, {name.c_str()}) != member(old, {name.c_str()});
      });
  if (changed) make_member(document, {"metadata", "generation"}) = number(old, {"metadata", "generation"}) + 1;
}

void Strategy::prepare_update(json& document, const json& old) const {
  if (has_status() && !traits_.keeps_status) copy_member(document, old, "status");
  count_generation(document, old);
}

void Strategy::prepare_status(json& document, const json& old) const {
  json out = old;
  copy_member(out, document, "status");
  json& meta = make_member(out, {"metadata"});
  copy_member(meta, member(document, {"metadata"}), "managedFields");
  copy_member(meta, member(document, {"metadata"}), "resourceVersion");
  for (const char* name : traits_.status_metadata) copy_member(meta, member(document, {"metadata"}), name);
  document = std::move(out);
}

void Strategy::validate(const json& document, Causes& causes) const {
  if (rules_.always != nullptr) rules_.always({document, "", causes});
}
void Strategy::validate_create(const json& document, Causes& causes) const {
  if (rules_.create != nullptr) rules_.create({document, "", causes});
}
void Strategy::validate_update(const json& document, const json& old, Causes& causes) const {
  if (rules_.update != nullptr) rules_.update({document, "", causes}, old);
}
void Strategy::validate_status(const json&, const json&, Causes&) const {}
std::int64_t Strategy::grace_seconds(const json&, std::optional<std::int64_t>) const {
  return 0;
}
bool Strategy::held(const json&) const {
  return false;
}
void Strategy::mark_deleting(json&) const {}
Result<Undo> Strategy::reserve(const CallContext&, json&, const json*, bool) const {
  return Undo();
}
void Strategy::release(const CallContext&, const json&, const json*) const {}

namespace {

std::string as_text(api::Value value) {
  return std::string(value.string());
}

FieldValues node_fields(api::Value body) {
  return {{"spec.unschedulable", body["spec"]["unschedulable"].boolean() ? "true" : "false"}};
}

FieldValues event_fields(api::Value body) {
  const api::Value about = body["involvedObject"];
  std::string source = as_text(body["source"]["component"]);
  if (source.empty()) source = as_text(body["reportingComponent"]);
  return {{"involvedObject.kind", as_text(about["kind"])},
          {"involvedObject.namespace", as_text(about["namespace"])},
          {"involvedObject.name", as_text(about["name"])},
          {"involvedObject.uid", as_text(about["uid"])},
          {"involvedObject.apiVersion", as_text(about["apiVersion"])},
          {"involvedObject.resourceVersion", as_text(about["resourceVersion"])},
          {"involvedObject.fieldPath", as_text(about["fieldPath"])},
          {"reason", as_text(body["reason"])},
          {"reportingComponent", as_text(body["reportingComponent"])},
          {"source", std::move(source)},
          {"type", as_text(body["type"])}};
}

FieldValues secret_fields(api::Value body) {
  return {{"type", as_text(body["type"])}};
}
FieldValues replication_controller_fields(api::Value body) {
  return {{"status.replicas", std::to_string(body["status"]["replicas"].integer())}};
}
FieldValues job_fields(api::Value body) {
  return {{"status.successful", std::to_string(body["status"]["succeeded"].integer())}};
}
FieldValues csr_fields(api::Value body) {
  return {{"spec.signerName", as_text(body["spec"]["signerName"])}};
}
FieldValues resource_slice_fields(api::Value body) {
  return {{"spec.nodeName", as_text(body["spec"]["nodeName"])}, {"spec.driver", as_text(body["spec"]["driver"])}};
}

const std::vector<std::string> kSpec = {"spec"};

// What differs from the defaults of Traits, by "group/plural" (core: "/plural").
const std::map<std::string, Traits, std::less<>>& table() {
  static const auto kTable = [] {
    std::map<std::string, Traits, std::less<>> t;
    const auto with_generation = {"apps/daemonsets",
                                  "apps/deployments",
                                  "apps/replicasets",
                                  "apps/statefulsets",
                                  "batch/jobs",
                                  "batch/cronjobs",
                                  "policy/poddisruptionbudgets",
                                  "networking.k8s.io/ingresses",
                                  "networking.k8s.io/ingressclasses",
                                  "networking.k8s.io/networkpolicies",
                                  "apiextensions.k8s.io/customresourcedefinitions",
                                  "flowcontrol.apiserver.k8s.io/flowschemas",
                                  "flowcontrol.apiserver.k8s.io/prioritylevelconfigurations",
                                  "/replicationcontrollers",
                                  "resource.k8s.io/resourceslices",
                                  "resource.k8s.io/deviceclasses",
                                  "admissionregistration.k8s.io/validatingadmissionpolicies",
                                  "admissionregistration.k8s.io/validatingadmissionpolicybindings",
                                  "admissionregistration.k8s.io/mutatingadmissionpolicies",
                                  "admissionregistration.k8s.io/mutatingadmissionpolicybindings",
                                  "storage.k8s.io/csidrivers"};
    for (const char* key : with_generation) t[key].generation_of = kSpec;
    t["apps/deployments"].generation_of = {"spec", "metadata.annotations"};
    t["admissionregistration.k8s.io/validatingwebhookconfigurations"].generation_of = {"webhooks"};
    t["admissionregistration.k8s.io/mutatingwebhookconfigurations"].generation_of = {"webhooks"};
    t["discovery.k8s.io/endpointslices"].generation_of = {"addressType", "endpoints", "ports"};
    t["scheduling.k8s.io/priorityclasses"].generation_of = {"value", "globalDefault", "description",
                                                            "preemptionPolicy"};

    for (const char* key :
         {"/endpoints", "/events", "/limitranges", "/services", "coordination.k8s.io/leases",
          "rbac.authorization.k8s.io/roles", "rbac.authorization.k8s.io/rolebindings",
          "rbac.authorization.k8s.io/clusterroles", "rbac.authorization.k8s.io/clusterrolebindings"}) {
      t[key].create_on_update = true;
    }
    for (const char* key :
         {"coordination.k8s.io/leases", "policy/poddisruptionbudgets", "node.k8s.io/runtimeclasses",
          "admissionregistration.k8s.io/validatingwebhookconfigurations",
          "admissionregistration.k8s.io/mutatingwebhookconfigurations",
          "admissionregistration.k8s.io/validatingadmissionpolicies",
          "admissionregistration.k8s.io/validatingadmissionpolicybindings",
          "admissionregistration.k8s.io/mutatingadmissionpolicies",
          "admissionregistration.k8s.io/mutatingadmissionpolicybindings",
          "apiextensions.k8s.io/customresourcedefinitions", "apiregistration.k8s.io/apiservices",
          "storage.k8s.io/csinodes", "storage.k8s.io/csidrivers", "storage.k8s.io/volumeattachments"}) {
      t[key].unconditional_update = false;
    }
    for (const char* key :
         {"rbac.authorization.k8s.io/roles", "rbac.authorization.k8s.io/rolebindings",
          "rbac.authorization.k8s.io/clusterroles", "rbac.authorization.k8s.io/clusterrolebindings",
          "flowcontrol.apiserver.k8s.io/flowschemas", "flowcontrol.apiserver.k8s.io/prioritylevelconfigurations"}) {
      t[key].name_rule = NameRule::PathSegment;
    }
    for (const char* key :
         {"/persistentvolumeclaims", "/persistentvolumes", "/serviceaccounts", "/podtemplates", "/resourcequotas"}) {
      t[key].returns_deleted = true;
    }
    t["/nodes"].keeps_status = true;
    t["apps/deployments"].status_metadata = {"annotations", "finalizers", "ownerReferences"};
    t["storage.k8s.io/volumeattachments"].status_metadata = {"annotations"};
    for (const char* key :
         {"admissionregistration.k8s.io/validatingadmissionpolicies", "apiextensions.k8s.io/customresourcedefinitions",
          "apiregistration.k8s.io/apiservices", "flowcontrol.apiserver.k8s.io/flowschemas",
          "flowcontrol.apiserver.k8s.io/prioritylevelconfigurations", "networking.k8s.io/servicecidrs",
          "resource.k8s.io/resourceclaims"}) {
      t[key].status_metadata.clear();
    }
    t["batch/jobs"].default_propagation = client::Propagation::Orphan;
    t["/replicationcontrollers"].default_propagation = client::Propagation::Orphan;

    const auto selectable = [&](const char* key, FieldReader read, std::vector<std::string> labels) {
      t[key].read_fields = read;
      t[key].field_labels = std::move(labels);
    };
    selectable("/nodes", node_fields, {"spec.unschedulable"});
    selectable("/events", event_fields,
               {"involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
                "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath", "reason",
                "reportingComponent", "source", "type"});
    t["/events"].expires = true;
    t["/events"].indexed_field = "involvedObject.uid";
    selectable("/secrets", secret_fields, {"type"});
    selectable("/replicationcontrollers", replication_controller_fields, {"status.replicas"});
    selectable("batch/jobs", job_fields, {"status.successful"});
    selectable("certificates.k8s.io/certificatesigningrequests", csr_fields, {"spec.signerName"});
    selectable("resource.k8s.io/resourceslices", resource_slice_fields, {"spec.nodeName", "spec.driver"});
    return t;
  }();
  return kTable;
}

// Nodes: a kubelet registers with its status, and later writes status through the subresource only.
class NodeStrategy final : public Strategy {
 public:
  using Strategy::Strategy;
  void prepare_update(json& document, const json& old) const override {
    copy_member(document, old, "status");
    Strategy::prepare_update(document, old);
  }
};

}  // namespace

std::unique_ptr<Strategy> make_strategy(const schema::ResourceInfo& info, const StrategyContext& context) {
  const std::string key = std::string(info.group) + "/" + std::string(info.plural);
  const auto place = table().find(key);
  Traits traits = place == table().end() ? Traits() : place->second;
  if (key == "/pods") return make_pod_strategy(info);
  if (key == "/namespaces") return make_namespace_strategy(info);
  if (key == "/services") return make_service_strategy(info, context);
  if (key == "/nodes") return std::make_unique<NodeStrategy>(info, std::move(traits));
  if (key == "/secrets" || key == "/configmaps") return make_secret_strategy(info, std::move(traits));
  constexpr std::array kWorkloads = {"apps/deployments",        "apps/replicasets", "apps/statefulsets",
                                     "apps/daemonsets",         "batch/jobs",       "batch/cronjobs",
                                     "/replicationcontrollers", "/podtemplates"};
  if (std::find(kWorkloads.begin(), kWorkloads.end(), key) != kWorkloads.end()) {
    return make_workload_strategy(info, std::move(traits));
  }
  return std::make_unique<Strategy>(info, std::move(traits));
}

}  // namespace kubernel::apiserver
