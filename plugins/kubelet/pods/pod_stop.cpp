// SPDX-License-Identifier: Apache-2.0
//
// PodWorker's way to the end of a pod: hooks, signals, grace, and then everything it left behind.
#include <algorithm>
#include <filesystem>

#include "pods/pod_worker.h"

namespace kubernel::kubelet {

namespace {

using runtime::State;

constexpr std::chrono::seconds kAfterPreStop{2};  // What a container has at least between its preStop hook and KILL.
constexpr std::chrono::seconds kKillTimeout{30};
constexpr std::chrono::seconds kDefaultGrace{30};

}  // namespace

std::chrono::seconds PodWorker::grace() const {
  std::chrono::seconds grace = kDefaultGrace;
  if (current_) {
    grace = deletion_grace_of(*current_);
  } else if (!runtime_.sandboxes.empty()) {
    // A pod that ended while no kubelet ran: its sandbox remembers.
    const std::string text = label_of(runtime_.sandboxes.front().annotations, kGraceAnnotation);
    if (!text.empty()) grace = std::chrono::seconds(std::strtoll(text.c_str(), nullptr, 10));
  }
  return std::max(grace, std::chrono::seconds(1));
}

// One step towards the end of a running container. True when it has ended.
bool PodWorker::step_stop(const runtime::ContainerStatus& container, Clock::TimePoint deadline,
                          const std::string& message) {
  if (container.state != State::Running) return true;
  const auto now = kit_.tasks.clock().now();
  auto [at, fresh] = stops_.try_emplace(container.id);
  Stop& stop = at->second;
  // A later deletion may shorten the time that is left, never lengthen it.
  stop.deadline = fresh ? deadline : std::min(stop.deadline, deadline);
  if (!stop.announced) {
    stop.announced = true;
    kit_.prober.end_container(container.id);
    event("Normal", "Killing", message);
  }
  const auto spec = current_ ? find_container(*current_, container.name) : std::nullopt;
  if (!stop.asked && spec && spec->value["lifecycle"]["preStop"]) {
    if (!stop.pre_stop) {
      const auto left =
          std::chrono::ceil<std::chrono::seconds>(std::max(stop.deadline - now, Clock::TimePoint::duration::zero()));
      stop.pre_stop = run_hook(*current_, *spec, container.id, "preStop", std::max(left, std::chrono::seconds(1)));
    }
    if (!stop.pre_stop->done() && now < stop.deadline) {
      wake_at(stop.deadline);
      return false;
    }
    const std::lock_guard lock(stop.pre_stop->mutex);
    if (stop.pre_stop->result && !*stop.pre_stop->result) {
      event("Warning", "FailedPreStopHook", "PreStopHook failed: " + stop.pre_stop->result->error().message());
    }
    stop.deadline = std::max(stop.deadline, now + kAfterPreStop);
  }
  if (!stop.asked) {
    stop.asked = true;
    if (auto asked = kit_.runtime.access().request_stop(kit_.tasks.context(kKillTimeout), container.id); !asked) {
      log_warning(kit_.log, "cannot signal a container", {{"container", container.name}, {"error", asked.error()}});
    }
  }
  if (now >= stop.deadline) {
    if (auto killed =
            kit_.runtime.stop_container(kit_.tasks.context(kKillTimeout), container.id, std::chrono::seconds(0));
        !killed) {
      log_warning(kit_.log, "cannot kill a container", {{"container", container.name}, {"error", killed.error()}});
      wake_after(std::chrono::seconds(2));
    }
  } else {
    wake_at(stop.deadline);
  }
  if (auto updated = kit_.cache.update_container(kit_.tasks.context(), container.id); !updated) {
    log_warning(kit_.log, "cannot read a container's state",
                {{"container", container.name}, {"error", updated.error()}});
  }
  const PodRuntime now_runtime = kit_.cache.pod(uid_);
  const auto* status = now_runtime.by_id(container.id);
  return status == nullptr || status->state != State::Running;
}

// Containers together; sidecars after them, one by one from the last. True when none runs.
bool PodWorker::stop_containers() {
  std::vector<std::string> sidecars;
  if (current_) {
    for (const auto& container : init_containers_of(*current_)) {
      if (container.sidecar) sidecars.push_back(container.name);
    }
  }
  const auto deadline = terminating_since_ + grace();
  const auto stop = [&](const runtime::ContainerStatus& container) {
    return step_stop(container, deadline, "Stopping container " + container.name);
  };
  bool all = true;
  for (const auto& container : runtime_.containers) {
    const bool sidecar = std::find(sidecars.begin(), sidecars.end(), container.name) != sidecars.end();
    // At the end of the grace period nobody waits for anybody.
    if (sidecar && kit_.tasks.clock().now() < deadline) continue;
    all = stop(container) && all;
  }
  if (!all) return false;
  for (auto name = sidecars.rbegin(); name != sidecars.rend(); ++name) {
    for (const auto& container : runtime_.containers) {
      if (container.name == *name && !stop(container)) return false;
    }
  }
  return true;
}

void PodWorker::terminate() {
  // Deleted again with less patience: the shorter time counts from now at the latest.
  post_start_.clear();
  pulls_.clear();
  const bool stopped = stop_containers();
  runtime_ = kit_.cache.pod(uid_);
  if (!stopped) {
    if (current_) report(*current_, false, initialized_ || !runtime_.containers.empty());
    return;
  }
  kit_.prober.end_pod(uid_);
  if (auto ended = stop_sandboxes(); !ended) {
    log_warning(kit_.log, "cannot stop a pod's sandbox", {{"uid", uid_}, {"error", ended.error()}});
    retry_back_off_.note_try("end", kit_.tasks.clock().now());
    wake_after(retry_back_off_.delay("end"));
    return;
  }
  end_pod(current_);
}

// Everything has stopped: say so, give back what the pod held, and let the API forget it.
void PodWorker::end_pod(const std::optional<api::Object>& pod) {
  if (pod && !is_gone_) report(*pod, true, initialized_);
  if (!volumes_gone_ && (is_gone_ || !pod || pod->head().deleting)) {
    if (auto removed = kit_.volumes.unmount(uid_); !removed) {
      log_warning(kit_.log, "cannot remove a pod's volumes", {{"uid", uid_}, {"error", removed.error()}});
      retry_back_off_.note_try("end", kit_.tasks.clock().now());
      wake_after(retry_back_off_.delay("end"));
      return;
    }
    volumes_gone_ = true;
    kit_.objects.release(uid_);
  }
  if (pod && !is_gone_ && pod->head().deleting) delete_from_api(*pod);
  if (is_gone_ || !pod) clean_up();
}

void PodWorker::delete_from_api(const api::Object& pod) {
  if (deleted_) return;
  client::DeleteOptions options;
  options.grace_period_seconds = 0;
  options.precondition_uid = uid_;
  auto removed = kit_.api.remove(kit_.tasks.context(), api::resources::kPods, pod.key(), options);
  const bool somebody_else =
      !removed && (removed.error().reason() == Reason::NotFound || removed.error().reason() == Reason::Conflict);
  if (removed || somebody_else) {
    deleted_ = true;  // The informer says when it is gone; a finalizer may hold it.
    return;
  }
  if (removed.error().reason() == Reason::Cancelled) return;
  log_warning(kit_.log, "cannot delete a pod that has ended", {{"pod", format_pod(pod)}, {"error", removed.error()}});
  retry_back_off_.note_try("end", kit_.tasks.clock().now());
  wake_after(retry_back_off_.delay("end"));
}

void PodWorker::clean_up() {
  // The logs' directory is known from the sandbox when the pod is not.
  std::string logs;
  if (current_) {
    logs = pod_log_directory(kit_.config.log_directory, *current_);
  } else if (!runtime_.sandboxes.empty()) {
    const auto& sandbox = runtime_.sandboxes.front();
    logs = kit_.config.log_directory + "/" + sandbox.pod_namespace + "_" + sandbox.pod_name + "_" + uid_;
  }
  if (auto removed = remove_sandboxes(); !removed) {
    log_warning(kit_.log, "cannot remove a pod's sandbox", {{"uid", uid_}, {"error", removed.error()}});
    retry_back_off_.note_try("end", kit_.tasks.clock().now());
    wake_after(retry_back_off_.delay("end"));
    return;
  }
  std::error_code error;
  if (!logs.empty()) std::filesystem::remove_all(logs, error);
  if (error) log_warning(kit_.log, "cannot remove a pod's logs", {{"path", logs}, {"error", error.message()}});
  const std::lock_guard lock(mutex_);
  ended_ = true;
}

}  // namespace kubernel::kubelet
