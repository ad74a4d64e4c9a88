// SPDX-License-Identifier: Apache-2.0

#include "taint_toleration.h"

#include <kubernel/scheduler/matching.h>

namespace kubernel::plugins {
namespace {

using namespace scheduler;

class TaintToleration final : public Plugin, public Filter, public Score {
 public:
  Result<Verdict> filter(const PodInfo& pod, const CycleData*, const NodeInfo& node) const override {
    for (const Taint& taint : node.taints) {
      if (taint.effect == TaintEffect::PreferNoSchedule || tolerated(pod.spec["tolerations"], taint)) continue;
      return Verdict::unresolvable("node(s) had untolerated taint(s)");
    }
    return Verdict::fits();
  }

  Result<std::int64_t> score(const PodInfo& pod, const CycleData*, const NodeInfo& node, const Snapshot&) const override {
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

  std::vector<EventInterest> retry_on() const override {
    return {{ClusterEvent::NodeAdded, {}}, {ClusterEvent::NodeTaintsChanged, {}}, {ClusterEvent::PodUpdated, {}}};
  }
};

}  // namespace

Result<std::unique_ptr<Plugin>> make_taint_toleration(const PluginContext&) {
  return std::make_unique<TaintToleration>();
}

}  // namespace kubernel::plugins
