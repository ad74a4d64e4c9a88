// SPDX-License-Identifier: Apache-2.0
//
// Layouts of apps, batch, autoscaling, scheduling, node and resource.
#include <array>

#include <kubernel/api/quantity.h>

#include "schema/table/layout.h"

namespace kubernel::schema::table {

using api::Value;
using nlohmann::json;

namespace {

json ready_of_replicas(const Row& row) {
  return std::to_string(row.body["status"]["readyReplicas"].integer()) + "/" +
         std::to_string(row.body["spec"]["replicas"].integer());
}

bool is_true(const Row& row, std::string_view type) {
  return condition(row, type)["status"].string() == "True";
}

json job_status(const Row& row) {
  if (is_true(row, "Complete")) return "Complete";
  if (is_true(row, "Failed")) return "Failed";
  if (row.object.head().deleting) return "Terminating";
  if (is_true(row, "Suspended")) return "Suspended";
  if (is_true(row, "FailureTarget")) return "FailureTarget";
  if (is_true(row, "SuccessCriteriaMet")) return "SuccessCriteriaMet";
  return "Running";
}

json job_completions(const Row& row) {
  const std::string succeeded = std::to_string(row.body["status"]["succeeded"].integer());
  const Value spec = row.body["spec"];
  if (spec["completions"]) return succeeded + "/" + std::to_string(spec["completions"].integer());
  const auto parallelism = spec["parallelism"].integer();
  return succeeded + "/1" + (parallelism > 1 ? " of " + std::to_string(parallelism) : "");
}

json job_duration(const Row& row) {
  const auto started = api::read_time(row.body["status"]["startTime"]);
  if (!started) return "";
  const auto completed = api::read_time(row.body["status"]["completionTime"]);
  return api::human_duration((completed ? *completed : row.now) - *started);
}

json cron_suspend(const Row& row) {
  const Value suspend = row.body["spec"]["suspend"];
  if (!suspend) return "<unset>";
  return suspend.boolean() ? "True" : "False";
}

json cron_job_name_selector(const Row& row) {
  return selector_text(row.body.pointer("/spec/jobTemplate/spec/selector"), "<error>");
}

json revision_controller(const Row& row) {
  for (const Value owner : row.body["metadata"]["ownerReferences"]) {
    if (!owner["controller"].boolean()) continue;
    const api::GroupVersionKind gvk = api::make_gvk(owner["apiVersion"].string(), owner["kind"].string());
    std::string kind = gvk.kind;
    std::ranges::transform(kind, kind.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    return kind + (gvk.group.empty() ? "" : "." + gvk.group) + "/" + std::string(owner["name"].string());
  }
  return "<none>";
}

std::string reference(Value target) {
  return std::string(target["kind"].string()) + "/" + std::string(target["name"].string());
}
json scale_reference(const Row& row) {
  return reference(row.body["spec"]["scaleTargetRef"]);
}

std::string quantity_or(Value quantity, std::string_view when_absent) {
  return quantity ? api::Quantity::read(quantity).to_string() : std::string(when_absent);
}
std::string percent_or(Value percent, std::string_view when_absent) {
  return percent ? std::to_string(percent.integer()) + "%" : std::string(when_absent);
}

// One metric of an autoscaling/v2 spec beside what the status says of it.
std::string metric_text(Value spec, Value status) {
  const std::string_view type = spec["type"].string();
  const bool resource = type == "Resource" || type == "ContainerResource";
  const std::string_view member = type == "Resource"            ? "resource"
                                  : type == "ContainerResource" ? "containerResource"
                                  : type == "Pods"              ? "pods"
                                  : type == "Object"            ? "object"
                                  : type == "External"          ? "external"
                                                                : "";
  if (member.empty()) return "<unknown type>";
  const Value target = spec[member]["target"];
  const Value current = status[member]["current"];
  if (resource) {
    const std::string label = std::string(spec[member]["name"].string()) + ": ";
    if (target["averageValue"]) {
      return label + quantity_or(current["averageValue"], "<unknown>") + "/" + quantity_or(target["averageValue"], "");
    }
    return label + percent_or(current["averageUtilization"], "<unknown>") + "/" +
           percent_or(target["averageUtilization"], "<auto>");
  }
  if (type == "Pods" || target["averageValue"]) {
    const std::string suffix = type == "Pods" ? "" : " (avg)";
    return quantity_or(current["averageValue"], "<unknown>") + "/" + quantity_or(target["averageValue"], "") + suffix;
  }
  return quantity_or(current["value"], "<unknown>") + "/" + quantity_or(target["value"], "");
}

json autoscaler_targets(const Row& row) {
  constexpr std::size_t kShown = 2;
  const Value metrics = row.body["spec"]["metrics"];
  const Value current = row.body["status"]["currentMetrics"];
  if (metrics.empty()) return "<none>";
  std::string out;
  for (std::size_t i = 0; i < std::min(metrics.size(), kShown); ++i) {
    out += (i == 0 ? "" : ", ") + metric_text(metrics.at(i), current.at(i));
  }
  if (metrics.size() > kShown) out += " + " + std::to_string(metrics.size() - kShown) + " more...";
  return out;
}

json autoscaler_v1_targets(const Row& row) {
  const Value target = row.body["spec"]["targetCPUUtilizationPercentage"];
  if (!target) return "<none>";
  return "cpu: " + percent_or(row.body["status"]["currentCPUUtilizationPercentage"], "<unknown>") + "/" +
         percent_or(target, "<auto>");
}

json claim_state(const Row& row) {
  const bool deleted = row.object.head().deleting;
  const bool allocated = static_cast<bool>(row.body["status"]["allocation"]);
  std::string out = deleted ? "deleted" : "";
  const auto add = [&out](std::string_view word) { out += (out.empty() ? "" : ",") + std::string(word); };
  if (!allocated && !deleted) add("pending");
  if (allocated) add("allocated");
  if (!row.body["status"]["reservedFor"].empty()) add("reserved");
  return out;
}

constexpr ColumnRule kTemplateContainers{"Containers", "string", 1, containers<"/spec/template/spec">};
constexpr ColumnRule kTemplateImages{"Images", "string", 1, images<"/spec/template/spec">};
constexpr ColumnRule kLabelSelector{"Selector", "string", 1, selector<"/spec/selector">};
constexpr ColumnRule kDesired{"Desired", "integer", 0, integer<"/spec/replicas">};
constexpr ColumnRule kCurrent{"Current", "integer", 0, integer<"/status/replicas">};
constexpr ColumnRule kReady{"Ready", "integer", 0, integer<"/status/readyReplicas">};

constexpr std::array kReplicationController = {kName,
                                               kDesired,
                                               kCurrent,
                                               kReady,
                                               kAge,
                                               kTemplateContainers,
                                               kTemplateImages,
                                               ColumnRule{"Selector", "string", 1, pairs<"/spec/selector">}};
constexpr std::array kReplicaSet = {kName,           kDesired,      kCurrent, kReady, kAge, kTemplateContainers,
                                    kTemplateImages, kLabelSelector};
constexpr std::array kDaemonSet = {kName,
                                   ColumnRule{"Desired", "integer", 0, integer<"/status/desiredNumberScheduled">},
                                   ColumnRule{"Current", "integer", 0, integer<"/status/currentNumberScheduled">},
                                   ColumnRule{"Ready", "integer", 0, integer<"/status/numberReady">},
                                   ColumnRule{"Up-to-date", "integer", 0, integer<"/status/updatedNumberScheduled">},
                                   ColumnRule{"Available", "integer", 0, integer<"/status/numberAvailable">},
                                   ColumnRule{"Node Selector", "string", 0, pairs<"/spec/template/spec/nodeSelector">},
                                   kAge,
                                   kTemplateContainers,
                                   kTemplateImages,
                                   kLabelSelector};
constexpr std::array kStatefulSet = {kName, ColumnRule{"Ready", "string", 0, ready_of_replicas}, kAge,
                                     kTemplateContainers, kTemplateImages};
constexpr std::array kDeployment = {kName,
                                    ColumnRule{"Ready", "string", 0, ready_of_replicas},
                                    ColumnRule{"Up-to-date", "string", 0, integer<"/status/updatedReplicas">},
                                    ColumnRule{"Available", "string", 0, integer<"/status/availableReplicas">},
                                    kAge,
                                    kTemplateContainers,
                                    kTemplateImages,
                                    ColumnRule{"Selector", "string", 1, selector<"/spec/selector", "<invalid>">}};
constexpr std::array kControllerRevision = {kName, ColumnRule{"Controller", "string", 0, revision_controller},
                                            ColumnRule{"Revision", "string", 0, integer<"/revision">}, kAge};
constexpr std::array kJob = {kName,
                             ColumnRule{"Status", "string", 0, job_status},
                             ColumnRule{"Completions", "string", 0, job_completions},
                             ColumnRule{"Duration", "string", 0, job_duration},
                             kAge,
                             kTemplateContainers,
                             kTemplateImages,
                             kLabelSelector};
constexpr std::array kCronJob = {
    kName,
    ColumnRule{"Schedule", "string", 0, text<"/spec/schedule">},
    ColumnRule{"Timezone", "string", 0, text<"/spec/timeZone", "<none>">},
    ColumnRule{"Suspend", "boolean", 0, cron_suspend},
    ColumnRule{"Active", "integer", 0, size<"/status/active">},
    ColumnRule{"Last Schedule", "string", 0, age_of<"/status/lastScheduleTime", "<none>">},
    kAge,
    ColumnRule{"Containers", "string", 1, containers<"/spec/jobTemplate/spec/template/spec">},
    ColumnRule{"Images", "string", 1, images<"/spec/jobTemplate/spec/template/spec">},
    ColumnRule{"Selector", "string", 1, cron_job_name_selector}};
constexpr ColumnRule kReference{"Reference", "string", 0, scale_reference};
constexpr ColumnRule kMinPods{"MinPods", "string", 0, scalar<"/spec/minReplicas", "<unset>">};
constexpr ColumnRule kMaxPods{"MaxPods", "string", 0, integer<"/spec/maxReplicas">};
constexpr ColumnRule kReplicas{"Replicas", "string", 0, integer<"/status/currentReplicas">};
constexpr std::array kAutoscaler = {
    kName, kReference, ColumnRule{"Targets", "string", 0, autoscaler_targets}, kMinPods, kMaxPods, kReplicas, kAge};
constexpr std::array kAutoscalerV1 = {
    kName, kReference, ColumnRule{"Targets", "string", 0, autoscaler_v1_targets}, kMinPods, kMaxPods, kReplicas, kAge};
constexpr std::array kScale = {kName, kDesired, ColumnRule{"Available", "integer", 0, integer<"/status/replicas">},
                               kAge};
constexpr std::array kPriorityClass = {kName, ColumnRule{"Value", "integer", 0, integer<"/value">},
                                       ColumnRule{"Global-Default", "boolean", 0, boolean<"/globalDefault">}, kAge,
                                       ColumnRule{"PreemptionPolicy", "string", 0, text<"/preemptionPolicy">}};
constexpr std::array kRuntimeClass = {kName, ColumnRule{"Handler", "string", 0, text<"/handler">}, kAge};
constexpr std::array kNameAndAge = {kName, kAge};
constexpr std::array kResourceClaim = {kName, ColumnRule{"State", "string", 0, claim_state}, kAge};
constexpr std::array kResourceSlice = {kName, ColumnRule{"Node", "string", 0, text<"/spec/nodeName">},
                                       ColumnRule{"Driver", "string", 0, text<"/spec/driver">},
                                       ColumnRule{"Pool", "string", 0, text<"/spec/pool/name">}, kAge};

constexpr std::array kLayouts = {Layout{"", "v1", "ReplicationController", kReplicationController},
                                 Layout{"apps", "v1", "ReplicaSet", kReplicaSet},
                                 Layout{"apps", "v1", "DaemonSet", kDaemonSet},
                                 Layout{"apps", "v1", "StatefulSet", kStatefulSet},
                                 Layout{"apps", "v1", "Deployment", kDeployment},
                                 Layout{"apps", "v1", "ControllerRevision", kControllerRevision},
                                 Layout{"batch", "v1", "Job", kJob},
                                 Layout{"batch", "v1", "CronJob", kCronJob},
                                 Layout{"autoscaling", "v2", "HorizontalPodAutoscaler", kAutoscaler},
                                 Layout{"autoscaling", "v1", "HorizontalPodAutoscaler", kAutoscalerV1},
                                 Layout{"autoscaling", "v1", "Scale", kScale},
                                 Layout{"scheduling.k8s.io", "v1", "PriorityClass", kPriorityClass},
                                 Layout{"node.k8s.io", "v1", "RuntimeClass", kRuntimeClass},
                                 Layout{"resource.k8s.io", "", "DeviceClass", kNameAndAge},
                                 Layout{"resource.k8s.io", "", "ResourceClaim", kResourceClaim},
                                 Layout{"resource.k8s.io", "", "ResourceClaimTemplate", kNameAndAge},
                                 Layout{"resource.k8s.io", "", "ResourceSlice", kResourceSlice}};

}  // namespace

std::span<const Layout> workload_layouts() {
  return kLayouts;
}

}  // namespace kubernel::schema::table
