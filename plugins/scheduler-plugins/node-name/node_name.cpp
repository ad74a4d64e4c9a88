// SPDX-License-Identifier: Apache-2.0

#include "node_name.h"

namespace kubernel::plugins {
namespace {

using namespace scheduler;

class NodeName final : public Plugin, public Filter {
 public:
  Result<Verdict> filter(const PodInfo& pod, const CycleData*, const NodeInfo& node) const override {
    if (pod.node_name.empty() || pod.node_name == node.name) return Verdict::fits();
    return Verdict::unresolvable("node(s) didn't match the requested node name");
  }

  std::vector<EventInterest> retry_on() const override { return {{ClusterEvent::NodeAdded, {}}}; }
};

}  // namespace

Result<std::unique_ptr<Plugin>> make_node_name(const PluginContext&) {
  return std::make_unique<NodeName>();
}

}  // namespace kubernel::plugins
