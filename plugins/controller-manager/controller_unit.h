// SPDX-License-Identifier: Apache-2.0
//
// One controller and all that belongs to it.

#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include <kubernel/controller/reconciler.h>
#include <kubernel/controller/runner.h>
#include <kubernel/plugin/component.h>

namespace kubernel::plugins::controller_manager {

// Passes on, with the controller's name in every line.
class NamedLogger final : public Logger {
 public:
  NamedLogger(Logger& log, std::string name) : log_(log), name_(std::move(name)) {}
  bool enabled(LogLevel level) const override { return log_.enabled(level); }
  void write(LogLevel level, std::string_view message, const std::vector<LogField>& fields) override;

 private:
  Logger& log_;
  const std::string name_;
};

// Lifetime: the context, the connector and the informer factory outlive it.
class ControllerUnit {
 public:
  // Makes the controller and lets it ask for its informers. Errors: the controller's own, with its name in front.
  static Result<std::unique_ptr<ControllerUnit>> open(const plugin::ComponentContext& context,
                                                      client::Connector& connector, client::InformerFactory& informers,
                                                      const plugin::Provided<controller::Spec>& provided);
  ~ControllerUnit();
  ControllerUnit(const ControllerUnit&) = delete;
  ControllerUnit& operator=(const ControllerUnit&) = delete;

  const std::string& name() const { return name_; }
  // The runner starts when every informer the controller asked for has synced. Call once.
  void run_when_synced();
  bool running() const { return runner_->started(); }
  // No reconcile begins any more; returns when none runs.
  Result<void> stop(const CallContext& ctx) { return runner_->stop(ctx); }

 private:
  ControllerUnit(const plugin::ComponentContext& context, client::Connector& connector,
                 const plugin::Extension& extension, const controller::Spec& spec);
  Result<void> make(const controller::Spec& spec, const std::string& config_json, client::InformerFactory& informers);

  const plugin::ComponentContext& context_;
  const std::string name_;
  NamedLogger log_;
  std::unique_ptr<client::ApiClient> client_;
  std::unique_ptr<client::EventRecorder> events_;
  std::unique_ptr<controller::Runner> runner_;
  std::vector<std::shared_ptr<client::Informer>> informers_;
  std::unique_ptr<controller::Reconciler> reconciler_;  // Last: its subscriptions add to the runner's queue.
  // Shared with the callbacks that outlive a unit which is destroyed before its informers sync.
  struct Waiting;
  std::shared_ptr<Waiting> waiting_;
};

}  // namespace kubernel::plugins::controller_manager
