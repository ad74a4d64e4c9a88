// SPDX-License-Identifier: Apache-2.0

#include "node_affinity.h"

#include <algorithm>
#include <optional>

#include <nlohmann/json.hpp>

#include <kubernel/scheduler/matching.h>

namespace kubernel::plugins {
namespace {

using namespace scheduler;
using api::Value;

constexpr const char* kRefusal = "node(s) didn't match Pod's node affinity/selector";

Value required(const PodInfo& pod) {
  return pod.spec.pointer("/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution");
}
Value preferred(const PodInfo& pod) {
  return pod.spec.pointer("/affinity/nodeAffinity/preferredDuringSchedulingIgnoredDuringExecution");
}

// The names a term requires by "metadata.name In […]"; absent when it names none.
std::optional<std::vector<std::string>> named_nodes(Value term) {
  std::optional<std::vector<std::string>> names;
  for (const Value field : term["matchFields"]) {
    if (field["key"].string() != "metadata.name" || field["operator"].string() != "In") continue;
    std::vector<std::string> listed;
    for (const Value value : field["values"]) listed.emplace_back(value.string());
    if (names)
      std::erase_if(*names, [&](const std::string& name) { return std::ranges::find(listed, name) == listed.end(); });
    if (!names) names = std::move(listed);
  }
  return names;
}

// What the pod asks for, read once.
struct Wanted final : CycleData {
  explicit Wanted(const PodInfo& pod) : nodes(pod.spec) {}
  std::unique_ptr<CycleData> clone() const override { return std::make_unique<Wanted>(*this); }

  RequiredNodes nodes;
  std::vector<std::pair<std::int64_t, NodeTerm>> preferences;  // Weight and term; from PreScore on.
};

class NodeAffinity final : public Plugin,
                           public PreFilter,
                           public Filter,
                           public LocalFilter,
                           public PreScore,
                           public Score {
 public:
  explicit NodeAffinity(api::Object added) : added_(std::move(added)) {}

  Result<PreFilterResult> pre_filter(const CallContext&, const PodInfo& pod, const Snapshot&) override {
    PreFilterResult result;
    const Value affinity = required(pod);
    if (!affinity && pod.spec["nodeSelector"].empty() && !added_required()) {
      result.verdict = Verdict::skip();
      return result;
    }
    result.data = std::make_unique<Wanted>(pod);
    // When every term names its nodes, only those are worth a look (terms are alternatives).
    std::vector<std::string> names;
    for (const Value term : affinity["nodeSelectorTerms"]) {
      auto named = named_nodes(term);
      if (!named) return result;
      names.insert(names.end(), named->begin(), named->end());
    }
    if (!affinity["nodeSelectorTerms"].empty()) {
      std::ranges::sort(names);
      names.erase(std::unique(names.begin(), names.end()), names.end());
      if (names.empty()) result.verdict = Verdict::unresolvable("pod affinity terms conflict");
      result.nodes = std::move(names);
    }
    return result;
  }

  Result<Verdict> filter(const PodInfo& pod, const CycleData* data, const NodeInfo& node) const override {
    if (const Value extra = added_required(); extra && !matches_node_selector(extra, node)) {
      return Verdict::unresolvable("node(s) didn't match scheduler-enforced node affinity");
    }
    const auto* const wanted = static_cast<const Wanted*>(data);
    const bool match = wanted == nullptr ? matches_required_node_affinity(pod.spec, node) : wanted->nodes.matches(node);
    return match ? Verdict::fits() : refusal_;
  }

  bool sign(const PodInfo& pod, std::string& signature) const override {
    signature += pod.spec["nodeSelector"].dump() + required(pod).dump();
    return true;
  }

  Result<PreScoreResult> pre_score(const CallContext&, const PodInfo& pod, const Snapshot&,
                                   std::span<const NodeInfo* const>) override {
    PreScoreResult result;
    if (preferred(pod).empty() && added_preferred().empty()) {
      result.verdict = Verdict::skip();
      return result;
    }
    auto wanted = std::make_unique<Wanted>(pod);
    for (const Value terms : {preferred(pod), added_preferred()}) {
      for (const Value term : terms)
        wanted->preferences.emplace_back(term["weight"].integer(), NodeTerm(term["preference"]));
    }
    result.data = std::move(wanted);
    return result;
  }

  Result<std::int64_t> score(const PodInfo&, const CycleData* data, const NodeInfo& node,
                             const Snapshot&) const override {
    std::int64_t total = 0;
    for (const auto& [weight, term] : static_cast<const Wanted&>(*data).preferences) {
      if (term.matches(node)) total += weight;
    }
    return total;
  }

  void normalize(const PodInfo&, const CycleData*, std::span<std::int64_t> scores) const override {
    normalize_scores(scores, false);
  }

  std::vector<EventInterest> retry_on() const override {
    const auto helps = [this](const PodInfo& pod, const api::Object& before, const api::Object& after) {
      return matches(pod, NodeInfo(after)) && !(before && matches(pod, NodeInfo(before)));
    };
    return {{ClusterEvent::NodeAdded, helps}, {ClusterEvent::NodeLabelsChanged, helps}};
  }

 private:
  bool matches(const PodInfo& pod, const NodeInfo& node) const {
    const Value extra = added_required();
    return (!extra || matches_node_selector(extra, node)) && matches_required_node_affinity(pod.spec, node);
  }

  Value added_required() const {
    return added_ ? added_["spec"]["requiredDuringSchedulingIgnoredDuringExecution"] : Value();
  }
  Value added_preferred() const {
    return added_ ? added_["spec"]["preferredDuringSchedulingIgnoredDuringExecution"] : Value();
  }

  const Verdict refusal_ = Verdict::unresolvable(kRefusal);
  api::Object added_;  // The addedAffinity argument as the spec of an object, or none.
};

}  // namespace

Result<std::unique_ptr<Plugin>> make_node_affinity(const PluginContext& context) {
  api::Object added;
  const auto config = nlohmann::json::parse(context.config_json);
  if (const auto affinity = config.find("addedAffinity"); affinity != config.end()) {
    KUBERNEL_TRY(added, api::Object::from_json({{"metadata", {{"name", "added-affinity"}}}, {"spec", *affinity}}));
  }
  return std::make_unique<NodeAffinity>(std::move(added));
}

}  // namespace kubernel::plugins
