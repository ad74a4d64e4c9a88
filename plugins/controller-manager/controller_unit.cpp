// SPDX-License-Identifier: Apache-2.0
#include "controller_unit.h"

#include <mutex>
#include <utility>

#include <kubernel/auth/user.h>

namespace kubernel::plugins::controller_manager {
namespace {

auth::User service_account(const std::string& account) {
  return {.name = "system:serviceaccount:kube-system:" + account,
          .groups = {"system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"}};
}

// Notes which informers a controller asks for.
class NotingFactory final : public client::InformerFactory {
 public:
  NotingFactory(client::InformerFactory& factory, std::vector<std::shared_ptr<client::Informer>>& noted)
      : factory_(factory), noted_(noted) {}
  std::shared_ptr<client::Informer> informer(const api::Resource& resource,
                                             const client::InformerOptions& options) override {
    noted_.push_back(factory_.informer(resource, options));
    return noted_.back();
  }
  void start() override { factory_.start(); }
  bool has_synced() const override { return factory_.has_synced(); }
  void stop() override { factory_.stop(); }

 private:
  client::InformerFactory& factory_;
  std::vector<std::shared_ptr<client::Informer>>& noted_;
};

}  // namespace

void NamedLogger::write(LogLevel level, std::string_view message, const std::vector<LogField>& fields) {
  std::vector<LogField> all{{"controller", name_}};
  all.insert(all.end(), fields.begin(), fields.end());
  log_.write(level, message, all);
}

struct ControllerUnit::Waiting {
  std::mutex mutex;
  std::size_t unsynced = 0;
  ControllerUnit* unit = nullptr;  // Null once the unit is going.
};

ControllerUnit::ControllerUnit(const plugin::ComponentContext& context, client::Connector& connector,
                               const plugin::Extension& extension, const controller::Spec& spec)
    : context_(context),
      name_(extension.name),
      log_(context.log, extension.name),
      client_(connector.connect(service_account(spec.service_account))),
      events_(client::make_event_recorder(*client_, {spec.service_account, ""}, log_, context.clock, context.random,
                                          context.blocking)),
      runner_(controller::make_runner({log_, context.metrics, context.clock, context.blocking}, {name_, spec.workers})),
      waiting_(std::make_shared<Waiting>()) {
  waiting_->unit = this;
}

ControllerUnit::~ControllerUnit() {
  {
    const std::lock_guard lock(waiting_->mutex);
    waiting_->unit = nullptr;
  }
  if (const auto stopped = runner_->stop({}); !stopped)
    log_error(log_, "controller did not stop", {{"error", stopped.error()}});
  reconciler_.reset();
}

Result<std::unique_ptr<ControllerUnit>> ControllerUnit::open(const plugin::ComponentContext& context,
                                                             client::Connector& connector,
                                                             client::InformerFactory& informers,
                                                             const plugin::Provided<controller::Spec>& provided) {
  std::unique_ptr<ControllerUnit> unit(new ControllerUnit(context, connector, *provided.extension, *provided.spec));
  if (auto made = unit->make(*provided.spec, provided.extension->config_json, informers); !made) {
    return std::move(made).error().wrap("controller " + unit->name_);
  }
  return unit;
}

Result<void> ControllerUnit::make(const controller::Spec& spec, const std::string& config_json,
                                  client::InformerFactory& informers) {
  const controller::ControllerContext lent{config_json,      *client_,       *events_,        log_,
                                           context_.metrics, context_.clock, context_.random, context_.blocking};
  KUBERNEL_TRY(reconciler_, catch_as_error("make", [&] { return spec.make(lent); }));
  NotingFactory noting(informers, informers_);
  return catch_as_error("watch", [&] { return reconciler_->watch(noting, *runner_); });
}

void ControllerUnit::run_when_synced() {
  // One more than there are informers, for this call itself: a controller without informers runs at once.
  waiting_->unsynced = informers_.size() + 1;
  const auto synced = [waiting = waiting_] {
    const std::lock_guard lock(waiting->mutex);
    if (--waiting->unsynced > 0 || waiting->unit == nullptr) return;
    waiting->unit->runner_->start(*waiting->unit->reconciler_);
  };
  for (const auto& informer : informers_) informer->on_synced(synced);
  synced();
}

}  // namespace kubernel::plugins::controller_manager
