// SPDX-License-Identifier: Apache-2.0

#include "pod_topology_spread.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <nlohmann/json.hpp>

#include "default_selector.h"
#include "spread_constraint.h"

namespace kubernel::plugins {
namespace {

using namespace scheduler;
using api::Value;
using Constraints = std::vector<SpreadConstraint>;

// Made once: copies share their reasons, and a pod may be refused by thousands of nodes.
struct Refusals {
  Verdict skew = Verdict::unschedulable("node(s) didn't match pod topology spread constraints");
  Verdict missing_label =
      Verdict::unresolvable("node(s) didn't match pod topology spread constraints (missing required label)");
};
constexpr std::string_view kHostname = "kubernetes.io/hostname";

// The score() of a node that cannot be compared: it lacks a label that the others have.
constexpr std::int64_t kIgnored = -1;

struct Arguments {
  bool system_defaults = true;
  Constraints defaults;
};

Constraints system_defaults() {
  Constraints out(2);
  out[0].max_skew = 3;
  out[0].topology_key = kHostname;
  out[1].max_skew = 5;
  out[1].topology_key = "topology.kubernetes.io/zone";
  for (SpreadConstraint& c : out) c.required = false;
  return out;
}

// One required constraint and how many pods it counts where.
struct Spread {
  std::shared_ptr<const DomainCounts> counts;
  std::int64_t self = 0;     // 1 when the pod counts itself.
  std::int64_t minimum = 0;  // Pods in the emptiest domain.
  // What preemption imagines beside the counters, by domain.
  std::vector<std::pair<std::int32_t, std::int32_t>> adjustments;

  std::int64_t pods_in(std::int32_t domain) const {
    std::int64_t total = counts->pods_in(domain);
    for (const auto& [where, change] : adjustments) total += where == domain ? change : 0;
    return total;
  }

  void find_minimum(std::int64_t min_domains) {
    std::int64_t domains = 0;
    std::int64_t lowest = std::numeric_limits<std::int32_t>::max();
    for (std::size_t d = 0; d < counts->nodes.size(); ++d) {
      if (counts->nodes[d] == 0) continue;
      ++domains;
      const auto number = static_cast<std::int32_t>(d);
      lowest = std::min<std::int64_t>(lowest, adjustments.empty() ? counts->pods_in(number) : pods_in(number));
    }
    minimum = domains < min_domains ? 0 : lowest;
  }
};

struct FilterData final : CycleData {
  std::shared_ptr<const Constraints> constraints;
  std::vector<Spread> spreads;  // One per constraint.

  std::unique_ptr<CycleData> clone() const override { return std::make_unique<FilterData>(*this); }
};

struct ScoreData final : CycleData {
  struct Entry {
    std::string key;
    std::shared_ptr<const DomainCounts> domains;  // Null for hosts: their pods are counted by node.
    std::shared_ptr<const NodeCounts> nodes;
    double weight = 0;
    double base = 0;  // maxSkew - 1
  };
  std::vector<Entry> entries;
  std::shared_ptr<const Constraints> all_keys;  // Null: a node may lack some labels.

