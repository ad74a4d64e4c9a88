// SPDX-License-Identifier: Apache-2.0
//
// One pass over one job: counts, decides, makes and removes pods, writes the status.

#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <kubernel/controller/expectations.h>
#include <kubernel/controller/reconciler.h>

#include "job_facts.h"

namespace kubernel::plugins::job {

// What outlives a pass. Threads: all members may be called concurrently.
class Memory {
 public:
  explicit Memory(const Clock& clock) : expectations(clock) {}

  Failures failures(const api::ObjectKey& job) const;
  void remember(const api::ObjectKey& job, const Failures& failures);
  void forget(const api::ObjectKey& job);

  // The version our last status write made. A cached job older than that would count what is counted already.
  void wrote(const api::Object& job);
  bool stale(const api::Object& job) const;
  void gone(const api::ObjectKey& job);

  // Pods whose finalizer we have removed and whose cached copy still has it.
  void released(const std::string& uid);
  void release_seen(const std::string& uid);
  bool was_released(const std::string& uid) const;

  controller::Expectations expectations;

 private:
  mutable std::mutex mutex_;
  std::map<api::ObjectKey, Failures> failures_;
  std::map<api::ObjectKey, std::int64_t> written_;
  std::set<std::string> released_;
};

// Takes the tracking finalizer off a pod, on exactly the version that was seen. A pod that is gone is success.
Result<void> release(const CallContext& ctx, client::ApiClient& api, const api::Object& pod);

class JobPass {
 public:
  JobPass(const CallContext& ctx, const controller::ControllerContext& services, Memory& memory, api::Object job,
          std::vector<api::Object> pods, bool caught_up)
      : ctx_(ctx),
        services_(services),
        memory_(memory),
        job_(std::move(job)),
        pods_(std::move(pods)),
        caught_up_(caught_up) {}

  Result<controller::Next> run();

 private:
  // How the job is going to end.
  struct Target {
    bool success = false;
    std::string reason, message;
  };

  void count();
  std::optional<Target> target();
  Result<void> manage();
  Result<void> remove_pods(std::vector<api::Object> pods);
  Result<void> create_pods(std::int64_t count);
  nlohmann::json pod_for(std::optional<std::int64_t> index) const;
  std::vector<std::int64_t> free_indexes(std::int64_t count) const;
  std::vector<api::Object> surplus(std::int64_t at_least) const;
  bool reached() const;
  void tell_suspension();
  void announce(const Target& target);
  Result<controller::Next> track(const std::optional<Target>& target, const std::optional<Error>& failure);
  std::vector<api::Object> take_up_finished(const std::optional<Target>& target);
  void settle_uncounted(const std::set<std::string>& still_held);
  void finish(const Target& target);
  Result<void> write_status();
  void wake_in(std::chrono::nanoseconds delay);
  std::int64_t completions() const { return job_.pointer("/spec/completions").integer(1); }
  bool has_completions() const;
  nlohmann::json condition(const char* type, const char* status, const std::string& reason,
                           const std::string& message) const;

  const CallContext& ctx_;
  const controller::ControllerContext& services_;
  Memory& memory_;
  api::Object job_;
  std::vector<api::Object> pods_;
  const bool caught_up_;

  nlohmann::json status_;
  std::vector<api::Object> active_;
  std::int64_t active_count_ = 0, ready_ = 0, terminating_ = 0, succeeded_ = 0, failed_ = 0;
  Indexes completed_;
  Failures failures_;
  std::vector<std::string>
      events_;  // To be told once the status that says the same is written: "Normal Reason message".
  std::optional<std::chrono::nanoseconds> wake_;
};

}  // namespace kubernel::plugins::job
