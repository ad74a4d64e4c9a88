// SPDX-License-Identifier: Apache-2.0
#include "rollout.h"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include <kubernel/controller/conditions.h>
#include <kubernel/controller/owners.h>
#include <kubernel/controller/pods.h>

namespace kubernel::plugins::deployment {

using api::Object;
using api::resources::kDeployments;
using api::resources::kReplicaSets;
using controller::Next;
using nlohmann::json;

namespace {

ReplicaSets active(const ReplicaSets& sets) {
  ReplicaSets out;
  std::ranges::copy_if(sets, std::back_inserter(out), [](const Object& set) { return spec_replicas(set) > 0; });
  return out;
}

bool own_annotation(std::string_view name) {
  return name == "kubectl.kubernetes.io/last-applied-configuration" || name == "deprecated.deployment.rollback.to" ||
         name == kRevision || name == kRevisionHistory || name == kDesiredReplicas || name == kMaxReplicas;
}

}  // namespace

ReplicaSets Rollout::Split::all() const {
  ReplicaSets out = old;
  if (newest) out.push_back(*newest);
  return out;
}

Result<Next> Rollout::run() {
  if (deployment_.head().deleting) return write_plain_status(split());
  KUBERNEL_CHECK_OK(mark_paused());
  if (deployment_.pointer("/spec/paused").boolean()) return sync();
  KUBERNEL_TRY(const bool scaled, scaling_event());
  if (scaled) return sync();
  return rolling(deployment_) ? roll() : recreate();
}

Rollout::Split Rollout::split() const {
  Split out;
  ReplicaSets sorted = sets_;
  sort_by_age(sorted);
  for (Object& set : sorted) {
    // Of several sets with this template the oldest is the one.
    if (!out.newest && same_template(deployment_, set)) {
      out.newest = std::move(set);
    } else {
      out.old.push_back(std::move(set));
    }
  }
  return out;
}

// The sets, with the newest one brought up to date, or created when `create`.
Result<Rollout::Split> Rollout::current_sets(bool create) {
  Split sets = split();
  const std::int64_t revision = highest_revision(sets.old) + 1;
  if (sets.newest) {
    KUBERNEL_TRY(sets.newest, refresh_newest(*sets.newest, revision));
  } else if (create) {
    KUBERNEL_TRY(sets.newest, create_newest(sets, revision));
    if (sets.newest) sets_.push_back(*sets.newest);
  }
  return sets;
}

Result<Object> Rollout::refresh_newest(const Object& set, std::int64_t revision) {
  json document = set.to_json();
  bool changed = annotate(document, revision, true);
  const auto min_ready = deployment_.pointer("/spec/minReadySeconds").integer();
  if (set.pointer("/spec/minReadySeconds").integer() != min_ready) {
    document["spec"]["minReadySeconds"] = min_ready;
    changed = true;
  }
  Object current = set;
  if (changed) {
    KUBERNEL_TRY(current, services_.api.update(ctx_, kReplicaSets, set.key(), document, {}));
    for (Object& known : sets_) {
      if (known.uid() == current.uid()) known = current;
    }
  }
  KUBERNEL_CHECK_OK(adopt_revision(current));
  if (has_progress_deadline() &&
      !controller::find_condition(deployment_.pointer("/status/conditions"), "Progressing")) {
    KUBERNEL_CHECK_OK(
        add_condition("Progressing", "True", "FoundNewReplicaSet", "Found new replica set \"" + set.name() + "\""));
  }
  return current;
}

Result<std::optional<Object>> Rollout::create_newest(const Split& sets, std::int64_t revision) {
  json pod_template = deployment_.pointer("/spec/template").to_json();
  const std::string hash =
      controller::template_hash(pod_template, deployment_.pointer("/status/collisionCount").integer());
  const std::string name = deployment_.name() + "-" + hash;
  pod_template["metadata"]["labels"]["pod-template-hash"] = hash;
  json selector = deployment_.pointer("/spec/selector").to_json();
  selector["matchLabels"]["pod-template-hash"] = hash;
  json document = {
      {"apiVersion", "apps/v1"},
      {"kind", "ReplicaSet"},
      {"metadata",
       {{"name", name},
        {"namespace", deployment_.ns()},
        {"labels", pod_template["metadata"]["labels"]},
        {"ownerReferences", json::array({controller::controller_reference(deployment_)})}}},
      {"spec", {{"replicas", 0}, {"selector", std::move(selector)}, {"template", std::move(pod_template)}}}};
  if (const auto seconds = deployment_.pointer("/spec/minReadySeconds").integer(); seconds > 0) {
    document["spec"]["minReadySeconds"] = seconds;
  }
  annotate(document, revision, false);
  KUBERNEL_TRY(const Object empty, Object::from_json(document));
  const std::int64_t replicas = new_set_replicas(deployment_, sets.old, empty);
  document["spec"]["replicas"] = replicas;

  auto created = services_.api.create(ctx_, kReplicaSets, {deployment_.ns(), ""}, document, {});
  if (!created && created.error().reason() == Reason::AlreadyExists) return taken_name(name, created.error());
  if (!created) {
    KUBERNEL_CHECK_OK(creation_failed(name, created.error()));
    return std::optional<Object>();  // The namespace is going.
  }
  if (replicas > 0) {
    services_.events.record(deployment_, "Normal", "ScalingReplicaSet",
                            "Scaled up replica set " + name + " from 0 to " + std::to_string(replicas));
  }
  KUBERNEL_CHECK_OK(adopt_revision(*created));
  if (has_progress_deadline()) {
    KUBERNEL_CHECK_OK(
        add_condition("Progressing", "True", "NewReplicaSetCreated", "Created new replica set \"" + name + "\""));
  }
  return std::optional<Object>(*std::move(created));
}

// A set of that name exists. Ours, which the cache has not shown yet; or another's, then the next hash is tried.
Result<std::optional<Object>> Rollout::taken_name(const std::string& name, const Error& refused) {
  KUBERNEL_TRY(Object existing, services_.api.get(ctx_, kReplicaSets, {deployment_.ns(), name}, {}));
  if (existing.head().controller_uid == deployment_.uid() && same_template(deployment_, existing)) {
    KUBERNEL_CHECK_OK(adopt_revision(existing));
    return std::optional<Object>(std::move(existing));
  }
  json status = deployment_["status"].is_object() ? deployment_["status"].to_json() : json::object();
  status["collisionCount"] = status.value("collisionCount", 0) + 1;
  KUBERNEL_CHECK_OK(write_status(status));
  return Error(Reason::Conflict, refused.message());  // To be tried again with the new count.
}

Result<void> Rollout::creation_failed(const std::string& name, const Error& error) {
  if (controller::namespace_terminating(error)) return {};
  const std::string message = "Failed to create new replica set \"" + name + "\": " + error.message();
  if (has_progress_deadline()) {
    KUBERNEL_CHECK_OK(add_condition("Progressing", "False", "ReplicaSetCreateError", message));
  }
  services_.events.record(deployment_, "Warning", "ReplicaSetCreateError", message);
  return error;
}

// The deployment carries the revision of its newest set.
Result<void> Rollout::adopt_revision(const Object& set) {
  const auto revision = set.annotations()[kRevision].string();
  if (revision.empty() || deployment_.annotations()[kRevision].string() == revision) return {};
  // A write of the status: it does not count as a new generation of the deployment.
  json document = deployment_.to_json();
  document["metadata"]["annotations"][std::string(kRevision)] = std::string(revision);
  KUBERNEL_TRY(deployment_,
               services_.api.update(ctx_, kDeployments, deployment_.key(), document, {.subresource = "status"}));
  return {};
}

// Brings a set's annotations to what they are to be; true when that changed anything.
bool Rollout::annotate(json& set, std::int64_t revision, bool exists) const {
  json& metadata = set["metadata"];
  if (!metadata.contains("annotations")) metadata["annotations"] = json::object();
  json& annotations = metadata["annotations"];
  const json before = annotations;
  const api::Value own = deployment_.annotations();
  for (auto it = own.begin(); it != own.end(); ++it) {
    if (!own_annotation(it.key())) annotations[std::string(it.key())] = std::string((*it).string());
  }
  const std::string revision_key(kRevision), history_key(kRevisionHistory);
  const std::string old = annotations.value(revision_key, "");
  const std::int64_t old_number = old.empty() ? 0 : std::strtoll(old.c_str(), nullptr, 10);
  if (old_number < revision) {
    annotations[revision_key] = std::to_string(revision);
    // A set that comes back into use remembers the numbers it had.
    if (exists && old_number > 0) {
      const std::string history = annotations.value(history_key, "");
      annotations[history_key] = history.empty() ? old : history + "," + old;
    }
  }
  if (!exists) {
    const std::int64_t replicas = spec_replicas(deployment_);
    annotations[std::string(kDesiredReplicas)] = std::to_string(replicas);
    annotations[std::string(kMaxReplicas)] = std::to_string(replicas + fenceposts(deployment_).surge);
  }
  const bool changed = annotations != before;
  if (annotations.empty()) metadata.erase("annotations");
  return changed;
}

// True when spec.replicas changed since the sets were sized.
Result<bool> Rollout::scaling_event() {
  KUBERNEL_TRY(const Split sets, current_sets(false));
  const std::string wanted = std::to_string(spec_replicas(deployment_));
  return std::ranges::any_of(active(sets.all()), [&](const Object& set) {
    const auto desired = set.annotations()[kDesiredReplicas].string();
    return !desired.empty() && desired != wanted;
  });
}

Result<Next> Rollout::sync() {
  KUBERNEL_TRY(Split sets, current_sets(false));
  KUBERNEL_CHECK_OK(scale_all(sets));
  sets = split();
  if (deployment_.pointer("/spec/paused").boolean()) KUBERNEL_CHECK_OK(drop_history(sets.old));
  return write_plain_status(sets);
}

Result<void> Rollout::scale_all(const Split& sets) {
  ReplicaSets busy = active(sets.all());
  if (busy.size() <= 1) {
    // One set is all there is, or none is in use: then the newest, or the last one there was.
    std::optional<Object> only = busy.empty() ? sets.newest : std::optional(busy.front());
    if (!only && !sets.old.empty()) only = sets.old.back();
    if (!only) return {};
    KUBERNEL_CHECK_OK(scale_to(*only, spec_replicas(deployment_)));
    return {};
  }
  const bool saturated =
      sets.newest && spec_replicas(*sets.newest) == spec_replicas(deployment_) &&
      sets.newest->annotations()[kDesiredReplicas].string() == std::to_string(spec_replicas(deployment_)) &&
      status_count(*sets.newest, "availableReplicas") == spec_replicas(deployment_);
  if (saturated) {
    for (const Object& set : active(sets.old)) KUBERNEL_CHECK_OK(scale_to(set, 0));
    return {};
  }
  if (!rolling(deployment_)) return {};
  const auto sizes = proportional_sizes(deployment_, busy);
  for (const Object& set : busy) KUBERNEL_CHECK_OK(scale_to(set, sizes.at(set.name())));
  return {};
}

Result<Next> Rollout::roll() {
  KUBERNEL_TRY(const Split sets, current_sets(true));
  if (!sets.newest) return write_rollout_status(sets);
  KUBERNEL_TRY(const bool grown, scale_newest(sets));
  if (grown) return write_rollout_status(split());
  KUBERNEL_TRY(const bool shrunk, scale_down_old(sets));
  if (shrunk) return write_rollout_status(split());
  if (complete(status_of(sets))) KUBERNEL_CHECK_OK(drop_history(sets.old));
  return write_rollout_status(sets);
}

Result<bool> Rollout::scale_newest(const Split& sets) {
  const std::int64_t current = spec_replicas(*sets.newest);
  const std::int64_t wanted = spec_replicas(deployment_);
  if (current == wanted) return false;
  return scale_to(*sets.newest, current > wanted ? wanted : new_set_replicas(deployment_, sets.all(), *sets.newest));
}

Result<bool> Rollout::scale_down_old(const Split& sets) {
  ReplicaSets old = active(sets.old);
  if (old.empty()) return false;
  const std::int64_t needed = spec_replicas(deployment_) - fenceposts(deployment_).unavailable;
  const std::int64_t not_there_yet = spec_replicas(*sets.newest) - status_count(*sets.newest, "availableReplicas");
  const std::int64_t at_most = total_spec_replicas(sets.all()) - needed - not_there_yet;
  if (at_most <= 0) return false;
  // What does not work is of no loss, and must not stand in the way of what may.
  KUBERNEL_TRY(std::int64_t dropped, drop_unhealthy(old, at_most));

  // A status may still count pods that a smaller size has given up; they are not there to be given up again.
  std::int64_t spare = std::min(status_count(*sets.newest, "availableReplicas"), spec_replicas(*sets.newest)) - needed;
  for (const Object& set : old) spare += std::min(status_count(set, "availableReplicas"), spec_replicas(set));
  for (const Object& set : old) {
    if (spare <= 0) break;
    const std::int64_t fewer = std::min(spec_replicas(set), spare);
    if (fewer == 0) continue;
    KUBERNEL_CHECK_OK(scale_to(set, spec_replicas(set) - fewer));
    spare -= fewer;
    dropped += fewer;
  }
  return dropped > 0;
}

Result<std::int64_t> Rollout::drop_unhealthy(ReplicaSets& old, std::int64_t at_most) {
  sort_by_age(old);
  std::int64_t dropped = 0;
  for (Object& set : old) {
    if (dropped >= at_most) break;
    const std::int64_t unhealthy = spec_replicas(set) - status_count(set, "availableReplicas");
    const std::int64_t fewer = std::min(at_most - dropped, unhealthy);
    if (fewer <= 0) continue;
    KUBERNEL_CHECK_OK(scale_to(set, spec_replicas(set) - fewer, &set));
    dropped += fewer;
  }
  return dropped;
}

Result<Next> Rollout::recreate() {
  KUBERNEL_TRY(Split sets, current_sets(false));
  bool shrunk = false;
  for (const Object& set : active(sets.old)) {
    KUBERNEL_TRY(const bool changed, scale_to(set, 0));
    shrunk = shrunk || changed;
  }
  if (shrunk) return write_rollout_status(split());
  // Not one new pod before the last old one is gone, whatever a status says.
  const bool old_pods =
      total_status(sets.old, "replicas") > 0 || std::ranges::any_of(sets.old, [&](const Object& set) {
        return std::ranges::any_of(pods_of_(set), [](const Object& pod) { return !controller::pod_terminal(pod); });
      });
  if (old_pods) return write_rollout_status(sets);
  KUBERNEL_TRY(sets, current_sets(true));
  if (sets.newest) {
    KUBERNEL_TRY(const bool grown, scale_to(*sets.newest, spec_replicas(deployment_)));
    if (grown) return write_rollout_status(split());
  }
  if (complete(status_of(sets))) KUBERNEL_CHECK_OK(drop_history(sets.old));
  return write_rollout_status(sets);
}

// True when the size changed. Keeps the annotations that tell a later scaling what the size was meant for.
Result<bool> Rollout::scale_to(const Object& set, std::int64_t replicas, Object* after) {
  const std::int64_t before = spec_replicas(set);
  const std::string desired = std::to_string(spec_replicas(deployment_));
  const std::string most = std::to_string(spec_replicas(deployment_) + fenceposts(deployment_).surge);
  const bool annotated =
      set.annotations()[kDesiredReplicas].string() == desired && set.annotations()[kMaxReplicas].string() == most;
  if (before == replicas && annotated) return false;
  json document = set.to_json();
  document["spec"]["replicas"] = replicas;
  document["metadata"]["annotations"][std::string(kDesiredReplicas)] = desired;
  document["metadata"]["annotations"][std::string(kMaxReplicas)] = most;
  KUBERNEL_TRY(const Object written, services_.api.update(ctx_, kReplicaSets, set.key(), document, {}));
  if (before != replicas) {
    services_.events.record(deployment_, "Normal", "ScalingReplicaSet",
                            std::string("Scaled ") + (before < replicas ? "up" : "down") + " replica set " +
                                set.name() + " from " + std::to_string(before) + " to " + std::to_string(replicas));
  }
  for (Object& known : sets_) {
    if (known.uid() == written.uid()) known = written;
  }
  if (after != nullptr) *after = written;
  return before != replicas;
}

// Removes the oldest revisions beyond the limit, unless something of them still lives.
Result<void> Rollout::drop_history(ReplicaSets old) {
  const std::int64_t limit = deployment_.pointer("/spec/revisionHistoryLimit").integer(10);
  std::erase_if(old, [](const Object& set) { return set.head().deleting; });
  if (static_cast<std::int64_t>(old.size()) <= limit) return {};
  std::ranges::stable_sort(old, [](const Object& a, const Object& b) { return revision_of(a) < revision_of(b); });
  old.resize(old.size() - static_cast<std::size_t>(limit));
  for (const Object& set : old) {
    const bool settled = set.head().generation <= status_count(set, "observedGeneration");
    if (status_count(set, "replicas") != 0 || spec_replicas(set) != 0 || !settled) continue;
    const auto removed = services_.api.remove(ctx_, kReplicaSets, set.key(), {.precondition_uid = set.uid()});
    if (!removed && removed.error().reason() != Reason::NotFound) return removed.error();
  }
  return {};
}

}  // namespace kubernel::plugins::deployment
