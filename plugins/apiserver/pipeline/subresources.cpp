// SPDX-License-Identifier: Apache-2.0
//
// Subresources that are more than a part of their object: scale, binding, eviction.
#include <algorithm>
#include <utility>

#include <kubernel/api/selector.h>
#include <kubernel/api/time.h>

#include "pipeline/api.h"
#include "registry/errors.h"

namespace kubernel::apiserver {

namespace {

std::string selector_text(const json& workload) {
  const json& selector = member(workload, {"spec", "selector"});
  if (!selector.is_object()) return {};
  const auto document = api::Document::parse(selector.dump());
  if (!document) return {};
  // Replication controllers select by a plain map.
  if (text(workload, {"kind"}) == "ReplicationController")
    return api::LabelSelector::from_map((*document)->root()).to_string();
  const auto parsed = api::LabelSelector::from_api((*document)->root());
  return parsed ? parsed->to_string() : "";
}

// Answers of binding and eviction are Statuses.
json success_status() {
  return {{"kind", "Status"}, {"apiVersion", "v1"}, {"metadata", json::object()}, {"status", "Success"}, {"code", 201}};
}

void set_scheduled(json& pod, const std::string& now) {
  json& conditions = make_member(pod, {"status", "conditions"});
  if (!conditions.is_array()) conditions = json::array();
  const auto place = std::find_if(conditions.begin(), conditions.end(),
                                  [](const json& one) { return text(one, {"type"}) == "PodScheduled"; });
  json condition = {
      {"type", "PodScheduled"}, {"status", "True"}, {"lastProbeTime", nullptr}, {"lastTransitionTime", now}};
  if (place == conditions.end()) {
    conditions.push_back(std::move(condition));
  } else if (text(*place, {"status"}) != "True") {
    *place = std::move(condition);
  }
}

Error would_violate(const std::string& budget, std::int64_t current, std::int64_t desired) {
  ErrorDetails details;
  details.causes.push_back({"DisruptionBudget",
                            "The disruption budget " + budget + " needs " + std::to_string(desired) +
                                " healthy pods and has " + std::to_string(current) + " currently",
                            ""});
  return Error(Reason::TooManyRequests, "Cannot evict pod as it would violate the pod's disruption budget.",
               std::move(details));
}

}  // namespace

json make_scale(const json& workload) {
  json scale = {{"kind", "Scale"}, {"apiVersion", "autoscaling/v1"}};
  for (const char* field : {"name", "namespace", "uid", "resourceVersion", "creationTimestamp"}) {
    copy_member(make_member(scale, {"metadata"}), member(workload, {"metadata"}), field);
  }
  scale["spec"] = json::object();
  if (const auto wanted = number(workload, {"spec", "replicas"}); wanted != 0) scale["spec"]["replicas"] = wanted;
  scale["status"] = {{"replicas", number(workload, {"status", "replicas"})}};
  if (std::string selector = selector_text(workload); !selector.empty())
    scale["status"]["selector"] = std::move(selector);
  return scale;
}

Result<Updated> Api::update_scale(const Caller& caller, const Target& target, const Wish& wish, bool dry_run) const {
  const Wish fold = [&](const json& current) -> Result<json> {
    KUBERNEL_TRY(const json scale, wish(make_scale(current)));
    const std::int64_t replicas = number(scale, {"spec", "replicas"});
    if (replicas < 0) {
      return invalid(*target.info, target.key.name,
                     {invalid_value("spec.replicas", std::to_string(replicas), "must be greater than or equal to 0")});
    }
    json out = current;
    out["spec"]["replicas"] = replicas;
    const std::string version = text(scale, {"metadata", "resourceVersion"});
    if (!version.empty()) out["metadata"]["resourceVersion"] = version;
    return out;
  };
  // Written as a change of the workload itself, so that its generation and its rules apply.
  Target whole{target.info, "", target.key};
  KUBERNEL_TRY(Updated updated, update_object(caller, whole, fold, {}, dry_run));
  KUBERNEL_TRY(updated.object, api::Object::from_json(make_scale(updated.object.to_json())));
  return updated;
}

Result<api::Object> Api::bind_pod(const Caller& caller, const Target& target, const json& binding, bool dry_run) const {
  const std::string node = text(binding, {"target", "name"});
  const std::string kind = text(binding, {"target", "kind"});
  Causes causes;
  if (!kind.empty() && kind != "Node" && kind != "Minion") {
    causes.push_back(not_supported("target.kind", quote(kind), {"Node", "<empty>"}));
  }
  if (node.empty()) causes.push_back(required("target.name", ""));
  if (!causes.empty()) return invalid(*target.info, target.key.name, std::move(causes));

  const Store* store = this->store(*target.info);
  UpdateRequest request;
  request.key = target.key;
  request.dry_run = dry_run;
  request.part = Part::Anything;
  request.desired = [&](const api::Object& current) -> Result<json> {
    const auto refuse = [&](const std::string& why) {
      return Error(Reason::Conflict,
                   "Operation cannot be fulfilled on pods/binding " + quote(target.key.name) + ": " + why,
                   ErrorDetails{target.key.name, "", "pods/binding", "", {}, 0});
    };
    json pod = current.to_json();
    const std::string uid = text(binding, {"metadata", "uid"});
    if (!uid.empty() && uid != current.uid()) {
      return refuse("Precondition failed: UID in precondition: " + uid + ", UID in object meta: " + current.uid());
    }
    if (current.head().deleting)
      return refuse("pod " + target.key.name + " is being deleted, cannot be assigned to a host");
    const std::string bound = text(pod, {"spec", "nodeName"});
    if (!bound.empty()) return refuse("pod " + target.key.name + " is already assigned to node " + quote(bound));
    if (!member(pod, {"spec", "schedulingGates"}).empty())
      return refuse("pod " + target.key.name + " has non-empty .spec.schedulingGates");
    pod["spec"]["nodeName"] = node;
    for (const auto& [key, value] : member(binding, {"metadata", "annotations"}).items()) {
      make_member(pod, {"metadata", "annotations"})[key] = value;
    }
    set_scheduled(pod, api::format_time(context_.clock.wall_now()));
    return pod;
  };
  request.hooks = hooks(caller, target, admission::Operation::Create, dry_run);
  request.hooks.mutate = {};
  KUBERNEL_CHECK_OK(store->update(caller.ctx, request));
  return api::Object::from_json(success_status());
}

Result<void> Api::use_disruption_budget(const Caller& caller, const api::Object& pod, bool dry_run) const {
  const schema::ResourceInfo* budgets_info = find("policy", "v1", "poddisruptionbudgets");
  const Store* budgets = store(*budgets_info);
  ListQuery query;
  query.filter.ns = pod.ns();
  KUBERNEL_TRY(const ListResult all, budgets->list(caller.ctx, query));
  std::vector<api::Object> guarding;
  for (const api::Object& budget : all.items) {
    const auto selector = api::LabelSelector::from_api(budget["spec"]["selector"]);
    if (selector && selector->matches(pod.labels())) guarding.push_back(budget);
  }
  if (guarding.empty()) return {};
  if (guarding.size() > 1) {
    return Error(Reason::Internal,
                 "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.");
  }
  UpdateRequest request;
  request.key = guarding.front().key();
  request.dry_run = dry_run;
  request.part = Part::Status;
  request.desired = [&](const api::Object& current) -> Result<json> {
    json budget = current.to_json();
    const std::int64_t allowed = number(budget, {"status", "disruptionsAllowed"});
    if (number(budget, {"status", "observedGeneration"}) < current.head().generation) {
      return Error(
          Reason::TooManyRequests, "Cannot evict pod as it would violate the pod's disruption budget.",
          ErrorDetails{"",
                       "",
                       "",
                       "",
                       {{"DisruptionBudget",
                         "The disruption budget " + current.name() + " is still being processed by the server.", ""}},
                       10});
    }
    if (allowed <= 0) {
      return would_violate(current.name(), number(budget, {"status", "currentHealthy"}),
                           number(budget, {"status", "desiredHealthy"}));
    }
    budget["status"]["disruptionsAllowed"] = allowed - 1;
    make_member(budget, {"status", "disruptedPods"})[pod.name()] = api::format_time(context_.clock.wall_now());
    return budget;
  };
  KUBERNEL_CHECK_OK(budgets->update(caller.ctx, request));
  return {};
}

Result<api::Object> Api::evict_pod(const Caller& caller, const Target& target, const json& eviction,
                                   bool dry_run) const {
  const Store* store = this->store(*target.info);
  KUBERNEL_TRY(const api::Object pod, store->get(caller.ctx, target.key, ""));
  const json& asked = member(eviction, {"deleteOptions"});
  client::DeleteOptions options;
  const json& grace = member(asked, {"gracePeriodSeconds"});
  if (grace.is_number_integer()) options.grace_period_seconds = grace.get<std::int64_t>();
  options.precondition_uid = text(asked, {"preconditions", "uid"});
  options.precondition_resource_version = text(asked, {"preconditions", "resourceVersion"});
  options.dry_run = dry_run;

  // A pod that does not run, or is going anyway, disturbs nobody.
  const std::string_view phase = pod["status"]["phase"].string();
  const bool idle = phase == "Succeeded" || phase == "Failed" || phase == "Pending" || pod.head().deleting;
  if (!idle) {
    if (options.precondition_uid.empty()) options.precondition_uid = pod.uid();
    KUBERNEL_CHECK_OK(use_disruption_budget(caller, pod, dry_run));
  }
  KUBERNEL_CHECK_OK(store->remove(caller.ctx, DeleteRequest{target.key, options, {}}));
  return api::Object::from_json(success_status());
}

}  // namespace kubernel::apiserver
