// SPDX-License-Identifier: Apache-2.0

#include "node_resources_balanced_allocation.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

namespace kubernel::plugins {
namespace {

using namespace scheduler;

class NodeResourcesBalancedAllocation final : public Plugin, public PreScore, public Score {
 public:
  explicit NodeResourcesBalancedAllocation(const std::vector<std::string>& resources)
      : resources_(resources.begin(), resources.end()) {}

  // A pod that asks for nothing changes no balance.
  Result<PreScoreResult> pre_score(const CallContext&, const PodInfo& pod, const Snapshot&,
                                   std::span<const NodeInfo* const>) override {
    PreScoreResult result;
    const bool asks =
        std::ranges::any_of(resources_, [&](const AmountOf& resource) { return resource.in(pod.requests) > 0; });
    if (!asks) result.verdict = Verdict::skip();
    return result;
  }

  Result<std::int64_t> score(const PodInfo& pod, const CycleData*, const NodeInfo& node,
                             const Snapshot&) const override {
    // Upstream's short cut for two; the general form may differ in the last bit, and with it by a point.
    std::size_t count = 0;
    double sum = 0;
    double difference = 0;
    for_each_fraction(pod, node, [&](double fraction) {
      difference = count == 0 ? fraction : difference - fraction;
      sum += fraction;
      ++count;
    });
    double deviation = count == 2 ? std::abs(difference / 2) : 0;
    if (count > 2) {
      const auto of = static_cast<double>(count);
      double variance = 0;
      for_each_fraction(pod, node,
                        [&](double fraction) { variance += (fraction - sum / of) * (fraction - sum / of) / of; });
      deviation = std::sqrt(variance);
    }
    return static_cast<std::int64_t>((1 - deviation) * static_cast<double>(kMaxNodeScore));
  }

  void normalize(const PodInfo&, const CycleData*, std::span<std::int64_t>) const override {}
  std::vector<EventInterest> retry_on() const override { return {}; }

 private:
  // What would be used of each resource the node has.
  template <typename Visit>
  void for_each_fraction(const PodInfo& pod, const NodeInfo& node, const Visit& visit) const {
    for (const AmountOf& resource : resources_) {
      const std::int64_t capacity = resource.in(node.allocatable);
      if (capacity == 0 || (resource.extended() && resource.in(pod.requests) == 0)) continue;
      const auto requested = static_cast<double>(resource.in(node.requested) + resource.in(pod.requests));
      visit(std::min(1.0, requested / static_cast<double>(capacity)));
    }
  }

  const std::vector<AmountOf> resources_;
};

}  // namespace

Result<std::unique_ptr<Plugin>> make_node_resources_balanced_allocation(const PluginContext& context) {
  return catch_as_error("NodeResourcesBalancedAllocation arguments", [&]() -> Result<std::unique_ptr<Plugin>> {
    std::vector<std::string> resources;
    for (const auto& entry : nlohmann::json::parse(context.config_json).value("resources", nlohmann::json::array())) {
      resources.push_back(entry.at("name").get<std::string>());
    }
    if (resources.empty()) resources = {"cpu", "memory"};
    return std::make_unique<NodeResourcesBalancedAllocation>(resources);
  });
}

}  // namespace kubernel::plugins
