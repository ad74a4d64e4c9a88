// SPDX-License-Identifier: Apache-2.0

#include "node_unschedulable.h"

#include <kubernel/scheduler/matching.h>

namespace kubernel::plugins {
namespace {

using namespace scheduler;

class NodeUnschedulable final : public Plugin, public Filter, public LocalFilter {
 public:
  Result<Verdict> filter(const PodInfo& pod, const CycleData*, const NodeInfo& node) const override {
    return open_to(pod, node) ? Verdict::fits() : refusal_;
  }

  bool sign(const PodInfo& pod, std::string& signature) const override {
    signature += pod.spec["tolerations"].dump();
    return true;
  }

  std::vector<EventInterest> retry_on() const override {
    const auto helps = [this](const PodInfo& pod, const api::Object& before, const api::Object& after) {
      return open_to(pod, NodeInfo(after)) && !(before && open_to(pod, NodeInfo(before)));
    };
    const auto tolerates_now = [this](const PodInfo& pod, const api::Object& before, const api::Object&) {
      return tolerated(pod.spec["tolerations"], unschedulable_) &&
             !(before && tolerated(before["spec"]["tolerations"], unschedulable_));
    };
    return {{ClusterEvent::NodeAdded, helps},
            {ClusterEvent::NodeTaintsChanged, helps},
            {ClusterEvent::PodUpdated, tolerates_now}};
  }

 private:
  bool open_to(const PodInfo& pod, const NodeInfo& node) const {
    return !node.unschedulable || tolerated(pod.spec["tolerations"], unschedulable_);
  }

  const Verdict refusal_ = Verdict::unresolvable("node(s) were unschedulable");
  const Taint unschedulable_{"node.kubernetes.io/unschedulable", "", TaintEffect::NoSchedule};
};

}  // namespace

Result<std::unique_ptr<Plugin>> make_node_unschedulable(const PluginContext&) {
  return std::make_unique<NodeUnschedulable>();
}

}  // namespace kubernel::plugins
