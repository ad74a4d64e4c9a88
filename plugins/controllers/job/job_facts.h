// SPDX-License-Identifier: Apache-2.0
//
// What can be told from a job and its pods without touching the world.

#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/api/object.h>
#include <kubernel/base/clock.h>

namespace kubernel::plugins::job {

inline constexpr const char* kTracking = "batch.kubernetes.io/job-tracking";
inline constexpr const char* kIndex = "batch.kubernetes.io/job-completion-index";

bool indexed(const api::Object& job);
bool suspended(const api::Object& job);
// Condition Complete or Failed is True.
bool finished(const api::Object& job);
// "podFailurePolicy" and the like, when the job asks for something this controller does not do; else empty.
std::string unsupported(const api::Object& job);

bool tracked(const api::Object& pod);
// The pod's completion index; absent when it has none.
std::optional<std::int64_t> index_of(const api::Object& pod);
// True when the pod counts as failed: it failed, or it is going and its replacement does not wait for its end.
bool failed(const api::Object& job, const api::Object& pod);
Clock::WallTime finish_time(const api::Object& pod, Clock::WallTime now);
// Restarts in place (restartPolicy OnFailure) count against the limit, too.
bool past_limit_by_restarts(const api::Object& job, const std::vector<api::Object>& pods);

// "1,3-5,7" and back. Malformed parts read as nothing.
using Indexes = std::set<std::int64_t>;
std::string format_indexes(const Indexes& indexes);
Indexes parse_indexes(std::string_view text, std::int64_t completions);

// How often pods have failed since one last succeeded, and when last.
struct Failures {
  int count = 0;
  std::optional<Clock::WallTime> last;

  // With newly finished pods taken into account.
  Failures after(const std::vector<Clock::WallTime>& succeeded, const std::vector<Clock::WallTime>& failed) const;
  // How long to wait before the next pod is made; zero or less: not at all.
  std::chrono::nanoseconds wait(Clock::WallTime now) const;
};

}  // namespace kubernel::plugins::job
