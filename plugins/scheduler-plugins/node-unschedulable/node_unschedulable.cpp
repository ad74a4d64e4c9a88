// SPDX-License-Identifier: Apache-2.0

#include "node_unschedulable.h"

#include <kubernel/scheduler/matching.h>

namespace kubernel::plugins {
namespace {

using namespace scheduler;

class NodeUnschedulable final : public Plugin, public Filter {
 public:
  Result<Verdict> filter(const PodInfo& pod, const CycleData*, const NodeInfo& node) const override {
    if (!node.unschedulable || tolerated(pod.spec["tolerations"], unschedulable_)) return Verdict::fits();
    return Verdict::unresolvable("node(s) were unschedulable");
  }

  std::vector<EventInterest> retry_on() const override {
    return {{ClusterEvent::NodeAdded, {}}, {ClusterEvent::NodeTaintsChanged, {}}};
  }

 private:
  const Taint unschedulable_{"node.kubernetes.io/unschedulable", "", TaintEffect::NoSchedule};
};

}  // namespace

Result<std::unique_ptr<Plugin>> make_node_unschedulable(const PluginContext&) {
  return std::make_unique<NodeUnschedulable>();
}

}  // namespace kubernel::plugins
