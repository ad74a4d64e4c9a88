// SPDX-License-Identifier: Apache-2.0

#include "volume_zone.h"

#include <algorithm>
#include <array>

#include <kubernel/scheduler/matching.h>

namespace kubernel::plugins {
namespace {

using namespace scheduler;
using api::Value;

const api::Resource kStorageClasses{"storage.k8s.io", "v1", "storageclasses"};

// The label, and what it was called before 1.17.
struct ZoneLabel {
  const char* name;
  const char* current;
};
constexpr std::array<ZoneLabel, 4> kLabels = {{
    {"failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"},
    {"failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"},
    {"topology.kubernetes.io/zone", "topology.kubernetes.io/zone"},
    {"topology.kubernetes.io/region", "topology.kubernetes.io/region"},
}};

// A regional volume lists its zones: "a__b".
std::vector<std::string> zones_of(std::string_view text) {
  std::vector<std::string> out;
  for (;;) {
    const auto at = text.find("__");
    out.emplace_back(text.substr(0, at));
    if (at == std::string_view::npos) return out;
    text.remove_prefix(at + 2);
  }
}

struct Topology {
  const ZoneLabel* label;
  std::vector<std::string> values;
};

struct Data final : CycleData {
  std::vector<Topology> wanted;

  std::unique_ptr<CycleData> clone() const override { return std::make_unique<Data>(*this); }
};

class VolumeZone final : public Plugin, public PreFilter, public Filter {
 public:
  explicit VolumeZone(client::InformerFactory& informers)
      : claims_(informers.informer(api::resources::kPersistentVolumeClaims, {})),
        volumes_(informers.informer(api::resources::kPersistentVolumes, {})),
        classes_(informers.informer(kStorageClasses, {})) {}

  Result<PreFilterResult> pre_filter(const CallContext&, const PodInfo& pod, const Snapshot&) override {
    PreFilterResult result;
    auto data = std::make_unique<Data>();
    for (const PodClaim& claim : claims_of(pod)) {
      const std::string problem = add_topology(claim, data->wanted);
      if (problem.empty()) continue;
      result.verdict = Verdict::unresolvable(problem);
      return result;
    }
    if (data->wanted.empty()) {
      result.verdict = Verdict::skip();
    } else {
      result.data = std::move(data);
    }
    return result;
  }

  Result<Verdict> filter(const PodInfo&, const CycleData* data, const NodeInfo& node) const override {
    const Value labels = node.labels();
    // A cluster without zones has no zone conflicts.
    if (std::ranges::none_of(kLabels, [&](const ZoneLabel& label) { return bool{labels[label.name]}; }))
      return Verdict::fits();
    for (const Topology& topology : static_cast<const Data&>(*data).wanted) {
      Value value = labels[topology.label->name];
      if (!value) value = labels[topology.label->current];
      if (!value || std::ranges::find(topology.values, value.string()) == topology.values.end()) {
        return Verdict::unresolvable("node(s) had no available volume zone");
      }
    }
    return Verdict::fits();
  }

  std::vector<EventInterest> retry_on() const override {
    return {{ClusterEvent::NodeAdded, {}},
            {ClusterEvent::NodeLabelsChanged, {}},
            {ClusterEvent::ResourceChanged, changes_claim_of, api::resources::kPersistentVolumeClaims, names_of_claims,
             name_of_claim},
            {ClusterEvent::ResourceChanged, has_other_zones, api::resources::kPersistentVolumes},
            {ClusterEvent::ResourceChanged, binds_late_now, kStorageClasses}};
  }

 private:
  static bool has_other_zones(const PodInfo&, const api::Object& before, const api::Object& after) {
    if (!before || !after) return static_cast<bool>(after);
    return std::ranges::any_of(kLabels, [&](const ZoneLabel& label) {
      const Value was = before.labels()[label.name], is = after.labels()[label.name];
      return bool{was} != bool{is} || was.string() != is.string();
    });
  }

  // The mode of one that is there does not change.
  static bool binds_late_now(const PodInfo&, const api::Object& before, const api::Object& after) {
    return !before && after && after["volumeBindingMode"].string() == "WaitForFirstConsumer";
  }

  // Returns why the pod cannot be placed at all, or nothing.
  std::string add_topology(const PodClaim& claim, std::vector<Topology>& out) const {
    const auto found = claims_->find(claim.key);
    if (!found) return "persistentvolumeclaim \"" + claim.key.name + "\" not found";
    const std::string volume_name(found->pointer("/spec/volumeName").string());
    if (volume_name.empty()) return waits(*found) ? "" : "PersistentVolume had no name";
    const auto volume = volumes_->find({{}, volume_name});
    if (!volume) return "persistentvolume \"" + volume_name + "\" not found";
    for (const ZoneLabel& label : kLabels) {
      const Value value = volume->labels()[label.name];
      if (value) out.push_back({&label, zones_of(value.string())});
    }
    return {};
  }

  // Volume binding finds a volume in the right zone once a node is chosen.
  bool waits(const api::Object& claim) const {
    const auto storage_class = classes_->find({{}, std::string(claim.pointer("/spec/storageClassName").string())});
    return storage_class && storage_class->body()["volumeBindingMode"].string() == "WaitForFirstConsumer";
  }

  const std::shared_ptr<client::Informer> claims_, volumes_, classes_;
};

}  // namespace

Result<std::unique_ptr<Plugin>> make_volume_zone(const PluginContext& context) {
  return std::make_unique<VolumeZone>(context.informers);
}

}  // namespace kubernel::plugins
