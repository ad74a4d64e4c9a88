// SPDX-License-Identifier: Apache-2.0
#include "scheduler_process.h"

#include <stdexcept>
#include <utility>
#include <vector>

#include <kubernel/scheduler/framework.h>

#include "component.h"
#include "default_binder.h"
#include "default_preemption.h"
#include "inter_pod_affinity.h"
#include "node_affinity.h"
#include "node_name.h"
#include "node_ports.h"
#include "node_resources_balanced_allocation.h"
#include "node_resources_fit.h"
#include "node_unschedulable.h"
#include "pod_topology_spread.h"
#include "priority_sort.h"
#include "scheduling_gates.h"
#include "taint_toleration.h"
#include "volume_binding.h"

namespace kubernel::integration {

using nlohmann::json;
using scheduler::PluginSpec;

// What lies between the process and the API.
class SchedulerProcess::Line final : public client::Connector {
 public:
  explicit Line(client::Connector& api) : api_(api) {}
  std::unique_ptr<client::ApiClient> connect(const auth::User& user) override;

  bool cut() const { return cut_; }
  Result<void> check() const {
    if (cut_) return Error(Reason::ServiceUnavailable, "the line is cut");
    return {};
  }
  void set(bool cut) { cut_ = cut; }

  template <class T>
  Result<T> count(const std::string& verb, const api::Resource& resource, const std::string& subresource,
                  Result<T> answer) {
    const std::string what = verb + " " + resource.plural + (subresource.empty() ? "" : "/" + subresource);
    ++(answer ? answered_ : refused_)[what];
    return answer;
  }
  std::map<std::string, int> answered_, refused_;

 private:
  client::Connector& api_;
  bool cut_ = false;
};

class SchedulerProcess::CutWatch final : public client::Watch {
 public:
  CutWatch(std::shared_ptr<Line> line, std::unique_ptr<client::Watch> watch)
      : line_(std::move(line)), watch_(std::move(watch)) {}
  Result<std::vector<client::WatchEvent>> take(std::size_t max) override {
    if (line_->cut()) return Error(Reason::ServiceUnavailable, "the line is cut");
    return watch_->take(max);
  }
  void notify(std::function<void()> ready) override { watch_->notify(std::move(ready)); }

 private:
  const std::shared_ptr<Line> line_;
  const std::unique_ptr<client::Watch> watch_;
};

class SchedulerProcess::Client final : public client::ApiClient {
 public:
  Client(std::shared_ptr<Line> line, std::unique_ptr<client::ApiClient> api)
      : line_(std::move(line)), api_(std::move(api)) {}

  Result<api::Object> get(const CallContext& ctx, const api::Resource& resource, const api::ObjectKey& key,
                          std::string_view subresource) override {
    KUBERNEL_CHECK_OK(line_->check());
    return api_->get(ctx, resource, key, subresource);
  }
  Result<client::ObjectList> list(const CallContext& ctx, const api::Resource& resource,
                                  const client::ListOptions& options) override {
    KUBERNEL_CHECK_OK(line_->check());
    return api_->list(ctx, resource, options);
  }
  Result<std::unique_ptr<client::Watch>> watch(const CallContext& ctx, const api::Resource& resource,
                                               const client::WatchOptions& options) override {
    KUBERNEL_CHECK_OK(line_->check());
    KUBERNEL_TRY(auto watch, api_->watch(ctx, resource, options));
    return std::unique_ptr<client::Watch>(std::make_unique<CutWatch>(line_, std::move(watch)));
  }
  Result<api::Object> create(const CallContext& ctx, const api::Resource& resource, const api::ObjectKey& parent,
                             const json& document, const client::WriteOptions& options) override {
    KUBERNEL_CHECK_OK(line_->check());
    return line_->count("create", resource, options.subresource,
                        api_->create(ctx, resource, parent, document, options));
  }
  Result<api::Object> update(const CallContext& ctx, const api::Resource& resource, const api::ObjectKey& key,
                             const json& document, const client::WriteOptions& options) override {
    KUBERNEL_CHECK_OK(line_->check());
    return line_->count("update", resource, options.subresource, api_->update(ctx, resource, key, document, options));
  }
  Result<api::Object> patch(const CallContext& ctx, const api::Resource& resource, const api::ObjectKey& key,
                            client::PatchType type, const json& patch, const client::WriteOptions& options) override {
    KUBERNEL_CHECK_OK(line_->check());
    return line_->count("patch", resource, options.subresource, api_->patch(ctx, resource, key, type, patch, options));
  }
  Result<api::Object> remove(const CallContext& ctx, const api::Resource& resource, const api::ObjectKey& key,
                             const client::DeleteOptions& options) override {
    KUBERNEL_CHECK_OK(line_->check());
    return line_->count("delete", resource, "", api_->remove(ctx, resource, key, options));
  }
  Result<void> remove_all(const CallContext& ctx, const api::Resource& resource, const client::ListOptions& which,
                          const client::DeleteOptions& options) override {
    KUBERNEL_CHECK_OK(line_->check());
    return api_->remove_all(ctx, resource, which, options);
  }
  Result<std::vector<DiscoveredResource>> discover(const CallContext& ctx) override {
    KUBERNEL_CHECK_OK(line_->check());
    return api_->discover(ctx);
  }

