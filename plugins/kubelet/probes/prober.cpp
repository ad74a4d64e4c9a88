// SPDX-License-Identifier: Apache-2.0
#include "probes/prober.h"

#include <algorithm>

#include <kubernel/base/alarm.h>

namespace kubernel::kubelet {

namespace {

using Verdict = ProbeOutcome::Verdict;

constexpr const char* kField[] = {"startupProbe", "readinessProbe", "livenessProbe"};
constexpr const char* kTitle[] = {"Startup", "Readiness", "Liveness"};

std::chrono::seconds seconds_of(api::Value probe, const char* name, std::int64_t fallback) {
  const std::int64_t value = probe[name].integer(fallback);
  return std::chrono::seconds(value > 0 ? value : fallback);
}

// What the API says about this very container: a kubelet that starts takes it over until its own probes have spoken.
api::Value last_word(const api::Object& pod, const runtime::ContainerStatus& status) {
  for (const char* list : {"containerStatuses", "initContainerStatuses"}) {
    for (const api::Value known : pod["status"][list]) {
      if (known["name"].string() == status.name && known["containerID"].string().ends_with("://" + status.id))
        return known;
    }
  }
  return {};
}

}  // namespace

// One probe of one container.
struct Prober::Job {
  ProbeKind kind = ProbeKind::Readiness;
  std::string container_id, container_name, uid, pod_ip;
  api::Object pod;       // Guarded by Prober::mutex_, like all below.
  bool passed = false;   // The verdict. Liveness starts as passed.
  bool decided = false;  // A threshold has been reached.
  int in_a_row = 0;
  Verdict last = Verdict::Unknown;
  bool ended = false;
  Alarm alarm;  // Not guarded.
};

Prober::Prober(ProbeHandlers& handlers, Tasks& tasks, client::EventRecorder& events,
               std::function<void(const std::string& uid)> changed)
    : handlers_(handlers), tasks_(tasks), events_(events), changed_(std::move(changed)) {}

Prober::~Prober() {
  stop();
}

void Prober::watch(const api::Object& pod, const ContainerSpec& container, const runtime::ContainerStatus& status,
                   const std::string& pod_ip) {
  std::vector<std::shared_ptr<Job>> fresh, done;
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) return;
    if (const auto at = jobs_.find(status.id); at != jobs_.end()) {
      for (const auto& job : at->second) job->pod = pod;
      return;
    }
    for (const ProbeKind kind : {ProbeKind::Startup, ProbeKind::Readiness, ProbeKind::Liveness}) {
      if (!container.value[kField[static_cast<int>(kind)]]) continue;
      auto job = std::make_shared<Job>();
      job->kind = kind;
      job->container_id = status.id;
      job->container_name = container.name;
      job->uid = pod.uid();
      job->pod_ip = pod_ip;
      job->pod = pod;
      job->passed = kind == ProbeKind::Liveness;
      const api::Value known = last_word(pod, status);
      if (kind == ProbeKind::Readiness) job->passed = known["ready"].boolean();
      if (kind == ProbeKind::Startup && known["started"].boolean()) {
        // It has passed and is not run again.
        job->passed = job->decided = true;
        done.push_back(job);
        continue;
      }
      fresh.push_back(job);
    }
    auto& all = jobs_[status.id];
    all = fresh;
    all.insert(all.end(), done.begin(), done.end());
  }
  const auto now = tasks_.clock().now();
  const auto running_for =
      status.started_at ? std::max(tasks_.clock().wall_now() - *status.started_at, Clock::WallTime::duration::zero())
                        : Clock::WallTime::duration::zero();
  for (const auto& job : fresh) {
    const api::Value probe = container.value[kField[static_cast<int>(job->kind)]];
    const auto delay = std::chrono::seconds(probe["initialDelaySeconds"].integer());
    const auto left = std::chrono::duration_cast<Clock::TimePoint::duration>(delay - running_for);
    schedule(job, now + std::max(left, Clock::TimePoint::duration::zero()));
  }
}

void Prober::schedule(const std::shared_ptr<Job>& job, Clock::TimePoint due) {
  job->alarm.set([&] {
    return tasks_.run_at(due, [this, weak = std::weak_ptr(job)] {
      if (const auto alive = weak.lock()) probe(alive);
    });
  });
}

void Prober::probe(const std::shared_ptr<Job>& job) {
  api::Object pod;
  {
    const std::lock_guard lock(mutex_);
    if (job->ended || stopped_) return;
    pod = job->pod;
  }
  const auto container = find_container(pod, job->container_name);
  if (!container) return;
  const api::Value spec = container->value[kField[static_cast<int>(job->kind)]];
  const auto period = seconds_of(spec, "periodSeconds", 10);
  const auto begun = tasks_.clock().now();
  // The others wait for the startup probe; it is not run again once it has passed.
  const bool waits = job->kind != ProbeKind::Startup && !started(job->container_id);
  if (!waits) {
    const auto outcome =
        handlers_.run({pod, *container, job->container_id, job->pod_ip}, spec, seconds_of(spec, "timeoutSeconds", 1));
    if (tasks_.stopping()) return;
    if (!note_result(job, outcome)) return;
  }
  schedule(job, begun + period);
}

