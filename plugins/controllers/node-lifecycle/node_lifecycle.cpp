// SPDX-License-Identifier: Apache-2.0
#include "node_lifecycle.h"

#include <algorithm>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include <kubernel/api/time.h>
#include <kubernel/controller/conditions.h>
#include <kubernel/controller/pods.h>

#include "eviction.h"
#include "node_health.h"

namespace kubernel::plugins::node_lifecycle {
namespace {

using api::Object;
using api::ObjectKey;
using api::Value;
using api::resources::kLeases;
using api::resources::kNodes;
using api::resources::kPods;
using controller::Next;
using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr double kUnhealthyZone = 0.55;
constexpr std::size_t kLargeCluster = 50;
constexpr double kSecondaryRate = 0.1;  // Of the normal one.

struct Settings {
  seconds monitor_grace{50};
  seconds startup_grace{60};
  double eviction_rate = 0.1;
};

// Keys without namespace are nodes, those with one are pods.
class NodeLifecycle final : public controller::Reconciler {
 public:
  NodeLifecycle(const controller::ControllerContext& context, Settings settings)
      : context_(context),
        settings_(settings),
        health_(context.clock, settings.monitor_grace, settings.startup_grace) {}

  Result<void> watch(client::InformerFactory& informers, controller::KeyQueue& queue) override {
    queue_ = &queue;
    nodes_ = informers.informer(kNodes, {});
    leases_ = informers.informer(kLeases, {.ns = "kube-node-lease"});
    pods_ = informers.informer(kPods, {});
    pods_->add_index("node", [](const Object& pod) -> std::vector<std::string> {
      return {std::string(pod.pointer("/spec/nodeName").string())};
    });
    on_nodes_ =
        nodes_->add_handler({.added = [this](const Object& node) { node_seen(std::nullopt, node); },
                             .updated = [this](const Object& before, const Object& after) { node_seen(before, after); },
                             .deleted = [this](const Object& node) { node_gone(node); }});
    on_leases_ =
        leases_->add_handler({.added = [this](const Object& lease) { health_.lease_seen(lease); },
                              .updated = [this](const Object&, const Object& after) { health_.lease_seen(after); }});
    const auto add = [this](const Object& pod) {
      if (!pod.pointer("/spec/nodeName").string().empty()) queue_->add(pod.key());
    };
    on_pods_ = pods_->add_handler({.added = add, .updated = [add](const Object&, const Object& after) { add(after); }});
    return {};
  }

  Result<Next> reconcile(const CallContext& ctx, const ObjectKey& key) override {
    return key.ns.empty() ? reconcile_node(ctx, key) : reconcile_pod(ctx, key);
  }

 private:
  // --- Nodes.

  Result<Next> reconcile_node(const CallContext& ctx, const ObjectKey& key) {
    const auto found = nodes_->find(key);
    if (!found) return Next::done();
    Object node = *found;
    const auto left = health_.time_left(node);
    const bool silent = left <= std::chrono::nanoseconds::zero();
    if (silent && ready_status(node) != "Unknown") {
      KUBERNEL_TRY(node, mark_unknown(ctx, node));
    }
    std::optional<milliseconds> again;
    // While it speaks: a look when it would have been silent too long. Once it is silent, its next word brings us back.
    if (!silent) again = std::chrono::ceil<milliseconds>(left);
    KUBERNEL_TRY(const auto wait, taint(ctx, node));
    if (wait && (!again || *wait < *again)) again = wait;
    KUBERNEL_CHECK_OK(mark_pods(ctx, node));
    return again ? Next::after(std::max(*again, milliseconds(1))) : Next::done();
  }

  Result<Object> mark_unknown(const CallContext& ctx, const Object& node) {
    json document = node.to_json();
    const bool was_ready = ready_status(node) == "True";
    document["status"]["conditions"] = conditions_unknown(node, context_.clock.wall_now());
    KUBERNEL_TRY(Object written, context_.api.update(ctx, kNodes, node.key(), document, {.subresource = "status"}));
    if (was_ready) not_ready_event(written);
    return written;
  }

  void not_ready_event(const Object& node) {
    context_.events.record(node, "Normal", "NodeNotReady", "Node " + node.name() + " status is now: NodeNotReady");
  }