 private:
  const std::shared_ptr<Line> line_;
  const std::unique_ptr<client::ApiClient> api_;
};

std::unique_ptr<client::ApiClient> SchedulerProcess::Line::connect(const auth::User& user) {
  // Not owned: the process outlives its clients, and its line with it.
  return std::make_unique<Client>(std::shared_ptr<Line>(this, [](Line*) {}), api_.connect(user));
}

class SchedulerProcess::Loaded final : public plugin::Extensions {
 public:
  using Make = Result<std::unique_ptr<scheduler::Plugin>> (*)(const scheduler::PluginContext&);
  void add(const std::string& name, Make make, int weight = 1) {
    all_.push_back({"scheduler", name, name, "{}", &typeid(PluginSpec),
                    std::make_shared<const PluginSpec>(PluginSpec{weight, make})});
  }
  std::vector<const plugin::Extension*> at(std::string_view point) const override {
    std::vector<const plugin::Extension*> out;
    for (const auto& extension : all_) {
      if (point == extension.point) out.push_back(&extension);
    }
    return out;
  }

 private:
  std::vector<plugin::Extension> all_;
};

namespace {

class NoPoller final : public Poller {
 public:
  Result<std::unique_ptr<Subscription>> when_readable(int, std::function<void()>) override {
    return Error(Reason::BadRequest, "not here");
  }
};

}  // namespace

SchedulerProcess::SchedulerProcess(apiserver::testing::ApiFixture& fixture, const std::string& config,
                                   std::uint64_t seed)
    : line_(std::make_shared<Line>(fixture.connector())),
      random_(seed),
      poller_(std::make_unique<NoPoller>()),
      offered_(std::make_unique<kubernel::testing::FakeServices>()),
      loaded_(std::make_unique<Loaded>()) {
  namespace p = plugins;
  loaded_->add("PrioritySort", p::make_priority_sort);
  loaded_->add("SchedulingGates", p::make_scheduling_gates);
  loaded_->add("NodeUnschedulable", p::make_node_unschedulable);
  loaded_->add("NodeName", p::make_node_name);
  loaded_->add("TaintToleration", p::make_taint_toleration, 3);
  loaded_->add("NodeAffinity", p::make_node_affinity, 2);
  loaded_->add("NodePorts", p::make_node_ports);
  loaded_->add("NodeResourcesFit", p::make_node_resources_fit);
  loaded_->add("VolumeBinding", p::make_volume_binding);
  loaded_->add("PodTopologySpread", p::make_pod_topology_spread, 2);
  loaded_->add("InterPodAffinity", p::make_inter_pod_affinity, 2);
  loaded_->add("DefaultPreemption", p::make_default_preemption);
  loaded_->add("NodeResourcesBalancedAllocation", p::make_node_resources_balanced_allocation);
  loaded_->add("DefaultBinder", p::make_default_binder);
  plugin::offer<client::Connector>(*offered_, line_);
  auto made = p::make_scheduler_component({"scheduler", config, fixture.log(), metrics_, fixture.clock(), random_,
                                           fixture.executor(), fixture.executor(), *poller_, *offered_, *loaded_});
  if (!made) throw std::runtime_error(made.error().message());
  component_ = *std::move(made);
  if (const auto started = component_->start({}); !started) throw std::runtime_error(started.error().message());
  fixture.executor().run_all();
}

SchedulerProcess::~SchedulerProcess() {
  component_->stop({});
}

void SchedulerProcess::cut() {
  line_->set(true);
}
void SchedulerProcess::mend() {
  line_->set(false);
}

int SchedulerProcess::calls(const std::string& what) const {
  const auto found = line_->answered_.find(what);
  return found == line_->answered_.end() ? 0 : found->second;
}
int SchedulerProcess::refused(const std::string& what) const {
  const auto found = line_->refused_.find(what);
  return found == line_->refused_.end() ? 0 : found->second;
}

}  // namespace kubernel::integration
