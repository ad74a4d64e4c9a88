// SPDX-License-Identifier: Apache-2.0
#include "pods/pod_worker.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include <nlohmann/json.hpp>

#include <kubernel/api/time.h>

namespace kubernel::kubelet {

namespace {

constexpr std::size_t kMaxMessage = 4096;
constexpr std::size_t kMaxLogMessage = 2048;

std::string tail_of(const std::string& path, std::size_t bytes) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return {};
  const auto size = static_cast<std::size_t>(std::max<std::streamoff>(0, file.tellg()));
  const std::size_t take = std::min(size, bytes);
  std::string out(take, '\0');
  file.seekg(static_cast<std::streamoff>(size - take));
  file.read(out.data(), static_cast<std::streamsize>(take));
  out.resize(static_cast<std::size_t>(file.gcount()));
  return out;
}

// The text of log lines without time, stream and flag.
std::string log_text(const std::string& lines) {
  std::string out;
  for (std::size_t from = 0; from < lines.size();) {
    const auto end = std::min(lines.find('\n', from), lines.size());
    std::string_view line = std::string_view(lines).substr(from, end - from);
    from = end + 1;
    std::size_t spaces = 0, at = 0;
    while (at < line.size() && spaces < 3) spaces += line[at++] == ' ' ? 1 : 0;
    if (spaces == 3) out += std::string(line.substr(at)) + "\n";
  }
  return out;
}

}  // namespace

bool PodWorker::Hook::done() {
  const std::lock_guard lock(mutex);
  return result.has_value();
}

PodWorker::PodWorker(Kit& kit, std::string uid, std::function<void()> finished)
    : kit_(kit),
      uid_(std::move(uid)),
      finished_(std::move(finished)),
      restart_back_off_(std::chrono::seconds(10), std::chrono::seconds(300)),
      pull_back_off_(std::chrono::seconds(10), std::chrono::seconds(300)),
      retry_back_off_(std::chrono::seconds(1), std::chrono::seconds(60)) {}

PodWorker::~PodWorker() = default;

void PodWorker::update(const api::Object& pod) {
  {
    const std::lock_guard lock(mutex_);
    if (pod_ && pod_->head().resource_version >= pod.head().resource_version) return;
    pod_ = pod;
  }
  wake();
}

void PodWorker::gone() {
  {
    const std::lock_guard lock(mutex_);
    gone_ = true;
  }
  wake();
}

void PodWorker::wake() {
  {
    const std::lock_guard lock(mutex_);
    if (ended_) return;
    if (running_) {
      again_ = true;
      return;
    }
    if (queued_) return;
    queued_ = true;
  }
  kit_.tasks.run([self = shared_from_this()] { self->run(); });
}

std::optional<api::Object> PodWorker::pod() const {
  const std::lock_guard lock(mutex_);
  return pod_;
}

void PodWorker::run() {
  {
    const std::lock_guard lock(mutex_);
    queued_ = false;
    if (ended_) return;
    running_ = true;
    again_ = false;
    current_ = pod_;
    is_gone_ = gone_;
  }
  sync();
  bool again = false, ended = false;
  {
    const std::lock_guard lock(mutex_);
    running_ = false;
    again = again_ && !ended_;
    queued_ = again;
    ended = ended_;
  }
  if (again) kit_.tasks.run([self = shared_from_this()] { self->run(); });
  if (ended) finished_();
}

void PodWorker::wake_at(Clock::TimePoint due) {
  next_wake_ = std::min(next_wake_, due);
}
void PodWorker::wake_after(Clock::TimePoint::duration delay) {
  wake_at(kit_.tasks.clock().now() + delay);
}

void PodWorker::arm_timer() {
  timer_.reset();
  if (next_wake_ == Clock::TimePoint::max()) return;
  timer_ = kit_.tasks.run_at(next_wake_, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->wake();
  });
}

void PodWorker::event(std::string_view type, std::string_view reason, const std::string& message) const {
  if (current_) kit_.events.record(*current_, type, reason, message);
}

std::string PodWorker::directory() const {
  return kit_.volumes.pod_directory(uid_);
}

void PodWorker::sync() {
  if (kit_.tasks.stopping()) return;
  next_wake_ = Clock::TimePoint::max();
  runtime_ = kit_.cache.pod(uid_);
  if (!terminating_ && (!current_ || decide_end(*current_))) {
    terminating_ = true;
    terminating_since_ = kit_.tasks.clock().now();
  }
  if (!terminating_) run_pod(*current_);
  // run_pod() may have found that nothing will ever run again.
  if (terminating_) terminate();
  arm_timer();
}

// Whether the pod has run longer than activeDeadlineSeconds; if not yet, the worker is woken when it has.
bool PodWorker::past_deadline(const api::Object& pod) {
  const api::Value limit = pod["spec"]["activeDeadlineSeconds"];
  const auto started = api::read_time(pod["status"]["startTime"]);
  if (!limit || limit.is_null() || !started) return false;
  const auto left = *started + std::chrono::seconds(limit.integer()) - kit_.tasks.clock().wall_now();
  if (left <= Clock::WallTime::duration::zero()) return true;
  wake_after(std::chrono::duration_cast<Clock::TimePoint::duration>(left));
  return false;
}

