// SPDX-License-Identifier: Apache-2.0
#include "component.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <utility>

#include <nlohmann/json.hpp>

#include <kubernel/client/leader_election.h>

#include "scheduler.h"

namespace kubernel::plugins {
namespace {

using nlohmann::json;
using plugin::ComponentContext;

struct Settings {
  SchedulerOptions scheduler;
  bool elect = false;
  client::LeaderElection election;
};

// The schema has checked the configuration.
Settings read_settings(const json& config) {
  Settings out;
  ProfileSettings& profile = out.scheduler.profiles.front();
  profile.scheduler_name = config.value("schedulerName", profile.scheduler_name);
  profile.multi_point.disabled = config.value("disabled", std::vector<std::string>{});
  const json weights = config.value("weights", json::object());
  for (const auto& [name, weight] : weights.items()) {
    profile.points[static_cast<std::size_t>(Point::Score)].enabled.push_back({name, weight.get<int>()});
  }
  out.scheduler.algorithm.percentage_of_nodes_to_score = config.value("percentageOfNodesToScore", 0);
  out.scheduler.queue.initial_backoff = std::chrono::seconds(config.value("podInitialBackoffSeconds", 1));
  out.scheduler.queue.max_backoff = std::chrono::seconds(config.value("podMaxBackoffSeconds", 10));
  const json election = config.value("leaderElection", json::object());
  out.elect = election.value("enabled", false);
  out.election.lease = {election.value("namespace", "kube-system"), election.value("name", "kube-scheduler")};
  out.election.lease_duration = std::chrono::seconds(election.value("leaseDurationSeconds", 15));
  out.election.renew_deadline = std::chrono::seconds(election.value("renewDeadlineSeconds", 10));
  out.election.retry_period = std::chrono::seconds(election.value("retryPeriodSeconds", 2));
  return out;
}

std::string identity(Random& random) {
  std::array<char, 256> host{};
  if (gethostname(host.data(), host.size() - 1) != 0) return random_uuid(random);
  return std::string(host.data()) + "_" + random_uuid(random);
}

class SchedulerComponent final : public plugin::Component {
 public:
  SchedulerComponent(const ComponentContext& context, Settings settings) : context_(context), settings_(std::move(settings)) {}

  Result<void> start(const CallContext&) override {
    connector_ = plugin::find<client::Connector>(context_.services);
    client_ = connector_->connect({.name = "system:kube-scheduler", .groups = {"system:authenticated"}});
    const client::InformerContext informer_context{context_.log, context_.clock, context_.random, context_.blocking};
    informers_ = client::make_informer_factory(informer_context, *client_);
    const SchedulerContext context{context_.log,      context_.metrics, context_.clock, context_.random,
                                   context_.blocking, context_.compute, *client_,       *informers_};
    KUBERNEL_TRY(scheduler_, Scheduler::make(context, settings_.scheduler, plugin::all<scheduler::PluginSpec>(context_.extensions)));
    if (!settings_.elect) {
      run();
      return {};
    }
    settings_.election.identity = identity(context_.random);
    KUBERNEL_TRY(elector_, client::make_leader_elector(informer_context, *client_, settings_.election,
                                                       {.started_leading = [this] { run(); },
                                                        .stopped_leading = [this] { lost_leadership(); }}));
    elector_->start();
    return {};
  }

  void stop(const CallContext& ctx) override {
    stopping_ = true;
    if (scheduler_) scheduler_->stop(ctx);  // Whoever still binds must still hold the lease.
    if (elector_) elector_->stop();
    if (informers_) informers_->stop();
    elector_.reset();
    scheduler_.reset();
    informers_.reset();
  }

  std::string problem() const override {
    if (elector_ && !elector_->leading()) return {};  // Standing by is a healthy state.
    return scheduler_ && scheduler_->has_synced() ? std::string() : "waiting for the first list of nodes and pods";
  }

 private:
  void run() {
    scheduler_->start();
    informers_->start();
  }

  // Another process may lead already; two that bind at once would fight.
  void lost_leadership() {
    if (stopping_) return;
    scheduler_->stop({});
    if (const auto process = plugin::find<plugin::Process>(context_.services)) {
      process->request_stop("scheduler: leader election lost");
    } else {
      log_error(context_.log, "leader election lost, scheduling stopped");
    }
  }

  const ComponentContext context_;
  Settings settings_;
  std::shared_ptr<client::Connector> connector_;
  std::unique_ptr<client::ApiClient> client_;
  std::unique_ptr<client::InformerFactory> informers_;
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<client::LeaderElector> elector_;
  std::atomic<bool> stopping_ = false;
};

}  // namespace

Result<std::unique_ptr<plugin::Component>> make_scheduler_component(const ComponentContext& context) {
  return catch_as_error("config", [&]() -> Result<std::unique_ptr<plugin::Component>> {
    return std::make_unique<SchedulerComponent>(context, read_settings(json::parse(context.config_json)));
  });
}

}  // namespace kubernel::plugins