  // Taints by conditions. Returns how long a NoExecute taint has to wait for its turn.
  Result<std::optional<milliseconds>> taint(const CallContext& ctx, const Object& node) {
    const std::string ready = ready_status(node);
    std::string_view no_execute = ready == "False" ? kNotReady : ready == "Unknown" ? kUnreachable : std::string_view();
    std::optional<milliseconds> wait;
    if (!no_execute.empty()) {
      if (!any_node_working()) {
        no_execute = {};  // It is more likely that we are cut off than that all have failed at once.
      } else if (const bool begins = !has_no_execute(node); begins) {
        wait = turn_of(node);
        if (wait) no_execute = {};
      }
    }
    const json taints = taints_with(node, no_schedule_keys(node), no_execute, context_.clock.wall_now());
    const Value present = node.pointer("/spec/taints");
    if (taints != (present.is_array() ? present.to_json() : json::array())) {
      json document = node.to_json();
      document["spec"]["taints"] = taints;
      KUBERNEL_CHECK_OK(context_.api.update(ctx, kNodes, node.key(), document, {}));
      if (wait) return wait;
    } else if (!wait) {
      const std::lock_guard lock(mutex_);
      waiting_.erase(node.name());
    }
    return wait;
  }

  static bool has_no_execute(const Object& node) {
    for (const Value taint : node.pointer("/spec/taints")) {
      const auto key = taint["key"].string();
      if (taint["effect"].string() == "NoExecute" && (key == kNotReady || key == kUnreachable)) return true;
    }
    return false;
  }

  // A node that has just fallen silent does not count, although its condition is not written yet: when all fall silent
  // together, none of them is to lose its pods.
  bool working(const Object& node) {
    return ready_status(node) == "True" && health_.time_left(node) > std::chrono::nanoseconds::zero();
  }
  bool any_node_working() {
    return std::ranges::any_of(nodes_->list({}, {}), [this](const Object& node) { return working(node); });
  }

  static std::string zone_of(const Object& node) {
    return std::string(node.labels()["topology.kubernetes.io/region"].string()) + "/" +
           std::string(node.labels()["topology.kubernetes.io/zone"].string());
  }

