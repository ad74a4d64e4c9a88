// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <limits>

#include <nlohmann/json.hpp>

#include <kubernel/api/time.h>
#include <kubernel/controller/conditions.h>

#include "rollout.h"

namespace kubernel::plugins::deployment {

using api::Object;
using api::Value;
using api::resources::kDeployments;
using controller::Next;
using nlohmann::json;
using std::chrono::seconds;

json Rollout::condition(const char* type, const char* status, const char* reason, const std::string& message) const {
  const std::string now = api::format_time(services_.clock.wall_now());
  return {{"type", type},       {"status", status},      {"reason", reason},
          {"message", message}, {"lastUpdateTime", now}, {"lastTransitionTime", now}};
}

bool Rollout::has_progress_deadline() const {
  // Validation fills in 600; the largest int32 means none.
  const Value deadline = deployment_.pointer("/spec/progressDeadlineSeconds");
  return deadline && !deadline.is_null() && deadline.integer() != std::numeric_limits<std::int32_t>::max();
}

json Rollout::status_of(const Split& sets) const {
  const ReplicaSets all = sets.all();
  const ReplicaSets newest = sets.newest ? ReplicaSets{*sets.newest} : ReplicaSets{};
  const std::int64_t available = total_status(all, "availableReplicas");
  json status = json::object();
  const auto count = [&](const char* field, std::int64_t value) {
    if (value != 0) status[field] = value;  // Absent when zero, as Go's omitempty leaves them.
  };
  count("observedGeneration", deployment_.head().generation);
  count("replicas", total_status(all, "replicas"));
  count("updatedReplicas", total_status(newest, "replicas"));
  count("readyReplicas", total_status(all, "readyReplicas"));
  count("availableReplicas", available);
  count("unavailableReplicas", std::max<std::int64_t>(total_spec_replicas(all) - available, 0));
  const bool all_tell = std::ranges::all_of(
      all, [](const Object& set) { return set.pointer("/status/terminatingReplicas").kind() == Value::Kind::Integer; });
  if (all_tell) status["terminatingReplicas"] = total_status(all, "terminatingReplicas");
  if (const Value collisions = deployment_.pointer("/status/collisionCount"))
    status["collisionCount"] = collisions.to_json();

  const Value before = deployment_.pointer("/status/conditions");
  json conditions = before.is_array() ? before.to_json() : json::array();
  if (available >= spec_replicas(deployment_) - fenceposts(deployment_).unavailable) {
    controller::set_condition(
        conditions, condition("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability."));
  } else {
    controller::set_condition(conditions, condition("Available", "False", "MinimumReplicasUnavailable",
                                                    "Deployment does not have minimum availability."));
  }
  status["conditions"] = std::move(conditions);
  return status;
}

bool Rollout::complete(const json& status) const {
  const std::int64_t wanted = spec_replicas(deployment_);
  return status.value("updatedReplicas", std::int64_t{0}) == wanted &&
         status.value("replicas", std::int64_t{0}) == wanted &&
         status.value("availableReplicas", std::int64_t{0}) == wanted &&
         status.value("observedGeneration", std::int64_t{0}) >= deployment_.head().generation;
}

// More new pods, fewer old ones, or more that work, than the last time.
bool Rollout::progressing(const json& status) const {
  const auto before = [&](const char* field) { return status_count(deployment_, field); };
  const auto now = [&](const char* field) { return status.value(field, std::int64_t{0}); };
  return now("updatedReplicas") > before("updatedReplicas") ||
         now("replicas") - now("updatedReplicas") < before("replicas") - before("updatedReplicas") ||
         now("readyReplicas") > before("readyReplicas") || now("availableReplicas") > before("availableReplicas");
}

bool Rollout::timed_out(const json& status) const {
  if (!status.contains("conditions")) return false;
  json conditions = status["conditions"];
  const json* progress = controller::find_condition(conditions, "Progressing");
  if (progress == nullptr) return false;
  const std::string reason = progress->value("reason", "");
  if (reason == "NewReplicaSetAvailable") return false;
  if (reason == "ProgressDeadlineExceeded") return true;
  const auto from = api::parse_time(progress->value("lastUpdateTime", ""));
  const seconds deadline(deployment_.pointer("/spec/progressDeadlineSeconds").integer());
  return from && *from + deadline < services_.clock.wall_now();
}

void Rollout::tell_progress(const Split& sets, json& status) const {
  json& conditions = status["conditions"];
  const json* found = controller::find_condition(conditions, "Progressing");
  const json current = found == nullptr ? json() : *found;
  // A rollout that is over stays over, whatever happens to single pods later.
  const bool over = status.value("replicas", 0) == status.value("updatedReplicas", 0) && current.is_object() &&
                    current.value("reason", "") == "NewReplicaSetAvailable";
  if (over) return;
  const std::string subject =
      sets.newest ? "ReplicaSet \"" + sets.newest->name() + "\"" : "Deployment \"" + deployment_.name() + "\"";
  if (complete(status)) {
    controller::set_condition(conditions, condition("Progressing", "True", "NewReplicaSetAvailable",
                                                    subject + " has successfully progressed."));
  } else if (progressing(status)) {
    json updated = condition("Progressing", "True", "ReplicaSetUpdated", subject + " is progressing.");
    // Its update time moves with every step, which set_condition() would not do for an equal reason.
    if (current.is_object() && current.value("status", "") == "True" && current.contains("lastTransitionTime")) {
      updated["lastTransitionTime"] = current["lastTransitionTime"];
    }
    controller::remove_condition(conditions, "Progressing");
    controller::set_condition(conditions, std::move(updated));
  } else if (timed_out(status)) {
    controller::set_condition(conditions, condition("Progressing", "False", "ProgressDeadlineExceeded",
                                                    subject + " has timed out progressing."));
  }
}

Result<Next> Rollout::write_rollout_status(const Split& sets) {
  json status = status_of(sets);
  if (has_progress_deadline()) {
    tell_progress(sets, status);
  } else {
    controller::remove_condition(status["conditions"], "Progressing");
  }
  // A set that cannot make pods is the deployment's failure; the newest one's first.
  std::optional<json> failure;
  ReplicaSets sorted = sets.all();
  std::ranges::reverse(sorted);
  for (const Object& set : sorted) {
    const Value failed = controller::find_condition(set.pointer("/status/conditions"), "ReplicaFailure");
    if (!failed || failure) continue;
    failure = condition("ReplicaFailure", "True", "", std::string(failed["message"].string()));
    (*failure)["status"] = std::string(failed["status"].string());
    (*failure)["reason"] = std::string(failed["reason"].string());
  }
  if (failure) {
    controller::set_condition(status["conditions"], *failure);
  } else {
    controller::remove_condition(status["conditions"], "ReplicaFailure");
  }
  if (deployment_["status"].to_json() == status) return look_again(status);
  KUBERNEL_CHECK_OK(write_status(status));
  return look_again(status);
}

Result<Next> Rollout::write_plain_status(const Split& sets) {
  const json status = status_of(sets);
  if (deployment_["status"].to_json() != status) KUBERNEL_CHECK_OK(write_status(status));
  return Next::done();
}

// A rollout that does nothing makes no event; only the clock tells that it is stuck.
Next Rollout::look_again(const json& status) const {
  if (!has_progress_deadline() || !status.contains("conditions")) return Next::done();
  json conditions = status["conditions"];
  const json* progress = controller::find_condition(conditions, "Progressing");
  if (progress == nullptr || complete(status) || progress->value("reason", "") == "ProgressDeadlineExceeded")
    return Next::done();
  if (progress->value("reason", "") == "NewReplicaSetAvailable") return Next::done();
  const auto from = api::parse_time(progress->value("lastUpdateTime", ""));
  if (!from) return Next::done();
  const seconds deadline(deployment_.pointer("/spec/progressDeadlineSeconds").integer());
  const auto left = std::chrono::ceil<seconds>(*from + deadline - services_.clock.wall_now());
  return Next::after(std::max(left, seconds(0)) + seconds(1));  // A second more: times have whole seconds.
}

// The clock of a paused rollout stands still; this says so.
Result<void> Rollout::mark_paused() {
  if (!has_progress_deadline()) return {};
  const Value progress = controller::find_condition(deployment_.pointer("/status/conditions"), "Progressing");
  if (progress["reason"].string() == "ProgressDeadlineExceeded") return {};
  const bool paused = deployment_.pointer("/spec/paused").boolean();
  const bool marked = progress["reason"].string() == "DeploymentPaused";
  if (paused && !marked) return add_condition("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused");
  if (!paused && marked) return add_condition("Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed");
  return {};
}

Result<void> Rollout::add_condition(const char* type, const char* status, const char* reason,
                                    const std::string& message) {
  json document = deployment_["status"].is_object() ? deployment_["status"].to_json() : json::object();
  controller::set_condition(document["conditions"], condition(type, status, reason, message));
  return write_status(document);
}

Result<void> Rollout::write_status(const json& status) {
  json document = deployment_.to_json();
  document["status"] = status;
  KUBERNEL_TRY(deployment_,
               services_.api.update(ctx_, kDeployments, deployment_.key(), document, {.subresource = "status"}));
  return {};
}

}  // namespace kubernel::plugins::deployment
