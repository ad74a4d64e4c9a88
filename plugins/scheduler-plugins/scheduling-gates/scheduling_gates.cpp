// SPDX-License-Identifier: Apache-2.0

#include "scheduling_gates.h"

namespace kubernel::plugins {
namespace {

using namespace scheduler;
using api::Value;

class SchedulingGates final : public Plugin, public PreEnqueue {
 public:
  Verdict pre_enqueue(const PodInfo& pod) const override {
    std::string names;
    for (const Value gate : pod.spec["schedulingGates"]) {
      names += (names.empty() ? "" : " ") + std::string(gate["name"].string());
    }
    if (names.empty()) return Verdict::fits();
    return Verdict::unresolvable("waiting for scheduling gates: [" + names + "]");
  }

  std::vector<EventInterest> retry_on() const override {
    const auto without_gates = [](const PodInfo&, const api::Object&, const api::Object& after) {
      return after.pointer("/spec/schedulingGates").empty();
    };
    return {{ClusterEvent::PodUpdated, without_gates}};
  }
};

}  // namespace

Result<std::unique_ptr<Plugin>> make_scheduling_gates(const PluginContext&) {
  return std::make_unique<SchedulingGates>();
}

}  // namespace kubernel::plugins