  std::unique_ptr<CycleData> clone() const override { return std::make_unique<ScoreData>(*this); }
};

class PodTopologySpread final : public Plugin,
                                public PreFilter,
                                public PreFilterExtensions,
                                public Filter,
                                public PreScore,
                                public Score {
 public:
  PodTopologySpread(Arguments arguments, client::InformerFactory& informers) : arguments_(std::move(arguments)) {
    if (!arguments_.defaults.empty()) default_selector_ = std::make_unique<DefaultSelector>(informers);
  }

  Result<PreFilterResult> pre_filter(const CallContext&, const PodInfo& pod, const Snapshot& snapshot) override {
    PreFilterResult result;
    auto constraints = std::make_shared<const Constraints>(constraints_of(pod, true));
    if (constraints->empty()) {
      result.verdict = Verdict::skip();
      return result;
    }
    index_.advance(snapshot);
    auto data = std::make_unique<FilterData>();
    const SpreadCounts counts(index_, snapshot, pod, *constraints, true);
    for (const SpreadConstraint& c : *constraints) {
      Spread& spread = data->spreads.emplace_back();
      spread.counts = counts.by_domain(c);
      spread.self = c.selector.matches(pod.object.labels()) ? 1 : 0;
      spread.find_minimum(c.min_domains);
    }
    data->constraints = std::move(constraints);
    result.data = std::move(data);
    return result;
  }

  void pod_added(CycleData& data, const PodInfo& pod, const PodInfo& added, const NodeInfo& node) const override {
    adjust(static_cast<FilterData&>(data), pod, added, node, 1);
  }
  void pod_removed(CycleData& data, const PodInfo& pod, const PodInfo& removed, const NodeInfo& node) const override {
    adjust(static_cast<FilterData&>(data), pod, removed, node, -1);
  }

  Result<Verdict> filter(const PodInfo&, const CycleData* data, const NodeInfo& node) const override {
    const auto& state = static_cast<const FilterData&>(*data);
    const std::uint32_t slot = index_.slot(node);
    for (std::size_t i = 0; i < state.spreads.size(); ++i) {
      const Spread& spread = state.spreads[i];
      const std::int32_t domain = spread.counts->domains->of(slot);
      if (domain < 0) return refusals_.missing_label;
      const std::int64_t skew = spread.pods_in(domain) + spread.self - spread.minimum;
      if (skew > (*state.constraints)[i].max_skew) return refusals_.skew;
    }
    return Verdict::fits();
  }

  Result<PreScoreResult> pre_score(const CallContext&, const PodInfo& pod, const Snapshot& snapshot,
                                   std::span<const NodeInfo* const> nodes) override {
    PreScoreResult result;
    auto constraints = std::make_shared<const Constraints>(constraints_of(pod, false));
    if (constraints->empty() || nodes.empty()) {
      result.verdict = Verdict::skip();
      return result;
    }
    index_.advance(snapshot);
    // Upstream's system defaults are lenient: a cluster without zones still spreads over hosts.
    const bool all_keys = !pod.spec["topologySpreadConstraints"].empty() || !arguments_.system_defaults;
    auto data = std::make_unique<ScoreData>();
    if (all_keys) data->all_keys = constraints;
    const SpreadCounts counts(index_, snapshot, pod, *constraints, all_keys);
    for (const SpreadConstraint& c : *constraints) {
      ScoreData::Entry& entry = data->entries.emplace_back();
      entry.key = c.topology_key;
      entry.base = static_cast<double>(c.max_skew - 1);
      if (c.topology_key == kHostname) {
        entry.nodes = counts.by_node(c);
      } else {
        entry.domains = counts.by_domain(c);
      }
      entry.weight = std::log(static_cast<double>(domains_among(nodes, *data, entry) + 2));
    }
    result.data = std::move(data);
    return result;
  }

  Result<std::int64_t> score(const PodInfo&, const CycleData* data, const NodeInfo& node,
                             const Snapshot&) const override {
    const auto& state = static_cast<const ScoreData&>(*data);
    if (ignored(state, node)) return kIgnored;
    const std::uint32_t slot = index_.slot(node);
    double score = 0;
    for (const ScoreData::Entry& entry : state.entries) {
      std::int64_t pods = 0;
      if (entry.domains != nullptr) {
        const std::int32_t domain = entry.domains->domains->of(slot);
        if (domain < 0) continue;
        pods = entry.domains->pods_in(domain);
      } else {
        if (!node.labels()[entry.key]) continue;
        pods = entry.nodes->at(slot);
      }
      score += static_cast<double>(pods) * entry.weight + entry.base;
    }
    return static_cast<std::int64_t>(std::round(score));
  }

  // Fewer pods score higher; nodes that cannot be compared score nothing.
  void normalize(const PodInfo&, const CycleData*, std::span<std::int64_t> scores) const override {
    std::int64_t lowest = std::numeric_limits<std::int64_t>::max();
    std::int64_t highest = 0;
    for (const std::int64_t score : scores) {
      if (score == kIgnored) continue;
      lowest = std::min(lowest, score);
      highest = std::max(highest, score);
    }
    for (std::int64_t& score : scores) {
      if (score == kIgnored) {
        score = 0;
      } else {
        score = highest == 0 ? kMaxNodeScore : kMaxNodeScore * (highest + lowest - score) / highest;
      }
    }
  }

  std::vector<EventInterest> retry_on() const override {
    using Object = api::Object;
    return {{ClusterEvent::PodAssigned, [this](const PodInfo& pod, const Object& before,
                                               const Object& after) { return pod_changed(pod, before, after); }},
            {ClusterEvent::PodDeleted, [this](const PodInfo& pod, const Object& before,
                                              const Object& after) { return pod_changed(pod, before, after); }},
            {ClusterEvent::NodeAdded, [this](const PodInfo& pod, const Object& before,
                                             const Object& after) { return node_changed(pod, before, after); }},
            {ClusterEvent::NodeDeleted, [this](const PodInfo& pod, const Object& before,
                                               const Object& after) { return node_changed(pod, before, after); }},
            {ClusterEvent::NodeLabelsChanged, [this](const PodInfo& pod, const Object& before,
                                                     const Object& after) { return node_changed(pod, before, after); }},
            {ClusterEvent::NodeTaintsChanged, {}},
            {ClusterEvent::PodUpdated, [this](const PodInfo& pod, const Object& before, const Object& after) {
               return pod_changed(pod, before, after) || tolerates_others(pod, before, after);
             }}};
  }

 private:
  Constraints constraints_of(const PodInfo& pod, bool required) const {
    if (!pod.spec["topologySpreadConstraints"].empty()) return SpreadConstraint::read(pod, required);
    Constraints out = arguments_.defaults;
    std::erase_if(out, [&](const SpreadConstraint& c) { return c.required != required; });
    if (out.empty()) return out;
    const api::LabelSelector selector = default_selector_->of(pod.object);
    if (selector.matches_everything()) return {};
    for (SpreadConstraint& c : out) c.selector = selector;
    return out;
  }

  static bool ignored(const ScoreData& state, const NodeInfo& node) {
    return state.all_keys != nullptr && !has_all_keys(node, *state.all_keys);
  }

  // How many domains the nodes that fit are in; those without the label make one domain together.
  std::size_t domains_among(std::span<const NodeInfo* const> nodes, const ScoreData& data,
                            const ScoreData::Entry& entry) const {
    std::size_t count = 0;
    std::vector<bool> seen;
    if (entry.domains != nullptr) seen.resize(static_cast<std::size_t>(entry.domains->domains->count) + 1);
    for (const NodeInfo* node : nodes) {
      if (ignored(data, *node)) continue;
      if (entry.domains == nullptr) {
        ++count;
        continue;
      }
      const auto at = static_cast<std::size_t>(entry.domains->domains->of(index_.slot(*node)) + 1);
      if (!seen[at]) ++count;
      seen[at] = true;
    }
    return count;
  }

  void adjust(FilterData& data, const PodInfo& pod, const PodInfo& other, const NodeInfo& node,
              std::int32_t change) const {
    if (other.object.ns() != pod.object.ns() || !has_all_keys(node, *data.constraints)) return;
    const std::uint32_t slot = index_.slot(node);
    for (std::size_t i = 0; i < data.spreads.size(); ++i) {
      const SpreadConstraint& c = (*data.constraints)[i];
      Spread& spread = data.spreads[i];
      if (!counted(other.object, c.selector) || !includes(c, pod, node)) continue;
      spread.adjustments.emplace_back(spread.counts->domains->of(slot), change);
      spread.find_minimum(c.min_domains);
    }
  }

  // A pod that came, went, was relabeled or began to end, if one of the constraints counts it.
  bool pod_changed(const PodInfo& waiting, const api::Object& before, const api::Object& after) const {
    const api::Object& now = after ? after : before;
    if (!now || now.ns() != waiting.object.ns()) return !now;
    const Constraints constraints = constraints_of(waiting, true);
    return std::ranges::any_of(constraints, [&](const SpreadConstraint& c) {
      const bool was = before && c.selector.matches(before.labels());
      const bool is = after && c.selector.matches(after.labels());
      return was != is || (is && before.head().deleting != after.head().deleting);
    });
  }

  // Where nodes count by their taints.
  bool tolerates_others(const PodInfo& waiting, const api::Object& before, const api::Object& after) const {
    return !(before["spec"]["tolerations"] == after["spec"]["tolerations"]) &&
           std::ranges::any_of(constraints_of(waiting, true), &SpreadConstraint::honor_taints);
  }

  bool node_changed(const PodInfo& waiting, const api::Object& before, const api::Object& after) const {
    const Constraints constraints = constraints_of(waiting, true);
    const auto has_keys = [&](const api::Object& node) {
      return node && std::ranges::all_of(
                         constraints, [&](const SpreadConstraint& c) { return bool{node.labels()[c.topology_key]}; });
    };
    if (has_keys(before) != has_keys(after)) return true;
    return has_keys(after) && std::ranges::any_of(constraints, [&](const SpreadConstraint& c) {
             return before.labels()[c.topology_key].string() != after.labels()[c.topology_key].string();
           });
  }

  const Arguments arguments_;
  const Refusals refusals_;
  std::unique_ptr<DefaultSelector> default_selector_;
  TopologyIndex index_;
};

Result<Arguments> parse_arguments(const std::string& config_json) {
  const auto config = nlohmann::json::parse(config_json);
  Arguments out;
  const auto listed = config.value("defaultConstraints", nlohmann::json::array());
  out.system_defaults = config.value("defaultingType", std::string("System")) == "System";
  if (out.system_defaults) {
    if (!listed.empty()) return Error(Reason::Invalid, "defaultConstraints: only with defaultingType List");
    out.defaults = system_defaults();
  }
  for (const auto& entry : listed) {
    SpreadConstraint& c = out.defaults.emplace_back();
    c.max_skew = entry.at("maxSkew").get<std::int64_t>();
    c.topology_key = entry.at("topologyKey").get<std::string>();
    c.required = entry.at("whenUnsatisfiable").get<std::string>() == "DoNotSchedule";
  }
  return out;
}

}  // namespace

Result<std::unique_ptr<Plugin>> make_pod_topology_spread(const PluginContext& context) {
  KUBERNEL_TRY(Arguments arguments,
               catch_as_error("PodTopologySpread arguments", [&] { return parse_arguments(context.config_json); }));
  return std::make_unique<PodTopologySpread>(std::move(arguments), context.informers);
}

}  // namespace kubernel::plugins
