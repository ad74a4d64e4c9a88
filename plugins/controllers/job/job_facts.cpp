// SPDX-License-Identifier: Apache-2.0
#include "job_facts.h"

#include <algorithm>
#include <charconv>

#include <kubernel/api/time.h>
#include <kubernel/controller/conditions.h>
#include <kubernel/controller/pods.h>

namespace kubernel::plugins::job {

using api::Object;
using api::Value;
using std::chrono::seconds;

bool indexed(const Object& job) {
  return job.pointer("/spec/completionMode").string() == "Indexed";
}

bool suspended(const Object& job) {
  return job.pointer("/spec/suspend").boolean();
}

bool finished(const Object& job) {
  const Value conditions = job.pointer("/status/conditions");
  return controller::condition_true(conditions, "Complete") || controller::condition_true(conditions, "Failed");
}

std::string unsupported(const Object& job) {
  for (const char* field : {"podFailurePolicy", "successPolicy", "backoffLimitPerIndex", "maxFailedIndexes"}) {
    const Value value = job["spec"][field];
    if (value && !value.is_null()) return field;
  }
  return {};
}

bool tracked(const Object& pod) {
  for (const Value finalizer : pod.pointer("/metadata/finalizers")) {
    if (finalizer.string() == kTracking) return true;
  }
  return false;
}

std::optional<std::int64_t> index_of(const Object& pod) {
  const auto text = pod.annotations()[kIndex].string();
  std::int64_t index = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size() || index < 0) return std::nullopt;
  return index;
}

bool failed(const Object& job, const Object& pod) {
  const auto phase = pod.pointer("/status/phase").string();
  if (phase == "Failed") return true;
  if (job.pointer("/spec/podReplacementPolicy").string() == "Failed") return false;
  return pod.head().deleting && phase != "Succeeded";
}

Clock::WallTime finish_time(const Object& pod, Clock::WallTime now) {
  std::optional<Clock::WallTime> latest;
  for (const Value container : pod.pointer("/status/containerStatuses")) {
    const auto ended = api::read_time(container["state"]["terminated"]["finishedAt"]);
    if (ended && (!latest || *ended > *latest)) latest = ended;
  }
  if (latest) return *latest;
  if (const auto ready = api::read_time(
          controller::find_condition(pod.pointer("/status/conditions"), "Ready")["lastTransitionTime"])) {
    return *ready;
  }
  if (const auto deleted = api::read_time(pod.pointer("/metadata/deletionTimestamp"))) return std::min(*deleted, now);
  return now;
}

bool past_limit_by_restarts(const Object& job, const std::vector<Object>& pods) {
  if (job.pointer("/spec/template/spec/restartPolicy").string() != "OnFailure") return false;
  std::int64_t restarts = 0;
  for (const Object& pod : pods) {
    const auto phase = pod.pointer("/status/phase").string();
    if (phase != "Running" && phase != "Pending") continue;
    for (const char* list : {"initContainerStatuses", "containerStatuses"}) {
      for (const Value container : pod["status"][list]) restarts += container["restartCount"].integer();
    }
  }
  const std::int64_t limit = job.pointer("/spec/backoffLimit").integer(6);
  return limit == 0 ? restarts > 0 : restarts >= limit;
}

std::string format_indexes(const Indexes& indexes) {
  std::string out;
  for (auto it = indexes.begin(); it != indexes.end();) {
    const std::int64_t first = *it;
    std::int64_t last = first;
    for (++it; it != indexes.end() && *it == last + 1; ++it) last = *it;
    if (!out.empty()) out += ',';
    out += std::to_string(first);
    if (last == first + 1) out += ',' + std::to_string(last);
    if (last > first + 1) out += '-' + std::to_string(last);
  }
  return out;
}

Indexes parse_indexes(std::string_view text, std::int64_t completions) {
  Indexes out;
  const auto number = [](std::string_view part) -> std::optional<std::int64_t> {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
    if (part.empty() || error != std::errc{} || end != part.data() + part.size()) return std::nullopt;
    return value;
  };
  while (!text.empty()) {
    const auto comma = text.find(',');
    const std::string_view part = text.substr(0, comma);
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
    const auto dash = part.find('-');
    const auto first = number(part.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : number(part.substr(dash + 1));
    if (!first || !last) continue;
    for (std::int64_t i = *first; i <= *last && i < completions; ++i) out.insert(i);
  }
  return out;
}

Failures Failures::after(const std::vector<Clock::WallTime>& succeeded,
                         const std::vector<Clock::WallTime>& failed) const {
  Failures out = *this;
  if (!succeeded.empty()) {
    const auto last_success = std::ranges::max(succeeded);
    out.count = 0;
    if (out.last && *out.last <= last_success) out.last.reset();
    out.count += static_cast<int>(std::ranges::count_if(failed, [&](auto time) { return time > last_success; }));
  } else {
    out.count += static_cast<int>(failed.size());
  }
  for (const auto time : failed) {
    if (!out.last || time > *out.last) out.last = time;
  }
  return out;
}

std::chrono::nanoseconds Failures::wait(Clock::WallTime now) const {
  constexpr seconds kFirst{10}, kLongest{600};
  if (count == 0 || !last) return std::chrono::nanoseconds::zero();
  const auto pause = count > 7 ? kLongest : std::min(kFirst * (1 << (count - 1)), kLongest);
  return *last + pause - now;
}

}  // namespace kubernel::plugins::job