  // Absent: the node's turn to lose its pods is now. In a zone that is failing as a whole it comes late or never.
  std::optional<milliseconds> turn_of(const Object& node) {
    const std::string zone = zone_of(node);
    std::size_t all = 0, in_zone = 0, failed = 0;
    for (const Object& other : nodes_->list({}, {})) {
      ++all;
      if (zone_of(other) != zone) continue;
      ++in_zone;
      failed += working(other) ? 0U : 1U;
    }
    double rate = settings_.eviction_rate;
    const bool full = failed == in_zone;
    const bool partial =
        !full && failed > 2 && static_cast<double>(failed) >= kUnhealthyZone * static_cast<double>(in_zone);
    if (partial) rate = all > kLargeCluster ? rate * kSecondaryRate : 0;
    const std::lock_guard lock(mutex_);
    waiting_.insert(node.name());
    if (rate <= 0)
      return milliseconds(5'000);  // Asked again while the zone is in this state; a node's change asks at once.
    const auto now = context_.clock.now();
    auto& next = next_turn_[zone];
    if (next > now) return std::chrono::ceil<milliseconds>(next - now);
    next = now + std::chrono::duration_cast<Clock::TimePoint::duration>(std::chrono::duration<double>(1 / rate));
    waiting_.erase(node.name());
    return std::nullopt;
  }

  // Pods of a node that does not report cannot say themselves that they are not ready.
  Result<void> mark_pods(const CallContext& ctx, const Object& node) {
    const std::string ready = ready_status(node);
    bool failed_just_now = false;
    {
      const std::lock_guard lock(mutex_);
      failed_just_now = turned_not_ready_.contains(node.name());
    }
    if (ready != "Unknown" && !failed_just_now) return {};
    if (ready != "True") {
      for (const Object& pod : pods_->by_index("node", node.name())) KUBERNEL_CHECK_OK(mark_pod(ctx, pod));
    }
    const std::lock_guard lock(mutex_);
    turned_not_ready_.erase(node.name());
    return {};
  }

  Result<void> mark_pod(const CallContext& ctx, const Object& pod) {
    if (!controller::pod_ready(pod)) return {};
    json document = pod.to_json();
    json* condition = controller::find_condition(document["status"]["conditions"], "Ready");
    if (condition == nullptr) return {};
    (*condition)["status"] = "False";
    (*condition)["lastTransitionTime"] = api::format_time(context_.clock.wall_now());
    const auto written = context_.api.update(ctx, kPods, pod.key(), document, {.subresource = "status"});
    if (!written && written.error().reason() != Reason::NotFound) return written.error();
    if (written) context_.events.record(pod, "Warning", "NodeNotReady", "Node is not ready");
    return {};
  }

  // --- Pods.

  Result<Next> reconcile_pod(const CallContext& ctx, const ObjectKey& key) {
    const auto pod = pods_->find(key);
    if (!pod || pod->head().deleting || controller::pod_terminal(*pod)) return Next::done();
    const auto node = nodes_->find({"", std::string(pod->pointer("/spec/nodeName").string())});
    if (!node) return Next::done();  // The pod garbage collector's affair.
    const auto leaves = leaves_at(*pod, *node, [&](Value taint) { return first_seen(*node, taint); });
    if (!leaves) return Next::done();
    const auto now = context_.clock.wall_now();
    if (*leaves > now) return Next::after(std::chrono::ceil<milliseconds>(*leaves - now));
    return evict(ctx, *pod);
  }

  Result<Next> evict(const CallContext& ctx, const Object& pod) {
    context_.events.record(pod, "Normal", "TaintManagerEviction", "Marking for deletion Pod " + to_string(pod.key()));
    json document = pod.to_json();
    controller::set_condition(document["status"]["conditions"],
                              {{"type", "DisruptionTarget"},
                               {"status", "True"},
                               {"reason", "DeletionByTaintManager"},
                               {"message", "Taint manager: deleting due to NoExecute taint"},
                               {"lastTransitionTime", api::format_time(context_.clock.wall_now())}});
    if (document != pod.to_json()) {
      const auto written = context_.api.update(ctx, kPods, pod.key(), document, {.subresource = "status"});
      if (!written && written.error().reason() != Reason::NotFound) return written.error();
    }
    const auto removed = context_.api.remove(ctx, kPods, pod.key(), {.precondition_uid = pod.uid()});
    if (!removed && removed.error().reason() != Reason::NotFound) return removed.error();
    return Next::done();
  }

  Clock::WallTime first_seen(const Object& node, Value taint) {
    const std::lock_guard lock(mutex_);
    auto& seen = taints_seen_[node.name()];
    return seen.try_emplace(taint.dump(), context_.clock.wall_now()).first->second;
  }

  // --- What the watches show.

  void node_seen(const std::optional<Object>& before, const Object& after) {
    health_.node_seen(after);
    queue_->add(after.key());
    const bool ready_changed = before && ready_status(*before) != ready_status(after);
    if (before && ready_status(*before) == "True" && ready_status(after) == "False") {
      not_ready_event(after);
      const std::lock_guard lock(mutex_);
      turned_not_ready_.insert(after.name());
    }
    if (ready_changed) wake_waiting();
    if (!before || before->pointer("/spec/taints") != after.pointer("/spec/taints")) taints_changed(after);
  }

  void taints_changed(const Object& node) {
    {
      const std::lock_guard lock(mutex_);
      auto& seen = taints_seen_[node.name()];
      std::map<std::string, Clock::WallTime> still;
      for (const Value taint : node.pointer("/spec/taints")) {
        if (taint["effect"].string() != "NoExecute") continue;
        const std::string text = taint.dump();
        const auto known = seen.find(text);
        still.emplace(text, known == seen.end() ? context_.clock.wall_now() : known->second);
      }
      seen = std::move(still);
    }
    for (const Object& pod : pods_->by_index("node", node.name())) queue_->add(pod.key());
  }

  // One node's change may end a disruption that others wait for, or begin one.
  void wake_waiting() {
    std::set<std::string> all;
    {
      const std::lock_guard lock(mutex_);
      all = waiting_;
    }
    for (const std::string& name : all) queue_->add({"", name});
    for (const Object& node : nodes_->list({}, {})) {
      if (ready_status(node) != "True") queue_->add(node.key());
    }
  }

  void node_gone(const Object& node) {
    health_.forget(node.name());
    const std::lock_guard lock(mutex_);
    taints_seen_.erase(node.name());
    waiting_.erase(node.name());
    turned_not_ready_.erase(node.name());
  }

  const controller::ControllerContext context_;
  const Settings settings_;
  NodeHealth health_;
  controller::KeyQueue* queue_ = nullptr;
  std::shared_ptr<client::Informer> nodes_;
  std::shared_ptr<client::Informer> leases_;
  std::shared_ptr<client::Informer> pods_;

  std::mutex mutex_;
  std::map<std::string, std::map<std::string, Clock::WallTime>> taints_seen_;  // By node, then taint.
  std::map<std::string, Clock::TimePoint> next_turn_;                          // By zone.
  std::set<std::string> waiting_;           // Nodes whose NoExecute taint waits for its turn.
  std::set<std::string> turned_not_ready_;  // Nodes whose pods are still to be marked.

  std::unique_ptr<Subscription> on_nodes_;
  std::unique_ptr<Subscription> on_leases_;
  std::unique_ptr<Subscription> on_pods_;
};

}  // namespace

Result<std::unique_ptr<controller::Reconciler>> make_reconciler(const controller::ControllerContext& context) {
  return catch_as_error("config", [&]() -> Result<std::unique_ptr<controller::Reconciler>> {
    const json config = json::parse(context.config_json);
    Settings settings;
    settings.monitor_grace = seconds(config.value("nodeMonitorGracePeriodSeconds", 50));
    settings.startup_grace = seconds(config.value("nodeStartupGracePeriodSeconds", 60));
    settings.eviction_rate = config.value("nodeEvictionRate", 0.1);
    return std::make_unique<NodeLifecycle>(context, settings);
  });
}

}  // namespace kubernel::plugins::node_lifecycle
