// SPDX-License-Identifier: Apache-2.0
#include "simulated_nodes.h"

#include <kubernel/client/informer.h>
#include <kubernel/controller/runner.h>

#include "simulation.h"

namespace kubernel::plugins {
namespace {

using nlohmann::json;
using plugin::ComponentContext;

class SimulatedNodes final : public plugin::Component {
 public:
  SimulatedNodes(const ComponentContext& context, SimulationSettings settings, int workers)
      : context_(context), settings_(std::move(settings)), workers_(workers) {}

  Result<void> start(const CallContext&) override {
    connector_ = plugin::find<client::Connector>(context_.services);
    api_ =
        connector_->connect({.name = "system:simulated-nodes", .groups = {"system:masters", "system:authenticated"}});
    informers_ =
        client::make_informer_factory({context_.log, context_.clock, context_.random, context_.blocking}, *api_);
    runner_ = controller::make_runner({context_.log, context_.metrics, context_.clock, context_.blocking},
                                      {"simulated-nodes", workers_});
    simulation_ = std::make_unique<Simulation>(settings_, *api_, context_.clock);
    KUBERNEL_CHECK_OK(simulation_->watch(*informers_, *runner_));
    for (const auto& informer : simulation_->informers()) informer->on_synced([this] { run_when_synced(); });
    informers_->start();
    return {};
  }

  void stop(const CallContext& ctx) override {
    if (const auto stopped = runner_->stop(ctx); !stopped) {
      log_error(context_.log, "simulated nodes are slow to stop", {{"error", stopped.error()}});
    }
    informers_->stop();
    runner_.reset();
    simulation_.reset();
    informers_.reset();
  }

  std::string problem() const override {
    if (!runner_->started()) return "waiting for the first list of nodes and pods";
    const std::size_t missing = simulation_->missing_nodes();
    return missing == 0 ? std::string() : std::to_string(missing) + " nodes are still to be made";
  }

 private:
  void run_when_synced() {
    if (!informers_->has_synced() || started_.exchange(true)) return;
    simulation_->make_nodes();
    runner_->start(*simulation_);
  }

  const ComponentContext context_;
  const SimulationSettings settings_;
  const int workers_;
  std::shared_ptr<client::Connector> connector_;
  std::unique_ptr<client::ApiClient> api_;
  std::unique_ptr<client::InformerFactory> informers_;
  std::unique_ptr<Simulation> simulation_;
  std::unique_ptr<controller::Runner> runner_;
  std::atomic<bool> started_ = false;
};

}  // namespace

Result<std::unique_ptr<plugin::Component>> make_simulated_nodes(const ComponentContext& context) {
  return catch_as_error("config", [&]() -> Result<std::unique_ptr<plugin::Component>> {
    const json config = json::parse(context.config_json);
    SimulationSettings settings;
    for (const json& entry : config.value("templates", json::array()))
      settings.templates.push_back(NodeTemplate::read(entry));
    settings.lease_duration = std::chrono::seconds(config.value("leaseDurationSeconds", 40));
    settings.start_delay = std::chrono::milliseconds(config.value("startDelayMilliseconds", 0));
    settings.job_duration = std::chrono::milliseconds(config.value("jobDurationMilliseconds", 1000));
    settings.stop_delay = std::chrono::milliseconds(config.value("stopDelayMilliseconds", 0));
    return std::make_unique<SimulatedNodes>(context, std::move(settings), config.value("workers", 8));
  });
}

}  // namespace kubernel::plugins
