// SPDX-License-Identifier: Apache-2.0
//
// PodWorker: makes one pod real and says what became of it.
//
// sync() is level-triggered and never waits: pulls, hooks and grace periods run elsewhere and wake the worker. All
// knowledge that must survive a restart is in the runtime's labels and annotations and in the API.

#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include <kubernel/api/object.h>

#include "pods/backoff.h"
#include "pods/container_config.h"
#include "pods/kit.h"
#include "pods/plan.h"
#include "pods/pod_status.h"

namespace kubernel::kubelet {

class PodWorker : public std::enable_shared_from_this<PodWorker> {
 public:
  // `finished` is called once, on a pool thread, when nothing of the pod is left anywhere.
  PodWorker(Kit& kit, std::string uid, std::function<void()> finished);
  ~PodWorker();

  // Threads: any.
  void update(const api::Object& pod);  // Older versions are ignored.
  void gone();                          // The API has it no more.
  void wake();
  // The newest version known, with the status that was last written.
  std::optional<api::Object> pod() const;

 private:
  // A hook that runs on another thread.
  struct Hook {
    std::mutex mutex;
    std::optional<Result<void>> result;
    Clock::TimePoint done_at;
    std::unique_ptr<Subscription> timer;  // Of a hook that only waits.
    bool done();
  };
  // A container on its way to its end.
  struct Stop {
    std::shared_ptr<Hook> pre_stop;
    bool announced = false, asked = false;
    Clock::TimePoint deadline;
  };

  void run();
  void sync();
  void arm_timer();
  void wake_at(Clock::TimePoint due);
  void wake_after(Clock::TimePoint::duration delay);

  // pod_worker.cpp
  bool past_deadline(const api::Object& pod);
  bool decide_end(const api::Object& pod);
  void run_pod(const api::Object& pod);
  bool act(const api::Object& pod, const Plan& plan);
  void update_probes(const api::Object& pod);
  void remove_dead_containers();
  void read_messages(const api::Object& pod);
  ContainerHealth health(const runtime::ContainerStatus& container) const;
  void event(std::string_view type, std::string_view reason, const std::string& message) const;
  std::string directory() const;

  // pod_report.cpp
  void report(const api::Object& pod, bool terminated, bool initialized);
  void write_status(const api::Object& pod, nlohmann::json status);

  // pod_sandbox.cpp
  bool make_sandbox(const api::Object& pod, std::uint32_t attempt);
  Result<void> try_make_sandbox(const api::Object& pod, std::uint32_t attempt);
  Result<network::PodAddresses> attach_network(const api::Object& pod, const std::string& network_id);
  Result<void> stop_sandboxes();
  Result<void> stop_sandbox(const runtime::SandboxStatus& sandbox);
  Result<void> remove_sandboxes();
  Result<void> write_pod_files(const api::Object& pod);
  bool mount_volumes(const api::Object& pod);
  std::vector<std::string> pod_ips(const api::Object& pod) const;
  PodFacts facts_of(const api::Object& pod) const;

  // pod_start.cpp
  bool start(const api::Object& pod, const Plan::Start& what);
  bool in_back_off(const api::Object& pod, const Plan::Start& what);
  std::optional<runtime::Image> ensure_image(const api::Object& pod, const ContainerSpec& container);
  std::optional<runtime::Image> begin_pull(const api::Object& pod, const ContainerSpec& container);
  std::optional<runtime::Image> finish_pull(const api::Object& pod, const ContainerSpec& container);
  std::vector<runtime::Credentials> pull_credentials(const api::Object& pod, const std::string& reference);
  Result<runtime::ContainerConfig> make_config(const api::Object& pod, const Plan::Start& what,
                                               const runtime::Image& image);
  Result<std::vector<runtime::Mount>> make_mounts(const api::Object& pod, const ContainerSpec& container,
                                                  const Environment& environment, std::uint32_t attempt);
  Result<void> create_and_start(const api::Object& pod, const Plan::Start& what, const runtime::Image& image);
  void start_failed(const api::Object& pod, const ContainerSpec& container, std::string reason, const Error& error);
  std::shared_ptr<Hook> run_hook(const api::Object& pod, const ContainerSpec& container, const std::string& id,
                                 const char* which, std::chrono::seconds timeout);
  void finish_hook(const std::shared_ptr<Hook>& hook, Result<void> result);
  void finish_hook_later(const std::shared_ptr<Hook>& hook, std::chrono::seconds delay);
  bool check_post_start(const api::Object& pod);
  void waiting(const std::string& container, std::string reason, std::string message);

  // pod_stop.cpp
  void terminate();
  bool stop_containers();
  bool step_stop(const runtime::ContainerStatus& container, Clock::TimePoint deadline, const std::string& message);
  void end_pod(const std::optional<api::Object>& pod);
  void delete_from_api(const api::Object& pod);
  void clean_up();
  std::chrono::seconds grace() const;

  Kit& kit_;
  const std::string uid_;
  std::function<void()> finished_;

  mutable std::mutex mutex_;
  std::optional<api::Object> pod_;
  bool gone_ = false, queued_ = false, running_ = false, again_ = false, ended_ = false;

  // Used by sync() only, which never runs twice at once.
  std::optional<api::Object> current_;  // The pod of this sync.
  bool is_gone_ = false;
  PodRuntime runtime_;
  Clock::TimePoint next_wake_;
  std::unique_ptr<Subscription> timer_;
  std::map<std::string, ContainerFacts> facts_;
  std::map<std::string, std::shared_ptr<Pull>> pulls_;       // By container.
  std::map<std::string, std::shared_ptr<Hook>> post_start_;  // By container id.
  std::map<std::string, Stop> stops_;                        // By container id.
  std::map<std::string, std::string> messages_;              // Termination messages by container id.
  std::set<std::string> detached_;                           // Network ids.
  VolumePaths volume_paths_;
  Backoff restart_back_off_, pull_back_off_, retry_back_off_;
  std::string last_status_;  // As sent, for compare-before-write.
  Clock::TimePoint last_status_at_;
  bool initialized_ = false;
  std::map<std::string, Clock::TimePoint> pull_failed_at_;  // By image reference.
  Clock::TimePoint next_sandbox_from_;                      // When the last sandbox could not be made.

  bool terminating_ = false;
  Clock::TimePoint terminating_since_;
  std::string forced_phase_, end_reason_, end_message_;
  bool volumes_gone_ = false, deleted_ = false;
};

}  // namespace kubernel::kubelet
