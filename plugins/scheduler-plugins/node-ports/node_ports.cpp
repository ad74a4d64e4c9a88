// SPDX-License-Identifier: Apache-2.0

#include "node_ports.h"

#include <algorithm>

namespace kubernel::plugins {
namespace {

using namespace scheduler;

class NodePorts final : public Plugin, public PreFilter, public Filter, public LocalFilter {
 public:
  Result<PreFilterResult> pre_filter(const CallContext&, const PodInfo& pod, const Snapshot&) override {
    PreFilterResult result;
    if (pod.host_ports.empty()) result.verdict = Verdict::skip();
    return result;
  }

  Result<Verdict> filter(const PodInfo& pod, const CycleData*, const NodeInfo& node) const override {
    for (const HostPort& wanted : pod.host_ports) {
      const bool taken =
          std::ranges::any_of(node.used_ports, [&](const HostPort& used) { return ports_conflict(wanted, used); });
      if (taken) return Verdict::unschedulable("node(s) didn't have free ports for the requested pod ports");
    }
    return Verdict::fits();
  }

  bool sign(const PodInfo& pod, std::string& signature) const override {
    for (const HostPort& port : pod.host_ports)
      signature += port.ip + ' ' + port.protocol + ' ' + std::to_string(port.port) + ';';
    return true;
  }

  std::vector<EventInterest> retry_on() const override {
    const auto had_ports = [](const PodInfo& pod, const api::Object& before, const api::Object& after) {
      if (!before || after) return !after;  // A pod that needs less has its ports still.
      const PodInfo gone(before);
      return std::ranges::any_of(gone.host_ports, [&](const HostPort& freed) {
        return std::ranges::any_of(pod.host_ports,
                                   [&](const HostPort& wanted) { return ports_conflict(wanted, freed); });
      });
    };
    return {{ClusterEvent::NodeAdded, {}}, {ClusterEvent::PodDeleted, had_ports}};
  }
};

}  // namespace

Result<std::unique_ptr<Plugin>> make_node_ports(const PluginContext&) {
  return std::make_unique<NodePorts>();
}

}  // namespace kubernel::plugins