// Counts a result. False when this probe is over.
bool Prober::note_result(const std::shared_ptr<Job>& job, const ProbeOutcome& outcome) {
  bool changed = false, go_on = true;
  api::Object pod;
  {
    const std::lock_guard lock(mutex_);
    if (job->ended) return false;
    pod = job->pod;
    const auto container = find_container(pod, job->container_name);
    const api::Value spec = container ? container->value[kField[static_cast<int>(job->kind)]] : api::Value();
    // An error of the probing itself says nothing about the container, as upstream.
    if (outcome.verdict != Verdict::Unknown) {
      job->in_a_row = job->last == outcome.verdict ? job->in_a_row + 1 : 1;
      job->last = outcome.verdict;
      const bool good = outcome.verdict == Verdict::Success;
      const std::int64_t needed = good ? spec["successThreshold"].integer(1) : spec["failureThreshold"].integer(3);
      if (job->in_a_row >= std::max<std::int64_t>(needed, 1)) {
        changed = !job->decided || job->passed != good;
        job->decided = true;
        job->passed = good;
        // A verdict that restarts the container, or that it has started, is final.
        go_on = job->kind == ProbeKind::Readiness || (job->kind == ProbeKind::Liveness && good);
      }
    }
  }
  if (outcome.verdict == Verdict::Failure) {
    events_.record(pod, "Warning", "Unhealthy",
                   std::string(kTitle[static_cast<int>(job->kind)]) + " probe failed: " + outcome.message);
  } else if (outcome.verdict == Verdict::Unknown) {
    events_.record(pod, "Warning", "Unhealthy",
                   std::string(kTitle[static_cast<int>(job->kind)]) + " probe errored: " + outcome.message);
  }
  if (changed) changed_(job->uid);
  return go_on;
}

void Prober::end_container(std::string_view id) {
  std::vector<std::shared_ptr<Job>> ended;
  {
    const std::lock_guard lock(mutex_);
    const auto at = jobs_.find(id);
    if (at == jobs_.end()) return;
    ended = at->second;
    // What they have said stays known until the container is forgotten, so that a failing one does not look started
    // meanwhile.
    for (const auto& job : ended) job->ended = true;
  }
  for (const auto& job : ended) job->alarm.cancel();
}

void Prober::end_pod(std::string_view uid) {
  std::vector<std::shared_ptr<Job>> ended;
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(jobs_, [&](auto& entry) {
      if (entry.second.empty() || entry.second.front()->uid != uid) return false;
      ended.insert(ended.end(), entry.second.begin(), entry.second.end());
      return true;
    });
    for (const auto& job : ended) job->ended = true;
  }
  for (const auto& job : ended) job->alarm.cancel();
}

void Prober::stop() {
  decltype(jobs_) jobs;
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  for (auto& [id, list] : jobs_) {
    for (const auto& job : list) job->ended = true;
  }
  jobs.swap(jobs_);
}

const Prober::Job* Prober::find(std::string_view id, ProbeKind kind) const {
  const auto at = jobs_.find(id);
  if (at == jobs_.end()) return nullptr;
  const auto job = std::find_if(at->second.begin(), at->second.end(), [&](const auto& j) { return j->kind == kind; });
  return job == at->second.end() ? nullptr : job->get();
}

bool Prober::started(std::string_view id) const {
  const std::lock_guard lock(mutex_);
  const Job* job = find(id, ProbeKind::Startup);
  return job == nullptr || (job->decided && job->passed);
}

bool Prober::ready(std::string_view id) const {
  const std::lock_guard lock(mutex_);
  const Job* job = find(id, ProbeKind::Readiness);
  return job == nullptr || job->passed;
}

bool Prober::failed(std::string_view id, ProbeKind kind) const {
  const std::lock_guard lock(mutex_);
  const Job* job = find(id, kind);
  return job != nullptr && job->decided && !job->passed;
}

std::optional<std::chrono::seconds> Prober::grace(std::string_view id) const {
  const std::lock_guard lock(mutex_);
  for (const ProbeKind kind : {ProbeKind::Startup, ProbeKind::Liveness}) {
    const Job* job = find(id, kind);
    if (job == nullptr || !job->decided || job->passed) continue;
    const auto container = find_container(job->pod, job->container_name);
    const api::Value grace =
        container ? container->value[kField[static_cast<int>(kind)]]["terminationGracePeriodSeconds"] : api::Value();
    if (grace && !grace.is_null()) return std::chrono::seconds(grace.integer());
  }
  return std::nullopt;
}

}  // namespace kubernel::kubelet
