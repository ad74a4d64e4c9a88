// SPDX-License-Identifier: Apache-2.0
#include "validation/rules.h"

#include <algorithm>
#include <charconv>
#include <map>

#include "validation/object_rules.h"

namespace kubernel::apiserver::validation {

namespace {

const std::map<std::string, Rules, std::less<>>& table() {
  static const std::map<std::string, Rules, std::less<>> kTable = {
      {"/pods", {check_pod, check_pod_update, check_pod_create}},
      {"/podtemplates", {check_pod_template_object}},
      {"/services", {check_service, check_service_update}},
      {"/replicationcontrollers", {check_replication_controller}},
      {"apps/deployments", {check_deployment, check_selector_update}},
      {"apps/replicasets", {check_replica_set, check_selector_update}},
      {"apps/daemonsets", {check_daemon_set, check_selector_update}},
      {"apps/statefulsets", {check_stateful_set, check_stateful_set_update}},
      {"apps/controllerrevisions", {nullptr, check_controller_revision_update}},
      {"batch/jobs", {check_job, check_job_update}},
      {"batch/cronjobs", {check_cron_job, nullptr, check_cron_job_create}},
      {"/configmaps", {check_config_map, check_config_map_update}},
      {"/secrets", {check_secret, check_secret_update}},
      {"/serviceaccounts", {check_service_account}},
      {"/resourcequotas", {check_resource_quota, check_resource_quota_update}},
      {"/limitranges", {check_limit_range}},
      {"/nodes", {check_node, check_node_update}},
      {"/persistentvolumes", {check_volume, check_volume_update}},
      {"/persistentvolumeclaims", {check_claim, check_claim_update}},
      {"/endpoints", {check_endpoints}},
      {"discovery.k8s.io/endpointslices", {check_endpoint_slice, check_endpoint_slice_update}},
      {"scheduling.k8s.io/priorityclasses", {check_priority_class, check_priority_class_update}},
      {"coordination.k8s.io/leases", {check_lease}},
      {"policy/poddisruptionbudgets", {check_budget}},
      {"autoscaling/horizontalpodautoscalers", {check_autoscaler}},
      {"storage.k8s.io/storageclasses", {check_storage_class, check_storage_class_update}},
      {"rbac.authorization.k8s.io/roles", {check_role}},
      {"rbac.authorization.k8s.io/clusterroles", {check_cluster_role}},
      {"rbac.authorization.k8s.io/rolebindings", {check_role_binding, check_role_binding_update}},
      {"rbac.authorization.k8s.io/clusterrolebindings", {check_cluster_role_binding, check_role_binding_update}},
      {"networking.k8s.io/networkpolicies", {check_network_policy}},
      {"networking.k8s.io/ingresses", {check_ingress}},
      {"networking.k8s.io/ingressclasses", {check_ingress_class, check_ingress_class_update}},
      {"node.k8s.io/runtimeclasses", {check_runtime_class, check_runtime_class_update}},
      {"certificates.k8s.io/certificatesigningrequests", {check_signing_request}},
      {"admissionregistration.k8s.io/validatingwebhookconfigurations", {check_webhook_configuration}},
      {"admissionregistration.k8s.io/mutatingwebhookconfigurations", {check_webhook_configuration}},
  };
  return kTable;
}

// Where a path is in its type: member and list indexes, outermost first. What the schema does not know comes first.
std::vector<std::size_t> place_of(const schema::Type* type, std::string_view path) {
  std::vector<std::size_t> out;
  while (!path.empty()) {
    if (path.front() == '.') path.remove_prefix(1);
    if (path.front() == '[') {
      const std::size_t end = path.find(']');
      if (end == std::string_view::npos) return out;
      std::size_t index = 0;
      std::from_chars(path.data() + 1, path.data() + end, index);
      out.push_back(index);
      path.remove_prefix(end + 1);
      continue;
    }
    const std::string_view name = path.substr(0, path.find_first_of(".["));
    path.remove_prefix(name.size());
    const schema::Field* field = nullptr;
    std::size_t place = 0;
    if (type != nullptr) {
      const auto found = std::find_if(type->members.begin(), type->members.end(),
                                      [&](const schema::Field* one) { return one->json == name; });
      if (found != type->members.end()) {
        field = *found;
        place = static_cast<std::size_t>(found - type->members.begin()) + 1;
      }
    }
    out.push_back(place);
    type = field != nullptr ? field->type : nullptr;
  }
  return out;
}

// What makes two causes one complaint: of a missing or repeated value the field says enough.
std::string complaint(const Cause& cause) {
  const bool by_field = cause.reason == "FieldValueRequired" || cause.reason == "FieldValueDuplicate";
  return cause.field + "\n" + cause.reason + (by_field ? "" : "\n" + cause.message);
}

}  // namespace

const Rules& find_rules(std::string_view group, std::string_view plural) {
  static const Rules kNone;
  const auto place = table().find(std::string(group) + "/" + std::string(plural));
  return place == table().end() ? kNone : place->second;
}

void arrange(const schema::Type& type, Causes& causes) {
  // The longest of what is said twice carries the explanation.
  std::map<std::string, std::size_t> longest;
  Causes kept;
  for (Cause& cause : causes) {
    const auto [place, first] = longest.emplace(complaint(cause), kept.size());
    if (first) {
      kept.push_back(std::move(cause));
    } else if (cause.message.size() > kept[place->second].message.size()) {
      kept[place->second] = std::move(cause);
    }
  }
  std::vector<std::pair<std::vector<std::size_t>, std::size_t>> order;
  for (std::size_t i = 0; i < kept.size(); ++i) order.emplace_back(place_of(&type, kept[i].field), i);
  std::sort(order.begin(), order.end());
  causes.clear();
  for (const auto& [place, index] : order) causes.push_back(std::move(kept[index]));
}

}  // namespace kubernel::apiserver::validation
