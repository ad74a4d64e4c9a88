// SPDX-License-Identifier: Apache-2.0

#include "volume_binding.h"

#include <algorithm>
#include <map>

#include <nlohmann/json.hpp>

#include <kubernel/scheduler/binding_wait.h>

#include "find_volumes.h"

namespace kubernel::plugins {
namespace {

using namespace scheduler;
using api::Object;

const api::Resource kStorageClasses{"storage.k8s.io", "v1", "storageclasses"};
const api::Resource kCsiNodes{"storage.k8s.io", "v1", "csinodes"};
const api::Resource kCsiDrivers{"storage.k8s.io", "v1", "csidrivers"};
const api::Resource kCapacities{"storage.k8s.io", "v1", "csistoragecapacities"};

struct ShapePoint {
  std::int64_t utilization = 0;  // Percent.
  std::int64_t score = 0;        // 0 to 10.
};

struct Arguments {
  std::chrono::seconds bind_timeout{600};
  std::vector<ShapePoint> shape;
};

// A straight line between the points, level beyond its ends; 0–10 is scaled to 0–100.
std::int64_t shaped(const std::vector<ShapePoint>& shape, std::int64_t utilization) {
  constexpr std::int64_t kScale = kMaxNodeScore / 10;
  if (utilization <= shape.front().utilization) return shape.front().score * kScale;
  for (std::size_t i = 1; i < shape.size(); ++i) {
    if (utilization > shape[i].utilization) continue;
    const ShapePoint& a = shape[i - 1];
    const ShapePoint& b = shape[i];
    return a.score * kScale +
           (b.score - a.score) * kScale * (utilization - a.utilization) / (b.utilization - a.utilization);
  }
  return shape.back().score * kScale;
}

struct Data final : CycleData {
  PodClaims claims;
  NodeVolumes chosen;  // From Reserve on: objects as they are to be written.
  bool assumed = false;