// Whether the pod must end now, and why.
bool PodWorker::decide_end(const api::Object& pod) {
  if (is_gone_ || pod.head().deleting) return true;
  if (is_terminal_phase(pod["status"]["phase"].string())) return true;
  if (!past_deadline(pod)) return false;
  forced_phase_ = "Failed";
  end_reason_ = "DeadlineExceeded";
  end_message_ = "Pod was active on the node longer than the specified deadline";
  event("Normal", end_reason_, end_message_);
  return true;
}

ContainerHealth PodWorker::health(const runtime::ContainerStatus& container) const {
  ContainerHealth out;
  const auto hook = post_start_.find(container.id);
  out.started = hook == post_start_.end() && kit_.prober.started(container.id);
  out.liveness_failed = kit_.prober.failed(container.id, ProbeKind::Liveness);
  out.startup_failed = kit_.prober.failed(container.id, ProbeKind::Startup);
  return out;
}

void PodWorker::run_pod(const api::Object& pod) {
  Plan plan;
  // Each round starts at least one container or ends the loop, so the bound is never what ends it.
  for (std::size_t rounds = containers_of(pod).size() + 3; rounds > 0; --rounds) {
    plan = plan_pod({pod, runtime_, [this](const runtime::ContainerStatus& c) { return health(c); }});
    initialized_ = plan.initialized;
    if (plan.finished || !act(pod, plan)) break;
    runtime_ = kit_.cache.pod(uid_);
  }
  if (plan.finished) {
    terminating_ = true;
    terminating_since_ = kit_.tasks.clock().now();
    return;
  }
  update_probes(pod);
  remove_dead_containers();
  if (const auto refresh = kit_.volumes.refresh_at(uid_)) wake_at(*refresh);
  report(pod, false, plan.initialized);
  // The first report has set the time the deadline counts from.
  if (past_deadline(*current_)) wake_after(Clock::TimePoint::duration::zero());
}

// One step of the plan. Returns whether the world has changed so that another look is worth while.
bool PodWorker::act(const api::Object& pod, const Plan& plan) {
  for (const Plan::Kill& kill : plan.kill) {
    const auto own = kit_.prober.grace(kill.container->id);
    const auto grace = own ? *own : termination_grace_of(pod);
    step_stop(*kill.container, kit_.tasks.clock().now() + grace, kill.message);
  }
  if (!mount_volumes(pod)) return false;
  if (plan.new_sandbox) return make_sandbox(pod, plan.sandbox_attempt);
  if (!check_post_start(pod)) return false;
  bool progress = false;
  for (const Plan::Start& what : plan.start) {
    progress = start(pod, what) || progress;
    // The next container waits for a hook of this one, as upstream.
    if (!post_start_.empty()) return false;
  }
  return progress;
}

void PodWorker::update_probes(const api::Object& pod) {
  const auto* sandbox = runtime_.ready_sandbox();
  if (sandbox == nullptr) return;
  const auto ips = pod_ips(pod);
  for (const ContainerSpec& container : containers_of(pod)) {
    const auto* status = runtime_.newest(container.name, sandbox->id);
    if (status == nullptr || status->state != runtime::State::Running || container.runs_to_end()) continue;
    kit_.prober.watch(pod, container, *status, ips.empty() ? std::string() : ips.front());
  }
}

// Of each container the newest and the one before it stay (for logs --previous), and of sandboxes likewise.
void PodWorker::remove_dead_containers() {
  std::map<std::string, int> seen;
  for (const auto& container : runtime_.containers) {
    if (++seen[container.name] <= 2 || container.state == runtime::State::Running) continue;
    if (auto removed = kit_.runtime.remove_container(kit_.tasks.context(), container.id); !removed) {
      log_warning(kit_.log, "cannot remove an old container",
                  {{"container", container.name}, {"error", removed.error()}});
      continue;
    }
    kit_.cache.container_removed(container.id);
    messages_.erase(container.id);
    std::error_code ignored;  // A log that cannot be removed now goes with the pod's directory.
    if (!container.log_path.empty()) std::filesystem::remove(container.log_path, ignored);
  }
  for (std::size_t i = 2; i < runtime_.sandboxes.size(); ++i) {
    const auto& sandbox = runtime_.sandboxes[i];
    if (auto removed = kit_.runtime.remove_sandbox(kit_.tasks.context(), sandbox.id); removed) {
      kit_.cache.sandbox_removed(sandbox.id);
    } else {
      log_warning(kit_.log, "cannot remove an old sandbox", {{"pod", sandbox.pod_name}, {"error", removed.error()}});
    }
  }
}

// Puts the text a container left behind into its status.
void PodWorker::read_messages(const api::Object& pod) {
  for (auto& status : runtime_.containers) {
    if (status.state != runtime::State::Exited) continue;
    auto known = messages_.find(status.id);
    if (known == messages_.end()) {
      const std::string base = directory() + "/containers/" + status.name + "/" + std::to_string(status.attempt);
      std::string text = tail_of(base, kMaxMessage);
      const auto spec = find_container(pod, status.name);
      const bool from_log = spec && spec->value["terminationMessagePolicy"].string() == "FallbackToLogsOnError";
      if (text.empty() && from_log && status.exit_code != 0) text = log_text(tail_of(status.log_path, kMaxLogMessage));
      known = messages_.emplace(status.id, std::move(text)).first;
    }
    if (!known->second.empty()) status.message = known->second;
  }
}

}  // namespace kubernel::kubelet
