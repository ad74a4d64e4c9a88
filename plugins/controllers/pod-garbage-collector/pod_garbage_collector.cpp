// SPDX-License-Identifier: Apache-2.0
#include "pod_garbage_collector.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

#include <nlohmann/json.hpp>

#include <kubernel/api/time.h>
#include <kubernel/controller/conditions.h>
#include <kubernel/controller/pods.h>

namespace kubernel::plugins::pod_garbage_collector {
namespace {

using api::Object;
using api::ObjectKey;
using api::Value;
using api::resources::kNodes;
using api::resources::kPods;
using controller::Next;
using nlohmann::json;

constexpr std::chrono::seconds kQuarantine{40};  // A node made anew takes its pods back.
constexpr const char* kOutOfService = "node.kubernetes.io/out-of-service";
// No pod has this key: it stands for the look at how many have ended.
const ObjectKey kEnded{"", ""};

std::string node_of(const Object& pod) {
  return std::string(pod.pointer("/spec/nodeName").string());
}

bool out_of_service(const Object& node) {
  if (controller::condition_true(node.pointer("/status/conditions"), "Ready")) return false;
  for (const Value taint : node.pointer("/spec/taints")) {
    if (taint["key"].string() == kOutOfService) return true;
  }
  return false;
}

class PodGarbageCollector final : public controller::Reconciler {
 public:
  PodGarbageCollector(const controller::ControllerContext& context, std::size_t threshold)
      : context_(context), threshold_(threshold) {}

  Result<void> watch(client::InformerFactory& informers, controller::KeyQueue& queue) override {
    queue_ = &queue;
    nodes_ = informers.informer(kNodes, {});
    pods_ = informers.informer(kPods, {});
    pods_->add_index("node", [](const Object& pod) -> std::vector<std::string> { return {node_of(pod)}; });
    pods_->add_index("ended", [](const Object& pod) -> std::vector<std::string> {
      if (!controller::pod_terminal(pod)) return {};
      return {"yes"};
    });
    on_pods_ = pods_->add_handler({.added = [this](const Object& pod) { pod_seen(pod); },
                                   .updated = [this](const Object&, const Object& after) { pod_seen(after); }});
    on_nodes_ = nodes_->add_handler({.added = [this](const Object& node) { node_back(node.name()); },
                                     .updated =
                                         [this](const Object&, const Object& after) {
                                           if (out_of_service(after)) add_pods(after.name());
                                         },
                                     .deleted = [this](const Object& node) { add_pods(node.name()); }});
    return {};
  }

  Result<Next> reconcile(const CallContext& ctx, const ObjectKey& key) override {
    if (key == kEnded) return drop_ended(ctx);
    const auto found = pods_->find(key);
    if (!found) return Next::done();
    const Object& pod = *found;
    const std::string node_name = node_of(pod);
    if (node_name.empty()) {
      if (!pod.head().deleting) return Next::done();
      return remove(ctx, pod, {});
    }
    const auto node = nodes_->find({"", node_name});
    if (node) {
      if (!pod.head().deleting || !out_of_service(*node)) return Next::done();
      return remove(ctx, pod, {});
    }
    const auto since = missing_since(node_name);
    const auto left = since + kQuarantine - context_.clock.now();
    if (left > Clock::TimePoint::duration::zero())
      return Next::after(std::chrono::ceil<std::chrono::milliseconds>(left));
    const auto live = context_.api.get(ctx, kNodes, {"", node_name}, {});
    if (live) return Next::done();  // The cache is behind.
    if (live.error().reason() != Reason::NotFound) return live.error();
    return remove(ctx, pod, "PodGC: node no longer exists");
  }

 private:
  void pod_seen(const Object& pod) {
    const std::string node = node_of(pod);
    const bool stuck = node.empty() ? pod.head().deleting : pod.head().deleting || !nodes_->find({"", node});
    if (stuck) queue_->add(pod.key());
    if (threshold_ > 0 && controller::pod_terminal(pod)) queue_->add(kEnded);
  }

  void add_pods(const std::string& node) {
    for (const Object& pod : pods_->by_index("node", node)) queue_->add(pod.key());
  }

