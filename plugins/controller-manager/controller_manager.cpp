// SPDX-License-Identifier: Apache-2.0
#include "controller_manager.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include <kubernel/client/leader_election.h>

#include "controller_unit.h"

namespace kubernel::plugins::controller_manager {
namespace {

using nlohmann::json;
using plugin::ComponentContext;

struct Settings {
  std::vector<std::string> controllers;
  bool elect = false;
  client::LeaderElection election;
};

// The schema has checked the configuration and filled in its defaults.
Settings read_settings(const json& config) {
  Settings out;
  out.controllers = config.value("controllers", std::vector<std::string>{"*"});
  const json election = config.value("leaderElection", json::object());
  out.elect = election.value("enabled", false);
  out.election.lease = {election.value("namespace", "kube-system"), election.value("name", "kube-controller-manager")};
  out.election.lease_duration = std::chrono::seconds(election.value("leaseDurationSeconds", 15));
  out.election.renew_deadline = std::chrono::seconds(election.value("renewDeadlineSeconds", 10));
  out.election.retry_period = std::chrono::seconds(election.value("retryPeriodSeconds", 2));
  return out;
}

// Names win over "*", as upstream's --controllers.
bool enabled(const std::vector<std::string>& controllers, const std::string& name) {
  if (std::ranges::find(controllers, name) != controllers.end()) return true;
  if (std::ranges::find(controllers, "-" + name) != controllers.end()) return false;
  return std::ranges::find(controllers, "*") != controllers.end();
}

std::string identity(Random& random) {
  std::array<char, 256> host{};
  if (gethostname(host.data(), host.size() - 1) != 0) return random_uuid(random);
  return std::string(host.data()) + "_" + random_uuid(random);
}

class ControllerManager final : public plugin::Component {
 public:
  ControllerManager(const ComponentContext& context, Settings settings)
      : context_(context), settings_(std::move(settings)) {}

  Result<void> start(const CallContext&) override {
    connector_ = plugin::find<client::Connector>(context_.services);
    client_ = connector_->connect({.name = "system:kube-controller-manager", .groups = {"system:authenticated"}});
    informers_ = client::make_informer_factory(informer_context(), *client_);
    KUBERNEL_CHECK_OK(open_units());
    if (!settings_.elect) {
      run();
      return {};
    }
    settings_.election.identity = identity(context_.random);
    KUBERNEL_TRY(elector_, client::make_leader_elector(informer_context(), *client_, settings_.election,
                                                       {.started_leading = [this] { run(); },
                                                        .stopped_leading = [this] { lost_leadership(); }}));
    elector_->start();
    return {};
  }

  void stop(const CallContext& ctx) override {
    stopping_ = true;
    // Controllers first: whoever still writes must still hold the lease.
    for (const auto& unit : units_) {
      if (const auto stopped = unit->stop(ctx); !stopped)
        log_error(context_.log, "controller is slow to stop", {{"error", stopped.error()}});
    }
    if (elector_) elector_->stop();
    if (informers_) informers_->stop();
    units_.clear();
  }

  std::string problem() const override {
    if (elector_ && !elector_->leading()) return {};  // Standing by is a healthy state.
    std::string waiting;
    for (const auto& unit : units_) {
      if (!unit->running()) waiting += (waiting.empty() ? "" : ", ") + unit->name();
    }
    return waiting.empty() ? std::string() : "controllers wait for their caches: " + waiting;
  }

 private:
  client::InformerContext informer_context() const {
    return {context_.log, context_.clock, context_.random, context_.blocking};
  }

  Result<void> open_units() {
    std::set<std::string> known;
    for (const auto& provided : plugin::all<controller::Spec>(context_.extensions)) {
      known.insert(provided.extension->name);
      if (!enabled(settings_.controllers, provided.extension->name)) continue;
      KUBERNEL_TRY(auto unit, ControllerUnit::open(context_, *connector_, *informers_, provided));
      units_.push_back(std::move(unit));
    }
    for (const std::string& entry : settings_.controllers) {
      const std::string name = entry.starts_with('-') ? entry.substr(1) : entry;
      if (name != "*" && !known.contains(name)) {
        return Error(Reason::BadRequest, "controllers: no loaded plugin provides controller \"" + name + "\"");
      }
    }
    return {};
  }

  void run() {
    informers_->start();
    for (const auto& unit : units_) unit->run_when_synced();
  }

  // Another process may lead already. Its writes and ours must not mix, and caches of a follower are of no use: start
  // over.
  void lost_leadership() {
    if (stopping_) return;
    CallContext at_once;
    at_once.deadline = context_.clock.now();
    for (const auto& unit : units_) {
      // Late ones are waited for in stop(); none begins anything new.
      if (const auto stopped = unit->stop(at_once); !stopped)
        log_warning(context_.log, "controller is slow to stop", {{"error", stopped.error()}});
    }
    if (const auto process = plugin::find<plugin::Process>(context_.services)) {
      process->request_stop("controller-manager: leader election lost");
    } else {
      log_error(context_.log, "leader election lost, controllers stopped");
    }
  }

  const ComponentContext context_;
  Settings settings_;
  std::shared_ptr<client::Connector> connector_;
  std::unique_ptr<client::ApiClient> client_;
  std::unique_ptr<client::InformerFactory> informers_;
  std::vector<std::unique_ptr<ControllerUnit>> units_;
  std::unique_ptr<client::LeaderElector> elector_;
  std::atomic<bool> stopping_ = false;
};

}  // namespace

Result<std::unique_ptr<plugin::Component>> make_component(const ComponentContext& context) {
  return catch_as_error("config", [&]() -> Result<std::unique_ptr<plugin::Component>> {
    return std::make_unique<ControllerManager>(context, read_settings(json::parse(context.config_json)));
  });
}

}  // namespace kubernel::plugins::controller_manager
