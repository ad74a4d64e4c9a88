// SPDX-License-Identifier: Apache-2.0
#include "pods/plan.h"

#include <algorithm>

namespace kubernel::kubelet {

namespace {

using runtime::ContainerStatus;
using runtime::State;

// Why a running container must be replaced; empty when it may stay.
std::string kill_reason(const ContainerSpec& container, const ContainerStatus& status, const ContainerHealth& health) {
  const std::string hash = label_of(status.annotations, kHashAnnotation);
  if (!hash.empty() && hash != spec_hash(container)) return "Container " + container.name + " definition changed";
  if (health.liveness_failed) return "Container " + container.name + " failed liveness probe";
  if (health.startup_failed) return "Container " + container.name + " failed startup probe";
  return {};
}

// Started, though it does not run yet: to be waited for, not to be made again.
bool coming(const ContainerStatus* status) {
  return status != nullptr && status->state == State::Created && status->starting;
}

class Planner {
 public:
  explicit Planner(const PlanInput& input) : in_(input), sandbox_(input.runtime.ready_sandbox()) {}

  Plan run() {
    if (sandbox_ == nullptr) {
      plan_sandbox();
      return std::move(plan_);
    }
    if (!plan_init_containers()) return std::move(plan_);
    plan_.initialized = true;
    plan_app_containers();
    return std::move(plan_);
  }

 private:
  // Whether the container is over for good, by its record in any sandbox.
  bool ended_for_good(const ContainerSpec& container) const {
    const auto* status = in_.runtime.newest(container.name);
    return status != nullptr && status->state == State::Exited &&
           !restarts(restart_policy_of(in_.pod, container), *status);
  }

  void plan_sandbox() {
    const auto apps = app_containers_of(in_.pod);
    const bool had_sandbox = !in_.runtime.sandboxes.empty();
    const bool all_ended = std::all_of(apps.begin(), apps.end(), [&](const auto& c) { return ended_for_good(c); });
    // With Never, containers that ran are not run again in another sandbox.
    const bool ran =
        had_sandbox && !in_.runtime.containers.empty() && restart_policy_of(in_.pod) == RestartPolicy::Never;
    if (had_sandbox && (all_ended || ran)) {
      plan_.finished = true;
      plan_.initialized = all_ended;
      return;
    }
    plan_.new_sandbox = true;
    plan_.sandbox_attempt = had_sandbox ? in_.runtime.sandboxes.front().attempt + 1 : 0;
  }

  void start(const ContainerSpec& container) {
    const auto* last = in_.runtime.newest(container.name);
    if (last != nullptr && last->state != State::Exited) last = in_.runtime.previous(*last);
    plan_.start.push_back({container, next_attempt(in_.pod, in_.runtime, container.name), last});
  }

  // Returns true when it was asked to go.
  bool kill_if_unhealthy(const ContainerSpec& container, const ContainerStatus& status, RestartPolicy policy) {
    std::string message = kill_reason(container, status, in_.health(status));
    if (message.empty()) return false;
    if (policy != RestartPolicy::Never) message += ", will be restarted";
    plan_.kill.push_back({&status, std::move(message)});
    return true;
  }

  bool any_app_container_made() const {
    for (const auto& container : app_containers_of(in_.pod)) {
      if (in_.runtime.newest(container.name, sandbox_->id) != nullptr) return true;
    }
    return false;
  }

  // Returns true when app containers may run.
  bool plan_init_containers() {
    const bool through = any_app_container_made();
    for (const ContainerSpec& container : init_containers_of(in_.pod)) {
      const auto* status = in_.runtime.newest(container.name, sandbox_->id);
      const bool go_on =
          container.sidecar ? plan_sidecar(container, status) : plan_ordinary_init(container, status, through);
      if (!go_on && !through) return false;
    }
    return true;
  }

  bool plan_sidecar(const ContainerSpec& container, const ContainerStatus* status) {
    if (coming(status)) return false;
    if (status == nullptr || status->state != State::Running) {
      start(container);
      return false;
    }
    if (kill_if_unhealthy(container, *status, RestartPolicy::Always)) return false;
    return in_.health(*status).started;
  }

  bool plan_ordinary_init(const ContainerSpec& container, const ContainerStatus* status, bool through) {
    if (through) return true;
    if (coming(status)) return false;
    if (status == nullptr || status->state == State::Created || status->state == State::Unknown) {
      start(container);
      return false;
    }
    const RestartPolicy policy = restart_policy_of(in_.pod, container);
    if (status->state == State::Running) {
      kill_if_unhealthy(container, *status, policy);
      return false;
    }
    if (status->exit_code == 0) return true;
    if (policy == RestartPolicy::Never) {
      plan_.finished = true;
    } else {
      start(container);
    }
    return false;
  }

  void plan_app_containers() {
    bool active = false;
    for (const ContainerSpec& container : app_containers_of(in_.pod)) {
      const RestartPolicy policy = restart_policy_of(in_.pod, container);
      const auto* status = in_.runtime.newest(container.name);
      if (status != nullptr && status->state == State::Running && status->sandbox_id == sandbox_->id) {
        kill_if_unhealthy(container, *status, policy);
        active = true;
      } else if (coming(status) && status->sandbox_id == sandbox_->id) {
        active = true;
      } else if (status == nullptr || status->state != State::Exited || restarts(policy, *status)) {
        start(container);
        active = true;
      }
    }
    if (active) return;
    plan_.finished = true;
    plan_.start.clear();  // Sidecars end with the containers they serve.
  }

  const PlanInput& in_;
  const runtime::SandboxStatus* sandbox_;
  Plan plan_;
};

}  // namespace

bool restarts(RestartPolicy policy, const ContainerStatus& exited) {
  switch (policy) {
    case RestartPolicy::Always: return true;
    case RestartPolicy::OnFailure: return exited.exit_code != 0;
    case RestartPolicy::Never: return false;
  }
  return false;
}

std::uint32_t next_attempt(const api::Object& pod, const PodRuntime& runtime, std::string_view name) {
  if (const auto* last = runtime.newest(name)) {
    // A container that was made but never ran is made again under the same count.
    return last->state == State::Created ? last->attempt : last->attempt + 1;
  }
  for (const char* list : {"initContainerStatuses", "containerStatuses"}) {
    for (const api::Value status : pod["status"][list]) {
      if (status["name"].string() != name || status["containerID"].string().empty()) continue;
      return static_cast<std::uint32_t>(status["restartCount"].integer() + 1);
    }
  }
  return 0;
}

Plan plan_pod(const PlanInput& input) {
  return Planner(input).run();
}

}  // namespace kubernel::kubelet
