// SPDX-License-Identifier: Apache-2.0
#include "job_pass.h"

#include <algorithm>
#include <utility>

#include <kubernel/api/time.h>
#include <kubernel/controller/conditions.h>
#include <kubernel/controller/owners.h>
#include <kubernel/controller/pods.h>

namespace kubernel::plugins::job {

using api::Object;
using api::ObjectKey;
using api::Value;
using api::resources::kJobs;
using api::resources::kPods;
using controller::Next;
using nlohmann::json;
using std::chrono::seconds;

namespace {

constexpr std::int64_t kAtOnce = 500;  // Pods made, removed or counted in one pass.

std::set<std::string> uids(const json& status, const char* which) {
  std::set<std::string> out;
  const auto uncounted = status.find("uncountedTerminatedPods");
  if (uncounted == status.end() || !uncounted->is_object() || !uncounted->contains(which)) return out;
  for (const json& uid : (*uncounted)[which]) out.insert(uid.get<std::string>());
  return out;
}

void set_uids(json& status, const char* which, const std::set<std::string>& values) {
  json& uncounted = status["uncountedTerminatedPods"];
  if (!uncounted.is_object()) uncounted = json::object();
  if (values.empty()) {
    uncounted.erase(which);
  } else {
    uncounted[which] = values;
  }
}

// Zero is left out, as Go's omitempty does.
void set_count(json& status, const char* field, std::int64_t value) {
  if (value == 0) {
    status.erase(field);
  } else {
    status[field] = value;
  }
}

}  // namespace

// --- Memory.

Failures Memory::failures(const ObjectKey& job) const {
  const std::lock_guard lock(mutex_);
  const auto found = failures_.find(job);
  return found == failures_.end() ? Failures{} : found->second;
}

void Memory::remember(const ObjectKey& job, const Failures& failures) {
  const std::lock_guard lock(mutex_);
  failures_[job] = failures;
}

void Memory::forget(const ObjectKey& job) {
  expectations.forget(job);
  const std::lock_guard lock(mutex_);
  failures_.erase(job);
}

void Memory::wrote(const Object& job) {
  const std::lock_guard lock(mutex_);
  written_[job.key()] = job.head().resource_version;
}

bool Memory::stale(const Object& job) const {
  const std::lock_guard lock(mutex_);
  const auto found = written_.find(job.key());
  return found != written_.end() && job.head().resource_version < found->second;
}

void Memory::gone(const ObjectKey& job) {
  forget(job);
  const std::lock_guard lock(mutex_);
  written_.erase(job);
}

void Memory::released(const std::string& uid) {
  const std::lock_guard lock(mutex_);
  released_.insert(uid);
}

void Memory::release_seen(const std::string& uid) {
  const std::lock_guard lock(mutex_);
  released_.erase(uid);
}

bool Memory::was_released(const std::string& uid) const {
  const std::lock_guard lock(mutex_);
  return released_.contains(uid);
}

Result<void> release(const CallContext& ctx, client::ApiClient& api, const Object& pod) {
  json finalizers = pod.pointer("/metadata/finalizers").to_json();
  if (!finalizers.is_array()) return {};
  std::erase(finalizers.get_ref<json::array_t&>(), json(kTracking));
  const json patch = {{"metadata",
                       {{"uid", pod.uid()},
                        {"resourceVersion", std::to_string(pod.head().resource_version)},
                        {"finalizers", finalizers.empty() ? json() : std::move(finalizers)}}}};
  const auto patched = api.patch(ctx, kPods, pod.key(), client::PatchType::Merge, patch, {});
  if (!patched && patched.error().reason() != Reason::NotFound) return patched.error();
  return {};
}

// --- One pass.

Result<Next> JobPass::run() {
  status_ = job_["status"].is_object() ? job_["status"].to_json() : json::object();
  if (!status_.contains("uncountedTerminatedPods") || status_["uncountedTerminatedPods"].is_null()) {
    status_["uncountedTerminatedPods"] = json::object();
  }
  count();
  if (!status_.contains("startTime") && !suspended(job_)) {
    status_["startTime"] = api::format_time(services_.clock.wall_now());
  }
  std::optional<Target> end = target();
  std::optional<Error> failure;
  if (end) {
    if (auto removed = remove_pods(active_); !removed) failure = removed.error();
  } else {
    const bool may = caught_up_ && !job_.head().deleting;
    if (may) {
      if (auto managed = manage(); !managed) failure = managed.error();
    }
    if (reached()) {
      end = Target{true, "CompletionsReached", "Reached expected number of succeeded pods"};
    } else if (may) {
      tell_suspension();
    }
  }
  if (end) announce(*end);
  return track(end, failure);
}

void JobPass::count() {
  const auto now = services_.clock.wall_now();
  const auto uncounted_succeeded = uids(status_, "succeeded");
  const auto uncounted_failed = uids(status_, "failed");
  if (indexed(job_)) completed_ = parse_indexes(status_.value("completedIndexes", ""), completions());
  Indexes done = completed_;
  std::vector<Clock::WallTime> new_succeeded, new_failed;
  for (const Object& pod : pods_) {
    if (controller::pod_active(pod)) {
      active_.push_back(pod);
      ready_ += controller::pod_ready(pod) ? 1 : 0;
    }
    if (pod.head().deleting && !controller::pod_terminal(pod)) ++terminating_;
    const bool fresh = tracked(pod) && !memory_.was_released(pod.uid()) && !uncounted_succeeded.contains(pod.uid()) &&
                       !uncounted_failed.contains(pod.uid());
    if (!fresh) continue;
    if (pod.pointer("/status/phase").string() == "Succeeded") {
      const auto index = index_of(pod);
      if (indexed(job_) && (!index || *index >= completions() || !done.insert(*index).second)) continue;
      new_succeeded.push_back(finish_time(pod, now));
    } else if (failed(job_, pod)) {
      new_failed.push_back(finish_time(pod, now));
    }
  }
  active_count_ = static_cast<std::int64_t>(active_.size());
  succeeded_ = indexed(job_) ? static_cast<std::int64_t>(done.size())
                             : status_.value("succeeded", std::int64_t{0}) +
                                   static_cast<std::int64_t>(new_succeeded.size() + uncounted_succeeded.size());
  failed_ =
      status_.value("failed", std::int64_t{0}) + static_cast<std::int64_t>(new_failed.size() + uncounted_failed.size());
  failures_ = memory_.failures(job_.key()).after(new_succeeded, new_failed);
}

std::optional<JobPass::Target> JobPass::target() {
  const Value conditions = job_.pointer("/status/conditions");
  for (const auto& [type, success] : {std::pair("FailureTarget", false), std::pair("SuccessCriteriaMet", true)}) {
    const Value decided = controller::find_condition(conditions, type);
    if (decided["status"].string() != "True") continue;
    return Target{success, std::string(decided["reason"].string()), std::string(decided["message"].string())};
  }
  if (failed_ > job_.pointer("/spec/backoffLimit").integer(6) || past_limit_by_restarts(job_, pods_)) {
    return Target{false, "BackoffLimitExceeded", "Job has reached the specified backoff limit"};
  }
  const Value deadline = job_.pointer("/spec/activeDeadlineSeconds");
  const auto started = api::parse_time(status_.value("startTime", ""));
  if (deadline && !deadline.is_null() && started && !suspended(job_)) {
    const auto left = *started + seconds(deadline.integer()) - services_.clock.wall_now();
    if (left <= Clock::WallTime::duration::zero()) {
      return Target{false, "DeadlineExceeded", "Job was active longer than specified deadline"};
    }
    wake_in(left);
  }
  return std::nullopt;
}

bool JobPass::has_completions() const {
  const Value completions = job_.pointer("/spec/completions");
  return completions && !completions.is_null();
}

bool JobPass::reached() const {
  // Without a number, the first success means that the work is done and the others only finish.
  if (!has_completions()) return succeeded_ > 0 && active_count_ == 0;
  return succeeded_ >= completions() && active_count_ == 0;
}

// Brings the number of running pods to what is wanted now.
Result<void> JobPass::manage() {
  if (suspended(job_)) return remove_pods(active_);
  const std::int64_t parallelism = job_.pointer("/spec/parallelism").integer(1);
  std::int64_t wanted = 0;
  if (!has_completions()) {
    wanted = succeeded_ > 0 ? active_count_ : parallelism;
  } else {
    wanted = std::max<std::int64_t>(std::min(completions() - succeeded_, parallelism), 0);
  }
  std::vector<Object> too_many = surplus(std::max<std::int64_t>(active_count_ - wanted, 0));
  if (!too_many.empty()) return remove_pods(std::move(too_many));
  const bool waits = job_.pointer("/spec/podReplacementPolicy").string() == "Failed";
  const std::int64_t missing = wanted - active_count_ - (waits ? terminating_ : 0);
  if (missing <= 0) return {};
  const auto wait = failures_.wait(services_.clock.wall_now());
  if (wait > std::chrono::nanoseconds::zero()) {
    wake_in(wait);
    return {};
  }
  return create_pods(std::min(missing, kAtOnce));
}

// Pods to remove: those whose index is none or taken, then the most dispensable.
std::vector<Object> JobPass::surplus(std::int64_t at_least) const {
  std::vector<controller::RankedPod> ranked;
  std::vector<Object> out;
  for (const Object& pod : active_) ranked.push_back({pod, 0});
  const auto now = services_.clock.wall_now();
  std::ranges::sort(ranked, [&](const auto& a, const auto& b) { return controller::deleted_before(a, b, now); });
  if (indexed(job_)) {
    // Of two with one index the better one stays, so they are looked at from the end.
    Indexes seen;
    for (auto it = ranked.rbegin(); it != ranked.rend(); ++it) {
      const auto index = index_of(it->pod);
      const bool good = index && *index < completions() && !completed_.contains(*index) && seen.insert(*index).second;
      if (!good) out.push_back(it->pod);
    }
  }
  for (const auto& entry : ranked) {
    if (static_cast<std::int64_t>(out.size()) >= at_least) break;
    if (std::ranges::find(out, entry.pod.uid(), &Object::uid) == out.end()) out.push_back(entry.pod);
  }
  if (static_cast<std::int64_t>(out.size()) > kAtOnce) out.resize(static_cast<std::size_t>(kAtOnce));
  return out;
}

Result<void> JobPass::remove_pods(std::vector<Object> pods) {
  if (pods.empty()) return {};
  std::vector<ObjectKey> keys;
  for (const Object& pod : pods) keys.push_back(pod.key());
  memory_.expectations.expect_deletions(job_.key(), keys);
  std::optional<Error> first;
  for (const Object& pod : pods) {
    const auto removed = controller::delete_pod(ctx_, services_.api, services_.events, job_, pod);
    if (!removed) {
      memory_.expectations.deletion_observed(job_.key(), pod.key());
      if (!first) first = removed.error();
      continue;
    }
    --active_count_;
    ++terminating_;
    ready_ -= controller::pod_ready(pod) ? 1 : 0;
  }
  if (first) return *first;
  return {};
}

Result<void> JobPass::create_pods(std::int64_t count) {
  std::vector<std::int64_t> indexes;
  if (indexed(job_)) {
    indexes = free_indexes(count);
    count = static_cast<std::int64_t>(indexes.size());
  }
  if (count == 0) return {};
  memory_.expectations.expect_creations(job_.key(), static_cast<int>(count));
  const auto outcome = controller::slow_start(static_cast<int>(count), [&](int i) -> Result<void> {
    if (ctx_.stopping()) return Error(Reason::Cancelled, "stopping");
    const auto index = indexes.empty() ? std::nullopt : std::optional(indexes[static_cast<std::size_t>(i)]);
    const auto created = controller::create_pod(ctx_, services_.api, services_.events, job_, pod_for(index));
    if (created) {
      ++active_count_;
    } else if (controller::namespace_terminating(created.error())) {
      memory_.expectations.creation_observed(job_.key());
    } else {
      return created.error();
    }
    return {};
  });
  for (std::int64_t i = outcome.succeeded; i < count; ++i) memory_.expectations.creation_observed(job_.key());
  if (outcome.error) return *outcome.error;
  return {};
}

std::vector<std::int64_t> JobPass::free_indexes(std::int64_t count) const {
  Indexes taken = completed_;
  const bool waits = job_.pointer("/spec/podReplacementPolicy").string() == "Failed";
  for (const Object& pod : pods_) {
    const bool holds = controller::pod_active(pod) || pod.pointer("/status/phase").string() == "Succeeded" ||
                       (waits && !controller::pod_terminal(pod));
    if (const auto index = index_of(pod); holds && index) taken.insert(*index);
  }
  std::vector<std::int64_t> out;
  for (std::int64_t i = 0; i < completions() && static_cast<std::int64_t>(out.size()) < count; ++i) {
    if (!taken.contains(i)) out.push_back(i);
  }
  return out;
}

json JobPass::pod_for(std::optional<std::int64_t> index) const {
  json pod = controller::pod_from_template(job_.pointer("/spec/template").to_json(), job_);
  json& metadata = pod["metadata"];
  metadata["finalizers"].push_back(kTracking);
  if (!index) return pod;
  const std::string text = std::to_string(*index);
  metadata["annotations"][kIndex] = text;
  metadata["labels"][kIndex] = text;
  metadata["generateName"] = job_.name() + "-" + text + "-";
  if (pod["spec"].value("hostname", "").empty()) pod["spec"]["hostname"] = job_.name() + "-" + text;
  const json variable = {
      {"name", "JOB_COMPLETION_INDEX"},
      {"valueFrom", {{"fieldRef", {{"fieldPath", "metadata.labels['" + std::string(kIndex) + "']"}}}}}};
  for (const char* list : {"initContainers", "containers"}) {
    if (!pod["spec"].contains(list)) continue;
    for (json& container : pod["spec"][list]) {
      json& env = container["env"];
      if (env.is_null()) env = json::array();
      const bool own =
          std::ranges::any_of(env, [](const json& v) { return v.value("name", "") == "JOB_COMPLETION_INDEX"; });
      if (!own) env.push_back(variable);
    }
  }
  return pod;
}

json JobPass::condition(const char* type, const char* status, const std::string& reason,
                        const std::string& message) const {
  const std::string now = api::format_time(services_.clock.wall_now());
  return {{"type", type},       {"status", status},     {"reason", reason},
          {"message", message}, {"lastProbeTime", now}, {"lastTransitionTime", now}};
}

void JobPass::tell_suspension() {
  json& conditions = status_["conditions"];
  const json* current = conditions.is_array() ? controller::find_condition(conditions, "Suspended") : nullptr;
  const bool said = current != nullptr && current->value("status", "") == "True";
  if (suspended(job_) && !said) {
    controller::set_condition(conditions, condition("Suspended", "True", "JobSuspended", "Job suspended"));
    events_.emplace_back("Suspended Job suspended");
  } else if (!suspended(job_) && said) {
    controller::set_condition(conditions, condition("Suspended", "False", "JobResumed", "Job resumed"));
    // Time spent suspended does not count against the deadline.
    status_["startTime"] = api::format_time(services_.clock.wall_now());
    events_.emplace_back("Resumed Job resumed");
  }
  if (conditions.is_null()) status_.erase("conditions");
}

void JobPass::announce(const Target& target) {
  controller::set_condition(status_["conditions"], condition(target.success ? "SuccessCriteriaMet" : "FailureTarget",
                                                             "True", target.reason, target.message));
}

// Counts what has ended: first it is written down whom we are about to count, then the pods are let go, then they are
// counted. A crash in between is found by the next pass: a uid written down whose pod has no finalizer is counted then,
// and once.
Result<Next> JobPass::track(const std::optional<Target>& target, const std::optional<Error>& failure) {
  set_count(status_, "active", active_count_);
  status_["ready"] = ready_;
  status_["terminating"] = terminating_;
  std::set<std::string> held;
  for (const Object& pod : pods_) {
    if (tracked(pod) && !memory_.was_released(pod.uid())) held.insert(pod.uid());
  }
  settle_uncounted(held);
  const std::vector<Object> ended = take_up_finished(target);
  KUBERNEL_CHECK_OK(write_status());
  memory_.remember(job_.key(), failures_);

  std::optional<Error> first = failure;
  for (const Object& pod : ended) {
    const auto let_go = release(ctx_, services_.api, pod);
    if (let_go) {
      memory_.released(pod.uid());
      held.erase(pod.uid());
    } else if (!first) {
      first = let_go.error();
    }
  }
  settle_uncounted(held);
  const bool all_counted = status_["uncountedTerminatedPods"].empty();
  const bool over = target && all_counted && active_count_ == 0 && terminating_ == 0 && !first;
  if (over) finish(*target);
  KUBERNEL_CHECK_OK(write_status());
  for (const std::string& event : events_) {
    const auto space = event.find(' ');
    services_.events.record(job_, over && !target->success ? "Warning" : "Normal", event.substr(0, space),
                            event.substr(space + 1));
  }
  if (over) memory_.forget(job_.key());
  if (first) return *first;
  return wake_
             ? Next::after(std::max(std::chrono::ceil<std::chrono::milliseconds>(*wake_), std::chrono::milliseconds(1)))
             : Next::done();
}

// Writes down who is to be counted; returns the pods that can be let go.
std::vector<Object> JobPass::take_up_finished(const std::optional<Target>& target) {
  std::vector<Object> out;
  std::set<std::string> succeeded = uids(status_, "succeeded"), failed_ones = uids(status_, "failed");
  for (const Object& pod : pods_) {
    if (static_cast<std::int64_t>(out.size()) >= kAtOnce) break;  // The status we write brings us back for the rest.
    if (!tracked(pod) || memory_.was_released(pod.uid())) continue;
    const auto index = index_of(pod);
    const bool counts = !indexed(job_) || (index && *index < completions());
    if (pod.pointer("/status/phase").string() == "Succeeded" && !failed_ones.contains(pod.uid())) {
      if (indexed(job_)) {
        if (counts) completed_.insert(*index);
      } else {
        succeeded.insert(pod.uid());
      }
    } else if (failed(job_, pod) || (target && !target->success)) {
      // When the job has failed, whatever still runs has failed with it.
      if (counts) failed_ones.insert(pod.uid());
    } else if (!target) {
      continue;
    }
    out.push_back(pod);
  }
  set_uids(status_, "succeeded", succeeded);
  set_uids(status_, "failed", failed_ones);
  if (indexed(job_)) {
    set_count(status_, "succeeded", static_cast<std::int64_t>(completed_.size()));
    if (completed_.empty()) {
      status_.erase("completedIndexes");
    } else {
      status_["completedIndexes"] = format_indexes(completed_);
    }
  }
  return out;
}

// Counts those written down whose pods no longer hold the finalizer.
void JobPass::settle_uncounted(const std::set<std::string>& still_held) {
  for (const char* which : {"succeeded", "failed"}) {
    std::set<std::string> left;
    std::int64_t counted = status_.value(which, std::int64_t{0});
    for (const std::string& uid : uids(status_, which)) {
      if (still_held.contains(uid)) {
        left.insert(uid);
      } else {
        ++counted;
      }
    }
    set_uids(status_, which, left);
    set_count(status_, which, counted);
  }
}

void JobPass::finish(const Target& target) {
  controller::set_condition(status_["conditions"],
                            condition(target.success ? "Complete" : "Failed", "True", target.reason, target.message));
  if (target.success) {
    status_["completionTime"] = api::format_time(services_.clock.wall_now());
    events_.emplace_back("Completed Job completed");
  } else {
    events_.push_back(target.reason + " " + target.message);
  }
}

Result<void> JobPass::write_status() {
  if (job_["status"].is_object() && job_["status"].to_json() == status_) return {};
  json document = job_.to_json();
  document["status"] = status_;
  KUBERNEL_TRY(job_, services_.api.update(ctx_, kJobs, job_.key(), document, {.subresource = "status"}));
  memory_.wrote(job_);
  return {};
}

void JobPass::wake_in(std::chrono::nanoseconds delay) {
  if (!wake_ || delay < *wake_) wake_ = delay;
}

}  // namespace kubernel::plugins::job
