// SPDX-License-Identifier: Apache-2.0
//
// Prober: runs startup, readiness and liveness probes and remembers their verdicts.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/api/object.h>
#include <kubernel/base/log.h>
#include <kubernel/client/events.h>
#include <kubernel/runtime/container_runtime.h>

#include "pods/spec.h"
#include "probes/handlers.h"
#include "tasks.h"

namespace kubernel::kubelet {

enum class ProbeKind : std::uint8_t { Startup, Readiness, Liveness };

// Threads: all members may be called concurrently.
class Prober {
 public:
  // `changed` gets a pod's uid when a verdict changes; on a pool thread.
  Prober(ProbeHandlers& handlers, Tasks& tasks, client::EventRecorder& events,
         std::function<void(const std::string& uid)> changed);
  ~Prober();

  // Begins the probes of a running container, if it has any and they do not run. The pod's newest version is used from
  // now on.
  void watch(const api::Object& pod, const ContainerSpec& container, const runtime::ContainerStatus& status,
             const std::string& pod_ip);
  // Ends those of one container, or of a pod.
  void end_container(std::string_view id);
  void end_pod(std::string_view uid);
  void stop();
  ProbeHandlers& handlers() { return handlers_; }

  // Verdicts by container id. Without such a probe: started, ready, alive. With it: not started, not ready, alive,
  // until it has said otherwise.
  bool started(std::string_view id) const;
  bool ready(std::string_view id) const;
  bool failed(std::string_view id, ProbeKind kind) const;
  // The grace period a failed probe asks for (terminationGracePeriodSeconds), if it does.
  std::optional<std::chrono::seconds> grace(std::string_view id) const;

 private:
  struct Job;
  void schedule(const std::shared_ptr<Job>& job, Clock::TimePoint due);
  void probe(const std::shared_ptr<Job>& job);
  bool note_result(const std::shared_ptr<Job>& job, const ProbeOutcome& outcome);
  const Job* find(std::string_view id, ProbeKind kind) const;

  ProbeHandlers& handlers_;
  Tasks& tasks_;
  client::EventRecorder& events_;
  std::function<void(const std::string& uid)> changed_;
  mutable std::mutex mutex_;
  bool stopped_ = false;
  std::map<std::string, std::vector<std::shared_ptr<Job>>, std::less<>> jobs_;  // By container id.
};

}  // namespace kubernel::kubelet
