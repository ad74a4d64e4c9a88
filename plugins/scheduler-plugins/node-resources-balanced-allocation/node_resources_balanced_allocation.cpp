// SPDX-License-Identifier: Apache-2.0

#include "node_resources_balanced_allocation.h"

#include <algorithm>
#include <cmath>
#include <string>

#include <nlohmann/json.hpp>

namespace kubernel::plugins {
namespace {

using namespace scheduler;

class NodeResourcesBalancedAllocation final : public Plugin, public PreScore, public Score {
 public:
  explicit NodeResourcesBalancedAllocation(std::vector<std::string> resources) : resources_(std::move(resources)) {}

  // A pod that asks for nothing changes no balance.
  Result<PreScoreResult> pre_score(const CallContext&, const PodInfo& pod, const Snapshot&,
                                   std::span<const NodeInfo* const>) override {
    PreScoreResult result;
    const bool asks = std::ranges::any_of(resources_, [&](const std::string& name) { return pod.requests.amount(name) > 0; });
    if (!asks) result.verdict = Verdict::skip();
    return result;
  }

  Result<std::int64_t> score(const PodInfo& pod, const CycleData*, const NodeInfo& node, const Snapshot&) const override {
    std::vector<double> fractions;
    for (const std::string& name : resources_) {
      const std::int64_t capacity = node.allocatable.amount(name);
      if (capacity == 0) continue;
      const bool basic = name == "cpu" || name == "memory" || name == "ephemeral-storage";
      if (!basic && pod.requests.amount(name) == 0) continue;
      const auto requested = static_cast<double>(node.requested.amount(name) + pod.requests.amount(name));
      fractions.push_back(std::min(1.0, requested / static_cast<double>(capacity)));
    }
    return static_cast<std::int64_t>((1 - deviation(fractions)) * static_cast<double>(kMaxNodeScore));
  }

  void normalize(const PodInfo&, const CycleData*, std::span<std::int64_t>) const override {}
  std::vector<EventInterest> retry_on() const override { return {}; }

 private:
  static double deviation(const std::vector<double>& fractions) {
    if (fractions.size() < 2) return 0;
    // Upstream's short cut for two; the general form may differ in the last bit, and with it by a point.
    if (fractions.size() == 2) return std::abs((fractions[0] - fractions[1]) / 2);
    double mean = 0;
    for (const double f : fractions) mean += f / static_cast<double>(fractions.size());
    double variance = 0;
    for (const double f : fractions) variance += (f - mean) * (f - mean) / static_cast<double>(fractions.size());
    return std::sqrt(variance);
  }

  const std::vector<std::string> resources_;
};

}  // namespace

Result<std::unique_ptr<Plugin>> make_node_resources_balanced_allocation(const PluginContext& context) {
  return catch_as_error("NodeResourcesBalancedAllocation arguments", [&]() -> Result<std::unique_ptr<Plugin>> {
    std::vector<std::string> resources;
    for (const auto& entry : nlohmann::json::parse(context.config_json).value("resources", nlohmann::json::array())) {
      resources.push_back(entry.at("name").get<std::string>());
    }
    if (resources.empty()) resources = {"cpu", "memory"};
    return std::make_unique<NodeResourcesBalancedAllocation>(std::move(resources));
  });
}

}  // namespace kubernel::plugins
