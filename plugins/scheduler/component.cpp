// SPDX-License-Identifier: Apache-2.0
#include "component.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <utility>

#include <nlohmann/json.hpp>

#include <kubernel/client/leader_election.h>
#include <kubernel/net/paths.h>

#include "scheduler.h"

namespace kubernel::plugins {
namespace {

using plugin::ComponentContext;

std::string identity(Random& random) {
  std::array<char, 256> host{};
  if (gethostname(host.data(), host.size() - 1) != 0) return random_uuid(random);
  return std::string(host.data()) + "_" + random_uuid(random);
}

class SchedulerComponent final : public plugin::Component {
 public:
  SchedulerComponent(const ComponentContext& context, SchedulerSettings settings)
      : context_(context), settings_(std::move(settings)) {}

  Result<void> start(const CallContext&) override {
    connector_ = plugin::find<client::Connector>(context_.services);
    client_ = connector_->connect({.name = "system:kube-scheduler", .groups = {"system:authenticated"}});
    const client::InformerContext informer_context{context_.log, context_.clock, context_.random, context_.blocking};
    informers_ = client::make_informer_factory(informer_context, *client_);
    const SchedulerContext context{context_.log,      context_.metrics, context_.clock, context_.random,
                                   context_.blocking, context_.compute, *client_,       *informers_};
    KUBERNEL_TRY(auto extenders, make_extenders({context_.log, context_.metrics, context_.clock, context_.blocking},
                                                settings_.extenders));
    KUBERNEL_TRY(scheduler_,
                 Scheduler::make(context, options(), plugin::all<scheduler::PluginSpec>(context_.extensions),
                                 std::move(extenders)));
    if (const auto paths = plugin::find<net::Paths>(context_.services)) {
      explain_path_ = paths->serve("/scheduler/explain", [this](const CallContext& ctx, const net::Request& request) {
        return explain(ctx, request);
      });
    }
    if (!settings_.election.enabled) {
      run();
      return {};
    }
    const ElectionSettings& election = settings_.election;
    KUBERNEL_TRY(elector_, client::make_leader_elector(informer_context, *client_,
                                                       {.lease = {election.ns, election.name},
                                                        .identity = identity(context_.random),
                                                        .lease_duration = election.lease_duration,
                                                        .renew_deadline = election.renew_deadline,
                                                        .retry_period = election.retry_period},
                                                       {.started_leading = [this] { run(); },
                                                        .stopped_leading = [this] { lost_leadership(); }}));
    elector_->start();
    return {};
  }

  void stop(const CallContext& ctx) override {
    stopping_ = true;
    explain_path_.reset();
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
  SchedulerOptions options() const {
    SchedulerOptions out;
    out.profiles = settings_.profiles;
    out.algorithm.percentage_of_nodes_to_score = settings_.percentage_of_nodes_to_score;
    // More helpers than cores would only wait for each other; the caller's thread works too.
    const auto cores = std::max<std::size_t>(1, static_cast<std::size_t>(sysconf(_SC_NPROCESSORS_ONLN)));
    out.algorithm.helpers = std::min(static_cast<std::size_t>(settings_.parallelism), cores) - 1;
    out.queue.initial_backoff = settings_.initial_backoff;
    out.queue.max_backoff = settings_.max_backoff;
    // What an extender answers for, NodeResourcesFit leaves alone.
    for (const ExtenderSettings& extender : settings_.extenders) {
      for (ProfileSettings& profile : out.profiles) {
        profile.ignored_resources.insert(profile.ignored_resources.end(), extender.ignored_resources.begin(),
                                         extender.ignored_resources.end());
      }
    }
    return out;
  }

  // GET /scheduler/explain?namespace=NS&pod=NAME
  net::Response explain(const CallContext& ctx, const net::Request& request) {
    const auto pod = request.param("pod");
    if (!pod) return answer(Error(Reason::BadRequest, "the parameter pod is missing"));
    if (!scheduler_->has_synced())
      return answer(Error(Reason::ServiceUnavailable, "the scheduler of this process is not active"));
    const auto explained =
        scheduler_->explain(ctx, {std::string(request.param("namespace").value_or("default")), std::string(*pod)});
    return explained ? answer(200, explained->json()) : answer(explained.error());
  }
  static net::Response answer(int status, std::string body) {
    net::Response out{status, {}, std::move(body)};
    out.headers.set("content-type", "application/json");
    return out;
  }
  static net::Response answer(const Error& error) {
    const nlohmann::json status = {{"kind", "Status"},
                                   {"apiVersion", "v1"},
                                   {"status", "Failure"},
                                   {"message", error.message()},
                                   {"reason", to_string(error.reason())},
                                   {"code", error.http_status()}};
    return answer(error.http_status(), status.dump());
  }

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
  const SchedulerSettings settings_;
  std::shared_ptr<client::Connector> connector_;
  std::unique_ptr<client::ApiClient> client_;
  std::unique_ptr<client::InformerFactory> informers_;
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<client::LeaderElector> elector_;
  std::unique_ptr<Subscription> explain_path_;  // Withdrawn first.
  std::atomic<bool> stopping_ = false;
};

}  // namespace

Result<std::unique_ptr<plugin::Component>> make_scheduler_component(const ComponentContext& context) {
  KUBERNEL_TRY(SchedulerSettings settings, read_settings(context.config_json));
  return std::make_unique<SchedulerComponent>(context, std::move(settings));
}

}  // namespace kubernel::plugins
