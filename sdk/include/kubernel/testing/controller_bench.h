// SPDX-License-Identifier: Apache-2.0
//
// ControllerBench: one controller with real informers, queue and runner on a fake cluster, a fake clock and one thread.

#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <kubernel/controller/reconciler.h>
#include <kubernel/controller/runner.h>
#include <kubernel/testing/fake_clock.h>
#include <kubernel/testing/fake_cluster.h>

namespace kubernel::testing {

/// Keeps events as "Normal Reason message".
class RecordingEvents final : public client::EventRecorder {
 public:
  void record(const api::Object& about, std::string_view type, std::string_view reason,
              std::string_view message) override;
  std::vector<std::string> lines() const;

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
};

/// Put the world into `cluster`, start(), change the world, settle(), look at the world. Threads: one.
class ControllerBench {
 public:
  using Make = Result<std::unique_ptr<controller::Reconciler>> (*)(const controller::ControllerContext&);

  explicit ControllerBench(Make make, std::string config_json = "{}", int workers = 1);
  ~ControllerBench();

  /// Makes the controller, syncs its informers and lets it run. A controller that cannot be made ends the process.
  void start();
  /// Runs everything that is due now, and what follows from it.
  void settle();
  /// Lets time pass, in steps, so that timers set by timers fire too.
  void advance(std::chrono::nanoseconds by);
  /// One reconcile with the cache as it is, past the queue.
  Result<controller::Next> reconcile(const api::ObjectKey& key);

  FakeClock clock;
  ManualExecutor executor;
  RecordingLogger log;
  RecordingMetrics metrics;
  SeededRandom random{7};
  FakeCluster cluster{clock};
  RecordingEvents events;
  std::unique_ptr<controller::Runner> runner;

 private:
  const Make make_;
  const std::string config_;
  std::unique_ptr<controller::ControllerContext> context_;
  std::unique_ptr<client::InformerFactory> informers_;
  std::unique_ptr<controller::Reconciler> reconciler_;
};

}  // namespace kubernel::testing
