// SPDX-License-Identifier: Apache-2.0

#include "taint_toleration.h"

#include <algorithm>

#include <kubernel/scheduler/matching.h>

namespace kubernel::plugins {
namespace {

using namespace scheduler;

class TaintToleration final : public Plugin, public Filter, public LocalFilter, public Score {
 public:
  Result<Verdict> filter(const PodInfo& pod, const CycleData*, const NodeInfo& node) const override {
    return tolerates_all(pod, node) ? Verdict::fits() : refusal_;
  }

  Result<std::int64_t> score(const PodInfo& pod, const CycleData*, const NodeInfo& node,
                             const Snapshot&) const override {
    std::int64_t untolerated = 0;
    for (const Taint& taint : node.taints) {
      const bool counts = taint.effect == TaintEffect::PreferNoSchedule;
      if (counts && !tolerated(pod.spec["tolerations"], taint)) ++untolerated;
    }
    return untolerated;
  }

  void normalize(const PodInfo&, const CycleData*, std::span<std::int64_t> scores) const override {
    normalize_scores(scores, true);
  }

  bool sign(const PodInfo& pod, std::string& signature) const override {
    signature += pod.spec["tolerations"].dump();
    return true;
  }

  std::vector<EventInterest> retry_on() const override {
    const auto helps = [](const PodInfo& pod, const api::Object& before, const api::Object& after) {
      return tolerates_all(pod, NodeInfo(after)) && !(before && tolerates_all(pod, NodeInfo(before)));
    };
    const auto tolerates_more = [](const PodInfo&, const api::Object& before, const api::Object& after) {
      return !(before["spec"]["tolerations"] == after["spec"]["tolerations"]);
    };
    return {{ClusterEvent::NodeAdded, helps},
            {ClusterEvent::NodeTaintsChanged, helps},
            {ClusterEvent::PodUpdated, tolerates_more}};
  }

 private:
  static bool tolerates_all(const PodInfo& pod, const NodeInfo& node) {
    return std::ranges::all_of(node.taints, [&](const Taint& taint) {
      return taint.effect == TaintEffect::PreferNoSchedule || tolerated(pod.spec["tolerations"], taint);
    });
  }

  const Verdict refusal_ = Verdict::unresolvable("node(s) had untolerated taint(s)");
};

}  // namespace

Result<std::unique_ptr<Plugin>> make_taint_toleration(const PluginContext&) {
  return std::make_unique<TaintToleration>();
}

}  // namespace kubernel::plugins
