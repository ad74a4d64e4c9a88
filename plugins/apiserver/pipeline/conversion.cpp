// SPDX-License-Identifier: Apache-2.0
#include "pipeline/conversion.h"

#include <array>
#include <utility>

namespace kubernel::apiserver {

namespace {

// events.k8s.io/v1 has the members of v1 under other names.
constexpr std::pair<const char*, const char*> kEventNames[] = {{"regarding", "involvedObject"},
                                                               {"note", "message"},
                                                               {"reportingController", "reportingComponent"},
                                                               {"deprecatedSource", "source"},
                                                               {"deprecatedFirstTimestamp", "firstTimestamp"},
                                                               {"deprecatedLastTimestamp", "lastTimestamp"},
                                                               {"deprecatedCount", "count"}};

void rename(json& document, const char* from, const char* to) {
  const auto place = document.find(from);
  if (place == document.end()) return;
  json value = std::move(*place);
  document.erase(from);
  document[to] = std::move(value);
}

void event_to_stored(json& document) {
  for (const auto& [served, stored] : kEventNames) rename(document, served, stored);
  document["apiVersion"] = "v1";
}

void event_from_stored(json& document) {
  for (const auto& [served, stored] : kEventNames) rename(document, stored, served);
  document["apiVersion"] = "events.k8s.io/v1";
}

// What autoscaling/v1 has no members for is carried in annotations of upstream's names, in the stored version's form.
constexpr const char* kMetricsNote = "autoscaling.alpha.kubernetes.io/metrics";
constexpr const char* kBehaviorNote = "autoscaling.alpha.kubernetes.io/behavior";
constexpr const char* kConditionsNote = "autoscaling.alpha.kubernetes.io/conditions";
constexpr const char* kCurrentNote = "autoscaling.alpha.kubernetes.io/current-metrics";

bool is_cpu_utilization(const json& metric) {
  return text(metric, {"type"}) == "Resource" && text(metric, {"resource", "name"}) == "cpu" &&
         !member(metric, {"resource", "target", "averageUtilization"}).is_null();
}

void put_note(json& document, const char* key, const json& value) {
  if (!value.is_null() && !value.empty()) make_member(document, {"metadata", "annotations", key}) = value.dump();
}

json take_note(json& document, const char* key) {
  const json& note = member(document, {"metadata", "annotations", key});
  if (!note.is_string()) return {};
  json out = json::parse(note.get<std::string>(), nullptr, false);
  erase_member(document, {"metadata", "annotations"}, key);
  if (member(document, {"metadata", "annotations"}).empty()) erase_member(document, {"metadata"}, "annotations");
  return out.is_discarded() ? json() : out;
}

void autoscaler_from_stored(json& document) {
  json rest = json::array();
  for (const json& metric : member(document, {"spec", "metrics"})) {
    if (is_cpu_utilization(metric) && !document["spec"].contains("targetCPUUtilizationPercentage")) {
      document["spec"]["targetCPUUtilizationPercentage"] = metric["resource"]["target"]["averageUtilization"];
    } else {
      rest.push_back(metric);
    }
  }
  put_note(document, kMetricsNote, rest);
  put_note(document, kBehaviorNote, member(document, {"spec", "behavior"}));
  erase_member(document, {"spec"}, "metrics");
  erase_member(document, {"spec"}, "behavior");
  json current = json::array();
  for (const json& metric : member(document, {"status", "currentMetrics"})) {
    const json& used = member(metric, {"resource", "current", "averageUtilization"});
    if (text(metric, {"type"}) == "Resource" && text(metric, {"resource", "name"}) == "cpu" && !used.is_null()) {
      document["status"]["currentCPUUtilizationPercentage"] = used;
    }
    current.push_back(metric);
  }
  put_note(document, kCurrentNote, current);
  put_note(document, kConditionsNote, member(document, {"status", "conditions"}));
  erase_member(document, {"status"}, "currentMetrics");
  erase_member(document, {"status"}, "conditions");
  document["apiVersion"] = "autoscaling/v1";
}

void autoscaler_to_stored(json& document) {
  json metrics = json::array();
  const json& percent = member(document, {"spec", "targetCPUUtilizationPercentage"});
  if (!percent.is_null()) {
    metrics.push_back(
        {{"type", "Resource"},
         {"resource", {{"name", "cpu"}, {"target", {{"type", "Utilization"}, {"averageUtilization", percent}}}}}});
  }
  for (const json& metric : take_note(document, kMetricsNote)) metrics.push_back(metric);
  erase_member(document, {"spec"}, "targetCPUUtilizationPercentage");
  if (!metrics.empty()) make_member(document, {"spec", "metrics"}) = std::move(metrics);
  if (json behavior = take_note(document, kBehaviorNote); !behavior.is_null())
    document["spec"]["behavior"] = std::move(behavior);
  if (json conditions = take_note(document, kConditionsNote); !conditions.is_null())
    document["status"]["conditions"] = std::move(conditions);
  if (json current = take_note(document, kCurrentNote); !current.is_null())
    document["status"]["currentMetrics"] = std::move(current);
  erase_member(document, {"status"}, "currentCPUUtilizationPercentage");
  document["apiVersion"] = "autoscaling/v2";
}

}  // namespace

const Conversion* find_conversion(const schema::ResourceInfo& served) {
  static const std::array kTable = {
      std::pair(schema::find_resource("events.k8s.io", "v1", "events"),
                Conversion{schema::find_resource("", "v1", "events"), event_to_stored, event_from_stored}),
      std::pair(schema::find_resource("autoscaling", "v1", "horizontalpodautoscalers"),
                Conversion{schema::find_resource("autoscaling", "v2", "horizontalpodautoscalers"), autoscaler_to_stored,
                           autoscaler_from_stored})};
  for (const auto& [info, conversion] : kTable) {
    if (info == &served) return &conversion;
  }
  return nullptr;
}

Result<api::Object> convert_out(const schema::ResourceInfo& served, const api::Object& object) {
  const Conversion* conversion = find_conversion(served);
  if (conversion == nullptr || object.head().gvk.kind != served.kind) return object;
  json document = object.to_json();
  conversion->from_stored(document);
  return api::Object::from_json(document);
}

}  // namespace kubernel::apiserver
