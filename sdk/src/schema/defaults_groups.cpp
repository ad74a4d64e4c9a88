// SPDX-License-Identifier: Apache-2.0
//
// Defaults outside core/v1 that are more than a value at a path.

#include <algorithm>

#include <nlohmann/json.hpp>

#include "schema/defaults.h"

namespace kubernel::schema::defaults {
namespace {

using nlohmann::json;

const json* find(const json& object, std::initializer_list<const char*> path) {
  const json* at = &object;
  for (const char* step : path) {
    const auto next = at->find(step);
    if (next == at->end() || next->is_null()) return nullptr;
    at = &*next;
  }
  return at;
}

json pods_policy() {
  return {{"type", "Pods"}, {"value", 4}, {"periodSeconds", 15}};
}
json percent_policy() {
  return {{"type", "Percent"}, {"value", 100}, {"periodSeconds", 15}};
}

}  // namespace

void deployment(json& object) {
  json& strategy = child(child(object, "spec"), "strategy");
  if (text(strategy, "type") != "RollingUpdate") return;
  json& update = child(strategy, "rollingUpdate");
  set_missing(update, "maxUnavailable", "25%");
  set_missing(update, "maxSurge", "25%");
}

void daemon_set(json& object) {
  json& strategy = child(child(object, "spec"), "updateStrategy");
  if (text(strategy, "type") != "RollingUpdate") return;
  json& update = child(strategy, "rollingUpdate");
  set_missing(update, "maxUnavailable", 1);
  set_missing(update, "maxSurge", 0);
}

void stateful_set(json& object) {
  json& spec = child(object, "spec");
  json& strategy = child(spec, "updateStrategy");
  if (is_empty(strategy, "type")) {
    strategy["type"] = "RollingUpdate";
    set_missing(strategy, "rollingUpdate", json::object());
  }
  if (text(strategy, "type") == "RollingUpdate" && !is_missing(strategy, "rollingUpdate")) {
    set_missing(strategy["rollingUpdate"], "partition", 0);
  }
  json& retention = child(spec, "persistentVolumeClaimRetentionPolicy");
  set_empty(retention, "whenDeleted", "Retain");
  set_empty(retention, "whenScaled", "Retain");
  if (is_missing(spec, "volumeClaimTemplates")) return;
  for (json& claim : spec["volumeClaimTemplates"]) {
    // Upstream writes these when it converts from its internal form.
    if (claim.is_object()) claim.update({{"apiVersion", "v1"}, {"kind", "PersistentVolumeClaim"}});
  }
}

void job(json& object) {
  json& spec = child(object, "spec");
  if (is_missing(spec, "completions") && is_missing(spec, "parallelism")) spec["completions"] = 1;
  set_missing(spec, "parallelism", 1);
  set_missing(spec, "backoffLimit", is_missing(spec, "backoffLimitPerIndex") ? 6 : INT32_MAX);
  set_missing(spec, "podReplacementPolicy", is_missing(spec, "podFailurePolicy") ? "TerminatingOrFailed" : "Failed");
  if (const json* labels = find(object, {"spec", "template", "metadata", "labels"});
      labels != nullptr && !labels->empty()) {
    const json copy = *labels;  // set_empty() may move what `labels` points to.
    set_empty(child(object, "metadata"), "labels", copy);
  }
}

void autoscaler_v1(json& object) {
  // v1 keeps the metrics it has no fields for in an annotation.
  if (find(object, {"metadata", "annotations", "autoscaling.alpha.kubernetes.io/metrics"}) != nullptr) return;
  set_missing(child(object, "spec"), "targetCPUUtilizationPercentage", 80);
}

void autoscaler_v2(json& object) {
  json& spec = child(object, "spec");
  if (is_missing(spec, "behavior")) return;
  json& up = child(spec["behavior"], "scaleUp");
  set_missing(up, "stabilizationWindowSeconds", 0);
  set_missing(up, "selectPolicy", "Max");
  if (is_missing(up, "policies")) up["policies"] = json::array({pods_policy(), percent_policy()});
  json& down = child(spec["behavior"], "scaleDown");
  set_missing(down, "selectPolicy", "Max");
  if (is_missing(down, "policies")) down["policies"] = json::array({percent_policy()});
}

void network_policy(json& object) {
  json& spec = child(object, "spec");
  if (!is_empty(spec, "policyTypes")) return;
  json types = json::array({"Ingress"});
  if (!is_empty(spec, "egress")) types.push_back("Egress");
  spec["policyTypes"] = std::move(types);
}

void rbac_subject(json& object) {
  const std::string_view kind = text(object, "kind");
  if (kind == "User" || kind == "Group") set_empty(object, "apiGroup", "rbac.authorization.k8s.io");
}

void custom_resource(json& object) {
  const json* versions = find(object, {"spec", "versions"});
  if (versions == nullptr || !versions->is_array()) return;
  for (const json& version : *versions) {
    if (!version.is_object() || is_empty(version, "storage")) continue;
    const std::string name(text(version, "name"));
    set_empty(child(object, "status"), "storedVersions", json::array({name}));
    return;
  }
}

void custom_resource_spec(json& object) {
  json& names = child(object, "names");
  const std::string kind(text(names, "kind"));
  std::string lower = kind;
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  if (!lower.empty()) set_empty(names, "singular", lower);
  if (!kind.empty()) set_empty(names, "listKind", kind + "List");
}

void device_request(json& object) {
  set_empty(object, "allocationMode", "ExactCount");
  if (text(object, "allocationMode") == "ExactCount") set_empty(object, "count", 1);
}

void class_device_request(json& object) {
  if (!is_empty(object, "deviceClassName")) device_request(object);
}

}  // namespace kubernel::schema::defaults
