// SPDX-License-Identifier: Apache-2.0
//
// A scheduler plugin of one's own: keeps pods off nodes that carry the label "example.com/quiet", unless the pod
// carries it too. Load it and it decides, beside the filters that are loaded already.

#include <memory>
#include <string>
#include <vector>

#include <kubernel/plugin/plugin.h>
#include <kubernel/scheduler/framework.h>

namespace {

using namespace kubernel::scheduler;
using kubernel::Result;

constexpr const char* kQuiet = "example.com/quiet";

class QuietNodes final : public Plugin, public Filter {
 public:
  // Called for many nodes at once from several threads: it only reads.
  Result<Verdict> filter(const PodInfo& pod, const CycleData*, const NodeInfo& node) const override {
    if (!node.labels()[kQuiet] || pod.object.labels()[kQuiet]) return Verdict::fits();
    return Verdict::unresolvable("node(s) wanted to be left quiet");
  }

  // A pod that was refused is worth another try when a node comes, or when a node's labels change.
  std::vector<EventInterest> retry_on() const override {
    return {{ClusterEvent::NodeAdded, {}}, {ClusterEvent::NodeLabelsChanged, {}}};
  }
};

Result<std::unique_ptr<Plugin>> make_quiet_nodes(const PluginContext&) {
  return std::make_unique<QuietNodes>();
}

}  // namespace

KUBERNEL_PLUGIN("quiet-nodes", "1.0.0", "Keeps pods off nodes labelled example.com/quiet.", "scheduler/QuietNodes") {
  kubernel::plugin::provide(registrar, "QuietNodes", PluginSpec{.make = make_quiet_nodes});
  return {};
}
