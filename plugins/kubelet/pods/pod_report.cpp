// SPDX-License-Identifier: Apache-2.0
//
// PodWorker's word to the API: the status, written when it differs from what is there.
#include <nlohmann/json.hpp>

#include "pods/pod_worker.h"

namespace kubernel::kubelet {

namespace {

using nlohmann::json;

constexpr std::chrono::seconds kRepeatAfter{10};

// What the API may leave out without a difference: null, and empty lists and objects.
json without_nothing(const json& value) {
  if (!value.is_structured()) return value;
  json out = value.is_array() ? json::array() : json::object();
  if (value.is_array()) {
    for (const json& element : value) out.push_back(without_nothing(element));
    return out;
  }
  for (const auto& [key, member] : value.items()) {
    json inner = without_nothing(member);
    if (inner.is_null() || (inner.is_structured() && inner.empty())) continue;
    out[key] = std::move(inner);
  }
  return out;
}

}  // namespace

void PodWorker::report(const api::Object& pod, bool terminated, bool initialized) {
  read_messages(pod);
  for (const auto& container : containers_of(pod)) {
    ContainerFacts& facts = facts_[container.name];
    const auto* status = runtime_.newest(container.name);
    if (status == nullptr) continue;
    facts.started = health(*status).started;
    facts.ready = kit_.prober.ready(status->id);
    facts.restarting = status->state == runtime::State::Exited && !facts.waiting_reason.empty();
  }
  const StatusInput input{.pod = pod,
                          .runtime = runtime_,
                          .containers = facts_,
                          .runtime_name = kit_.runtime_name,
                          .pod_ips = pod_ips(pod),
                          .host_ips = kit_.node.host_ips,
                          .terminated = terminated,
                          .initialized = initialized,
                          .deleting = pod.head().deleting,
                          .forced_phase = forced_phase_,
                          .reason = end_reason_,
                          .message = end_message_,
                          .now = kit_.tasks.clock().wall_now()};
  write_status(pod, without_nothing(compute_status(input)));
}

void PodWorker::write_status(const api::Object& pod, json status) {
  const auto now = kit_.tasks.clock().now();
  const auto old = pod["status"];
  if (without_nothing(old ? old.to_json() : json::object()) == status) return;
  // Guards against a writer that always changes what we write back.
  const std::string text = status.dump();
  if (text == last_status_ && now - last_status_at_ < kRepeatAfter) return;
  json document = pod.to_json();
  document["status"] = std::move(status);
  const client::WriteOptions options{.subresource = "status", .field_manager = "kubelet"};
  auto written = kit_.api.update(kit_.tasks.context(), api::resources::kPods, pod.key(), document, options);
  if (written) {
    retry_back_off_.forget("status");
    last_status_ = text;
    last_status_at_ = now;
    const std::lock_guard lock(mutex_);
    if (!pod_ || pod_->head().resource_version < written->head().resource_version) pod_ = *written;
    current_ = pod_;
    return;
  }
  const Reason reason = written.error().reason();
  if (reason == Reason::Cancelled) return;
  if (reason == Reason::NotFound) return;  // The informer will say so.
  if (reason == Reason::Conflict) {
    // Somebody else was faster: take the newest and look again.
    auto newest = kit_.api.get(kit_.tasks.context(), api::resources::kPods, pod.key(), {});
    if (newest && newest->uid() == uid_) {
      update(*newest);
      return;
    }
  }
  retry_back_off_.note_try("status", now);
  wake_after(retry_back_off_.delay("status"));
  log_warning(kit_.log, "cannot write a pod's status", {{"pod", format_pod(pod)}, {"error", written.error()}});
}

}  // namespace kubernel::kubelet