  std::unique_ptr<CycleData> clone() const override { return std::make_unique<Data>(*this); }
};

Result<Object> claimed_volume(const NodeVolumes::Match& match) {
  return match.volume.with([&](nlohmann::json& volume) {
    volume["spec"]["claimRef"] = {{"apiVersion", "v1"},
                                  {"kind", "PersistentVolumeClaim"},
                                  {"namespace", match.claim.ns()},
                                  {"name", match.claim.name()},
                                  {"uid", match.claim.uid()}};
    volume["metadata"]["annotations"]["pv.kubernetes.io/bound-by-controller"] = "yes";
  });
}

Result<Object> claim_with_node(const Object& claim, std::string_view node) {
  return claim.with([&](nlohmann::json& document) { document["metadata"]["annotations"][kSelectedNode] = node; });
}

class VolumeBinding final : public Plugin,
                            public PreFilter,
                            public Filter,
                            public PreScore,
                            public Score,
                            public Reserve,
                            public PreBind {
 public:
  VolumeBinding(Arguments arguments, const PluginContext& context)
      : arguments_(std::move(arguments)),
        index_(context.index),
        api_(context.api),
        clock_(context.clock),
        cache_(context.informers) {
    subscriptions_ = cache_.on_change([this] { volumes_change_.changed(); });
  }

  Result<PreFilterResult> pre_filter(const CallContext&, const PodInfo& pod, const Snapshot&) override {
    PreFilterResult result;
    auto data = std::make_unique<Data>();
    data->claims = PodClaims::read(pod, cache_);
    if (!data->claims.problem.empty()) {
      result.verdict = Verdict::unresolvable(data->claims.problem);
    } else if (data->claims.empty()) {
      result.verdict = Verdict::skip();
    } else {
      result.data = std::move(data);
    }
    return result;
  }

  Result<Verdict> filter(const PodInfo&, const CycleData* data, const NodeInfo& node) const override {
    KUBERNEL_TRY(const NodeVolumes volumes, NodeVolumes::find(static_cast<const Data&>(*data).claims, node, cache_));
    return verdict_of(volumes);
  }

  Result<PreScoreResult> pre_score(const CallContext&, const PodInfo& pod, const Snapshot&,
                                   std::span<const NodeInfo* const>) override {
    PreScoreResult result;
    if (arguments_.shape.empty() || PodClaims::read(pod, cache_).delayed.empty()) result.verdict = Verdict::skip();
    return result;
  }

  // By how full the storage of each class would be.
  Result<std::int64_t> score(const PodInfo&, const CycleData* data, const NodeInfo& node,
                             const Snapshot&) const override {
    KUBERNEL_TRY(const NodeVolumes volumes, NodeVolumes::find(static_cast<const Data&>(*data).claims, node, cache_));
    std::map<std::string, std::pair<std::int64_t, std::int64_t>> by_class;  // Wanted and there.
    const auto add = [&](const Object& claim, std::int64_t there) {
      auto& [wanted, capacity] = by_class[std::string(claim.pointer("/spec/storageClassName").string())];
      wanted += wanted_by(claim);
      capacity += there;
    };
    for (const auto& match : volumes.matches) add(match.claim, capacity_of(match.volume));
    if (volumes.matches.empty()) {
      for (const Object& claim : volumes.to_provision)
        add(claim, std::max<std::int64_t>(storage_for(claim, node, cache_), 0));
    }
    std::int64_t total = 0;
    std::int64_t count = 0;
    for (const auto& [name, sizes] : by_class) {
      if (sizes.second == 0) continue;
      total += shaped(arguments_.shape, std::min<std::int64_t>(100, sizes.first * 100 / sizes.second));
      ++count;
    }
    return count == 0 ? 0 : total / count;
  }

  void normalize(const PodInfo&, const CycleData*, std::span<std::int64_t>) const override {}

  Verdict reserve(const CallContext&, const Cycle& cycle, std::string_view node) override {
    Data* data = data_of(cycle);
    if (data == nullptr || data->claims.delayed.empty()) return Verdict::fits();
    const NodeInfo* info = cycle.snapshot->find(node);
    if (info == nullptr) return Verdict::unschedulable("node \"" + std::string(node) + "\" not found");
    // The claims are read anew: another pod may have taken a volume, or the same claim, since this one was filtered.
    data->claims = PodClaims::read(*cycle.pod, cache_);
    if (!data->claims.problem.empty()) return Verdict::unresolvable(data->claims.problem);
    auto chosen = NodeVolumes::find(data->claims, *info, cache_);
    if (!chosen) return Verdict::unschedulable(chosen.error().message());
    data->chosen = *std::move(chosen);
    if (!data->chosen.refusals.empty()) return verdict_of(data->chosen);
    data->assumed = true;
    for (auto& match : data->chosen.matches) {
      auto changed = claimed_volume(match);
      if (!changed) return Verdict::unschedulable(changed.error().message());
      match.volume = *std::move(changed);
      cache_.assume_volume(match.volume);
    }
    for (Object& claim : data->chosen.to_provision) {
      auto changed = claim_with_node(claim, node);
      if (!changed) return Verdict::unschedulable(changed.error().message());
      claim = *std::move(changed);
      cache_.assume_claim(claim);
    }
    return Verdict::fits();
  }

  void unreserve(const CallContext&, const Cycle& cycle, std::string_view) override {
    Data* data = data_of(cycle);
    if (data == nullptr || !std::exchange(data->assumed, false)) return;
    for (const auto& match : data->chosen.matches) cache_.restore_volume(match.volume.key());
    for (const Object& claim : data->chosen.to_provision) cache_.restore_claim(claim.key());
  }

  Result<Verdict> pre_bind(const CallContext& ctx, const Cycle& cycle, std::string_view node) override {
    Data* data = data_of(cycle);
    if (data == nullptr || !data->assumed) return Verdict::fits();
    for (const auto& match : data->chosen.matches) {
      KUBERNEL_CHECK_OK(
          api_.update(ctx, api::resources::kPersistentVolumes, match.volume.key(), match.volume.to_json(), {}));
    }
    for (const Object& claim : data->chosen.to_provision) {
      KUBERNEL_CHECK_OK(api_.update(ctx, api::resources::kPersistentVolumeClaims, claim.key(), claim.to_json(), {}));
    }
    return wait_until_bound(ctx, *data, node);
  }

  std::vector<EventInterest> retry_on() const override {
    return {{ClusterEvent::NodeAdded, {}},
            {ClusterEvent::NodeLabelsChanged, {}},
            {ClusterEvent::ResourceChanged, changes_claim_of, api::resources::kPersistentVolumeClaims, names_of_claims,
             name_of_claim},
            {ClusterEvent::ResourceChanged, is_there, api::resources::kPersistentVolumes},
            {ClusterEvent::ResourceChanged, reaches_further, kStorageClasses},
            {ClusterEvent::ResourceChanged, migrates_others, kCsiNodes},
            {ClusterEvent::ResourceChanged, asks_no_more, kCsiDrivers},
            {ClusterEvent::ResourceChanged, has_grown, kCapacities}};
  }

 private:
  static bool is_there(const PodInfo&, const Object&, const Object& after) { return static_cast<bool>(after); }

  static bool reaches_further(const PodInfo&, const Object& before, const Object& after) {
    return after && (!before || !(before["allowedTopologies"] == after["allowedTopologies"]));
  }

  static bool migrates_others(const PodInfo&, const Object& before, const Object& after) {
    return after && (!before || before.annotations()[kMigratedPluginsAnnotation].string() !=
                                    after.annotations()[kMigratedPluginsAnnotation].string());
  }

  // Its capacity does not count any more.
  static bool asks_no_more(const PodInfo&, const Object& before, const Object& after) {
    return before && after && before.pointer("/spec/storageCapacity").boolean() &&
           !after.pointer("/spec/storageCapacity").boolean();
  }

  static bool has_grown(const PodInfo&, const Object& before, const Object& after) {
    return after && (!before || largest_volume_of(after) > largest_volume_of(before));
  }

  static Verdict verdict_of(const NodeVolumes& volumes) {
    if (volumes.refusals.empty()) return Verdict::fits();
    return Verdict::refused(volumes.hopeless ? Verdict::Kind::Unresolvable : Verdict::Kind::Unschedulable,
                            volumes.refusals);
  }

  // Null when pre_filter had nothing to say about the pod.
  Data* data_of(const Cycle& cycle) const {
    return index_ < cycle.data.size() ? static_cast<Data*>(cycle.data[index_].get()) : nullptr;
  }

  // Absent: not yet.
  std::optional<Result<Verdict>> progress(const Data& data, std::string_view node) const {
    for (const Object& wanted : data.claims.delayed) {
      const auto claim = cache_.claim(wanted.key());
      if (!claim) return Error(Reason::NotFound, "persistentvolumeclaim \"" + wanted.name() + "\" not found");
      const bool provisions =
          std::ranges::any_of(data.chosen.to_provision, [&](const Object& c) { return c.key() == wanted.key(); });
      if (provisions && claim->annotations()[kSelectedNode].string() != node) {
        return Verdict::unschedulable("provisioning failed for PVC \"" + wanted.name() + "\"");
      }
      if (!is_bound(*claim)) return std::nullopt;
    }
    return Verdict::fits();
  }

  Result<Verdict> wait_until_bound(const CallContext& ctx, const Data& data, std::string_view node) {
    return volumes_change_.until(
        ctx, clock_, arguments_.bind_timeout, [&] { return progress(data, node); }, "binding volumes: stopped",
        "binding volumes: timed out waiting for the condition");
  }

  const Arguments arguments_;
  const std::size_t index_;
  client::ApiClient& api_;
  Clock& clock_;
  VolumeCache cache_;
  BindingWait volumes_change_;
  std::vector<std::unique_ptr<Subscription>> subscriptions_;
};

Result<Arguments> parse_arguments(const std::string& config_json) {
  const auto config = nlohmann::json::parse(config_json);
  Arguments out;
  out.bind_timeout = std::chrono::seconds(config.value("bindTimeoutSeconds", 600));
  for (const auto& point : config.value("shape", nlohmann::json::array())) {
    out.shape.push_back({point.at("utilization").get<std::int64_t>(), point.at("score").get<std::int64_t>()});
  }
  if (std::ranges::adjacent_find(out.shape, std::ranges::greater_equal(), &ShapePoint::utilization) !=
      out.shape.end()) {
    return Error(Reason::Invalid, "shape: utilization must increase from point to point");
  }
  return out;
}

}  // namespace

Result<std::unique_ptr<Plugin>> make_volume_binding(const PluginContext& context) {
  KUBERNEL_TRY(Arguments arguments,
               catch_as_error("VolumeBinding arguments", [&] { return parse_arguments(context.config_json); }));
  return std::make_unique<VolumeBinding>(std::move(arguments), context);
}

}  // namespace kubernel::plugins
