// SPDX-License-Identifier: Apache-2.0

#include "node_name.h"

namespace kubernel::plugins {
namespace {

using namespace scheduler;

class NodeName final : public Plugin, public PreFilter, public Filter, public LocalFilter {
 public:
  // Nearly no pod in the queue names its node.
  Result<PreFilterResult> pre_filter(const CallContext&, const PodInfo& pod, const Snapshot&) override {
    PreFilterResult result;
    if (pod.node_name.empty()) result.verdict = Verdict::skip();
    return result;
  }

  Result<Verdict> filter(const PodInfo& pod, const CycleData*, const NodeInfo& node) const override {
    return pod.node_name.empty() || pod.node_name == node.name ? Verdict::fits() : refusal_;
  }

  bool sign(const PodInfo& pod, std::string& signature) const override {
    signature += pod.node_name;
    return true;
  }

  std::vector<EventInterest> retry_on() const override {
    return {{ClusterEvent::NodeAdded, [](const PodInfo& pod, const api::Object&, const api::Object& after) {
               return pod.node_name == after.name();
             }}};
  }

 private:
  const Verdict refusal_ = Verdict::unresolvable("node(s) didn't match the requested node name");
};

}  // namespace

Result<std::unique_ptr<Plugin>> make_node_name(const PluginContext&) {
  return std::make_unique<NodeName>();
}

}  // namespace kubernel::plugins
