// SPDX-License-Identifier: Apache-2.0
#include "cheap_nodes.h"

#include <charconv>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace {

using namespace kubernel::scheduler;
using kubernel::Result;

struct Arguments {
  std::string label;
  std::int64_t limit = 0;
};

class CheapNodes final : public Plugin, public Filter, public Score {
 public:
  explicit CheapNodes(Arguments arguments) : arguments_(std::move(arguments)) {}

  // Called for many nodes at once from several threads: it only reads. The refusal was made once; what is returned
  // shares it.
  Result<Verdict> filter(const PodInfo&, const CycleData*, const NodeInfo& node) const override {
    const auto price = price_of(node);
    return price && *price > arguments_.limit ? too_expensive_ : Verdict::fits();
  }

  // Free: 100. As expensive as allowed, or of unknown price: 0.
  Result<std::int64_t> score(const PodInfo&, const CycleData*, const NodeInfo& node, const Snapshot&) const override {
    const std::int64_t price = price_of(node).value_or(arguments_.limit);
    return kMaxNodeScore - price * kMaxNodeScore / arguments_.limit;
  }
  void normalize(const PodInfo&, const CycleData*, std::span<std::int64_t>) const override {}  // Already 0 to 100.

  // A refused pod is worth another try when a node comes, or when a node's labels change.
  std::vector<EventInterest> retry_on() const override {
    return {{ClusterEvent::NodeAdded, {}, {}}, {ClusterEvent::NodeLabelsChanged, {}, {}}};
  }

 private:
  std::optional<std::int64_t> price_of(const NodeInfo& node) const {
    const std::string_view text = node.labels()[arguments_.label].string();
    std::int64_t price = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), price);
    if (error != std::errc() || end != text.data() + text.size() || price < 0) return std::nullopt;
    return price;
  }

  const Arguments arguments_;
  // Nobody can be evicted to make a node cheaper, so preemption need not try.
  const Verdict too_expensive_ = Verdict::unresolvable("node(s) cost more than " + std::to_string(arguments_.limit));
};

}  // namespace

Result<std::unique_ptr<Plugin>> make_cheap_nodes(const PluginContext& context) {
  // Checked against cheap_nodes.schema.json, defaults filled in, before this is called.
  const auto config = nlohmann::json::parse(context.config_json);
  return std::make_unique<CheapNodes>(
      Arguments{config.value("label", "example.com/price"), config.value("limit", std::int64_t{100})});
}
