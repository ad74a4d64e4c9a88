// SPDX-License-Identifier: Apache-2.0
#include <kubernel/controller/pods.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include <nlohmann/json.hpp>

#include <kubernel/controller/conditions.h>
#include <kubernel/controller/owners.h>

namespace kubernel::controller {

using api::Object;
using api::Value;
using nlohmann::json;
using std::chrono::seconds;

bool pod_terminal(const Object& pod) {
  const auto phase = pod.pointer("/status/phase").string();
  return phase == "Succeeded" || phase == "Failed";
}

bool pod_active(const Object& pod) {
  return !pod_terminal(pod) && !pod.head().deleting;
}

bool pod_ready(const Object& pod) {
  return condition_true(pod.pointer("/status/conditions"), "Ready");
}

namespace {

std::optional<api::WallTime> ready_since(const Object& pod) {
  return api::read_time(find_condition(pod.pointer("/status/conditions"), "Ready")["lastTransitionTime"]);
}

}  // namespace

bool pod_available(const Object& pod, seconds min_ready, api::WallTime now) {
  if (!pod_ready(pod)) return false;
  if (min_ready == seconds::zero()) return true;
  const auto since = ready_since(pod);
  return since && *since + min_ready <= now;
}

std::optional<seconds> pod_available_in(const Object& pod, seconds min_ready, api::WallTime now) {
  if (!pod_ready(pod) || pod_available(pod, min_ready, now)) return std::nullopt;
  const auto since = ready_since(pod);
  if (!since) return std::nullopt;
  return std::chrono::ceil<seconds>(*since + min_ready - now);
}

namespace {

std::int64_t deletion_cost(const Object& pod) {
  const auto text = pod.annotations()["controller.kubernetes.io/pod-deletion-cost"].string();
  std::int32_t cost = 0;
  // Anything that is no plain int32 counts as none, as upstream ("+5" and "05" are refused there).
  if (text.empty() || (text.size() > 1 && text[0] == '0')) return 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), cost);
  return error == std::errc{} && end == text.data() + text.size() ? cost : 0;
}

int phase_order(const Object& pod) {
  const auto phase = pod.pointer("/status/phase").string();
  return phase == "Pending" ? 0 : phase == "Running" ? 2 : 1;
}

std::int64_t most_restarts(const Object& pod) {
  std::int64_t most = 0;
  for (const Value container : pod.pointer("/status/containerStatuses"))
    most = std::max(most, container["restartCount"].integer());
  return most;
}

// Times within one power of ten of each other count as equal, so that ties are spread by uid rather than by seconds.
int magnitude(std::optional<api::WallTime> time, api::WallTime now) {
  if (!time) return -1;
  const auto age = std::chrono::duration<double>(now - *time).count();
  return age <= 1 ? 0 : static_cast<int>(std::log10(age)) + 1;
}

}  // namespace

bool deleted_before(const RankedPod& a, const RankedPod& b, api::WallTime now) {
  const bool bound_a = !a.pod.pointer("/spec/nodeName").string().empty();
  const bool bound_b = !b.pod.pointer("/spec/nodeName").string().empty();
  if (bound_a != bound_b) return bound_b;
  if (phase_order(a.pod) != phase_order(b.pod)) return phase_order(a.pod) < phase_order(b.pod);
  const bool ready_a = pod_ready(a.pod);
  const bool ready_b = pod_ready(b.pod);
  if (ready_a != ready_b) return ready_b;
  if (deletion_cost(a.pod) != deletion_cost(b.pod)) return deletion_cost(a.pod) < deletion_cost(b.pod);
  if (a.rank != b.rank) return a.rank > b.rank;
  if (ready_a) {
    const int ma = magnitude(ready_since(a.pod), now);
    const int mb = magnitude(ready_since(b.pod), now);
    if (ma != mb) return ma < mb;
  }
  if (most_restarts(a.pod) != most_restarts(b.pod)) return most_restarts(a.pod) > most_restarts(b.pod);
  const int ma = magnitude(api::read_time(a.pod.pointer("/metadata/creationTimestamp")), now);
  const int mb = magnitude(api::read_time(b.pod.pointer("/metadata/creationTimestamp")), now);
  if (ma != mb) return ma < mb;
  return a.pod.uid() < b.pod.uid();
}

json pod_from_template(const json& pod_template, const Object& owner) {
  json pod = {{"apiVersion", "v1"}, {"kind", "Pod"}, {"metadata", json::object()}};
  json& metadata = pod["metadata"];
  if (const auto meta = pod_template.find("metadata"); meta != pod_template.end() && meta->is_object()) {
    for (const char* taken : {"labels", "annotations", "finalizers"}) {
      if (meta->contains(taken)) metadata[taken] = (*meta)[taken];
    }
  }
  metadata["generateName"] = owner.name() + "-";
  metadata["namespace"] = owner.ns();
  metadata["ownerReferences"] = json::array({controller_reference(owner)});
  pod["spec"] = pod_template.value("spec", json::object());
  return pod;
}

Result<Object> create_pod(const CallContext& ctx, client::ApiClient& api, client::EventRecorder& events,
                          const Object& owner, const json& pod) {
  auto created = api.create(ctx, api::resources::kPods, {owner.ns(), ""}, pod, {});
  if (created) {
    events.record(owner, "Normal", "SuccessfulCreate", "Created pod: " + created->name());
  } else if (!namespace_terminating(created.error())) {
    events.record(owner, "Warning", "FailedCreate", "Error creating: " + created.error().message());
  }
  return created;
}

Result<void> delete_pod(const CallContext& ctx, client::ApiClient& api, client::EventRecorder& events,
                        const Object& owner, const Object& pod) {
  const auto removed = api.remove(ctx, api::resources::kPods, pod.key(), {.precondition_uid = pod.uid()});
  if (!removed && removed.error().reason() == Reason::NotFound) return {};
  if (!removed) {
    events.record(owner, "Warning", "FailedDelete", "Error deleting: " + removed.error().message());
    return removed.error();
  }
  events.record(owner, "Normal", "SuccessfulDelete", "Deleted pod: " + pod.name());
  return {};
}

bool namespace_terminating(const Error& error) {
  if (error.details() == nullptr) return false;
  return std::ranges::any_of(error.details()->causes,
                             [](const Cause& cause) { return cause.reason == "NamespaceTerminating"; });
}

}  // namespace kubernel::controller