  void node_back(const std::string& node) {
    const std::lock_guard lock(mutex_);
    missing_since_.erase(node);
  }

  Clock::TimePoint missing_since(const std::string& node) {
    const std::lock_guard lock(mutex_);
    return missing_since_.try_emplace(node, context_.clock.now()).first->second;
  }

  // `disruption`: told in the condition DisruptionTarget; empty for none.
  Result<Next> remove(const CallContext& ctx, const Object& pod, const std::string& disruption) {
    if (!controller::pod_terminal(pod)) KUBERNEL_CHECK_OK(mark_failed(ctx, pod, disruption));
    const auto removed =
        context_.api.remove(ctx, kPods, pod.key(), {.grace_period_seconds = 0, .precondition_uid = pod.uid()});
    if (!removed && removed.error().reason() != Reason::NotFound) return removed.error();
    return Next::done();
  }

  Result<void> mark_failed(const CallContext& ctx, const Object& pod, const std::string& disruption) {
    json status = {{"phase", "Failed"}};
    if (!disruption.empty()) {
      const Value present = pod.pointer("/status/conditions");
      json conditions = present.is_array() ? present.to_json() : json::array();
      controller::set_condition(conditions, {{"type", "DisruptionTarget"},
                                             {"status", "True"},
                                             {"reason", "DeletionByPodGC"},
                                             {"message", disruption},
                                             {"lastTransitionTime", api::format_time(context_.clock.wall_now())}});
      status["conditions"] = std::move(conditions);
    }
    // A patch, not an update: that is what this controller's role allows. Of exactly the version seen, for it replaces
    // the list.
    const json patch = {
        {"metadata", {{"uid", pod.uid()}, {"resourceVersion", std::to_string(pod.head().resource_version)}}},
        {"status", std::move(status)}};
    const auto written =
        context_.api.patch(ctx, kPods, pod.key(), client::PatchType::Merge, patch, {.subresource = "status"});
    if (!written && written.error().reason() != Reason::NotFound) return written.error();
    return {};
  }

  Result<Next> drop_ended(const CallContext& ctx) {
    std::vector<Object> ended = pods_->by_index("ended", "yes");
    std::erase_if(ended, [](const Object& pod) { return pod.head().deleting; });
    if (ended.size() <= threshold_) return Next::done();
    std::ranges::sort(ended, [](const Object& a, const Object& b) {
      const bool evicted_a = a.pointer("/status/reason").string() == "Evicted";
      const bool evicted_b = b.pointer("/status/reason").string() == "Evicted";
      if (evicted_a != evicted_b) return evicted_a;
      const auto ta = a.pointer("/metadata/creationTimestamp").string();
      const auto tb = b.pointer("/metadata/creationTimestamp").string();
      return ta != tb ? ta < tb : a.key() < b.key();
    });
    ended.resize(ended.size() - threshold_);
    for (const Object& pod : ended) {
      if (ctx.stopping()) return Error(Reason::Cancelled, "stopping");
      KUBERNEL_CHECK_OK(remove(ctx, pod, {}));
    }
    return Next::done();
  }

  const controller::ControllerContext context_;
  const std::size_t threshold_;
  controller::KeyQueue* queue_ = nullptr;
  std::shared_ptr<client::Informer> nodes_;
  std::shared_ptr<client::Informer> pods_;
  std::mutex mutex_;
  std::map<std::string, Clock::TimePoint> missing_since_;  // By node.
  std::unique_ptr<Subscription> on_pods_;
  std::unique_ptr<Subscription> on_nodes_;
};

}  // namespace

Result<std::unique_ptr<controller::Reconciler>> make_reconciler(const controller::ControllerContext& context) {
  return catch_as_error("config", [&]() -> Result<std::unique_ptr<controller::Reconciler>> {
    const json config = json::parse(context.config_json);
    return std::make_unique<PodGarbageCollector>(context, config.value("terminatedPodThreshold", std::size_t{12'500}));
  });
}

}  // namespace kubernel::plugins::pod_garbage_collector
