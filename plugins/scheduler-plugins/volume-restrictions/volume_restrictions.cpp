// SPDX-License-Identifier: Apache-2.0

#include "volume_restrictions.h"

#include <algorithm>

#include <kubernel/scheduler/matching.h>
#include <kubernel/scheduler/topology.h>

namespace kubernel::plugins {
namespace {

using namespace scheduler;
using api::Value;

bool share_monitor(Value a, Value b) {
  return std::any_of(a.begin(), a.end(), [&](Value m) { return std::find(b.begin(), b.end(), m) != b.end(); });
}

std::string_view or_default(Value value, std::string_view fallback) {
  return value.string().empty() ? fallback : value.string();
}

// True when both volumes name the same disk. EBS disks are never shared; the others may be by readers.
bool same_disk(Value a, Value b) {
  const auto both_read = [](Value x, Value y) { return x["readOnly"].boolean() && y["readOnly"].boolean(); };
  if (const Value x = a["gcePersistentDisk"], y = b["gcePersistentDisk"]; x && y) {
    return x["pdName"] == y["pdName"] && !both_read(x, y);
  }
  if (const Value x = a["awsElasticBlockStore"], y = b["awsElasticBlockStore"]; x && y)
    return x["volumeID"] == y["volumeID"];
  if (const Value x = a["iscsi"], y = b["iscsi"]; x && y) return x["iqn"] == y["iqn"] && !both_read(x, y);
  if (const Value x = a["rbd"], y = b["rbd"]; x && y) {
    return share_monitor(x["monitors"], y["monitors"]) &&
           or_default(x["pool"], "rbd") == or_default(y["pool"], "rbd") && x["image"] == y["image"] && !both_read(x, y);
  }
  return false;
}

bool is_disk(Value volume) {
  return volume["gcePersistentDisk"] || volume["awsElasticBlockStore"] || volume["iscsi"] || volume["rbd"];
}

bool any_same_disk(const PodInfo& a, const PodInfo& b) {
  const Value theirs = b.spec["volumes"];
  for (const Value mine : a.spec["volumes"]) {
    if (is_disk(mine) && std::any_of(theirs.begin(), theirs.end(), [&](Value v) { return same_disk(mine, v); }))
      return true;
  }
  return false;
}

bool uses(const PodInfo& pod, const api::ObjectKey& claim) {
  if (pod.object.ns() != claim.ns) return false;
  const auto claims = claims_of(pod);
  return std::ranges::any_of(claims, [&](const PodClaim& c) { return c.key == claim; });
}

struct Data final : CycleData {
  bool disks = false;
  std::vector<api::ObjectKey> exclusive;  // The pod's ReadWriteOncePod claims.
  std::int64_t users = 0;                 // Other pods that use one of them.

  std::unique_ptr<CycleData> clone() const override { return std::make_unique<Data>(*this); }
};

class VolumeRestrictions final : public Plugin, public PreFilter, public PreFilterExtensions, public Filter {
 public:
  explicit VolumeRestrictions(client::InformerFactory& informers)
      : claims_(informers.informer(api::resources::kPersistentVolumeClaims, {})) {}

  Result<PreFilterResult> pre_filter(const CallContext&, const PodInfo& pod, const Snapshot& snapshot) override {
    PreFilterResult result;
    auto data = std::make_unique<Data>();
    const Value volumes = pod.spec["volumes"];
    data->disks = std::any_of(volumes.begin(), volumes.end(), is_disk);
    for (const PodClaim& claim : claims_of(pod)) {
      const auto found = claims_->find(claim.key);
      if (!found) {
        result.verdict = Verdict::unresolvable("persistentvolumeclaim \"" + claim.key.name + "\" not found");
        return result;
      }
      const Value modes = found->pointer("/spec/accessModes");
      const bool exclusive =
          std::any_of(modes.begin(), modes.end(), [](Value m) { return m.string() == "ReadWriteOncePod"; });
      if (exclusive) data->exclusive.push_back(claim.key);
    }
    if (!data->disks && data->exclusive.empty()) {
      result.verdict = Verdict::skip();
      return result;
    }
    if (!data->exclusive.empty()) index_.advance(snapshot);
    for (const api::ObjectKey& claim : data->exclusive) data->users += users(snapshot, claim);
    result.data = std::move(data);
    return result;
  }

  void pod_added(CycleData& data, const PodInfo&, const PodInfo& added, const NodeInfo&) const override {
    adjust(data, added, 1);
  }
  void pod_removed(CycleData& data, const PodInfo&, const PodInfo& removed, const NodeInfo&) const override {
    adjust(data, removed, -1);
  }

  Result<Verdict> filter(const PodInfo& pod, const CycleData* data, const NodeInfo& node) const override {
    const auto& state = static_cast<const Data&>(*data);
    if (state.disks && std::ranges::any_of(node.pods, [&](const auto& other) { return any_same_disk(pod, *other); })) {
      return Verdict::unschedulable("node(s) had no available disk");
    }
    if (state.users > 0) {
      return Verdict::unschedulable(
          "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode");
    }
    return Verdict::fits();
  }

  std::vector<EventInterest> retry_on() const override {
    const auto frees = [](const PodInfo& waiting, const api::Object& before, const api::Object& after) {
      if (!before || after) return !after;  // A pod that needs less has its volumes still.
      const PodInfo gone(before);
      if (any_same_disk(waiting, gone)) return true;
      const auto wanted = claims_of(waiting);
      return std::ranges::any_of(wanted, [&](const PodClaim& claim) { return uses(gone, claim.key); });
    };
    return {{ClusterEvent::PodDeleted, frees},
            {ClusterEvent::NodeAdded, {}},
            {ClusterEvent::ResourceChanged, changes_claim_of, api::resources::kPersistentVolumeClaims, names_of_claims,
             name_of_claim}};
  }

 private:
  // Nobody else's claim may be counted per pod in hand, so the index keeps the count.
  std::int64_t users(const Snapshot& snapshot, const api::ObjectKey& claim) {
    const auto make = [&] { return PodSetSpec{[claim](const PodInfo& pod) { return uses(pod, claim); }, {}, {}}; };
    return index_.node_counts(snapshot, api::to_string(claim), make)->total;
  }

  static void adjust(CycleData& data, const PodInfo& other, std::int64_t change) {
    auto& state = static_cast<Data&>(data);
    for (const api::ObjectKey& claim : state.exclusive) state.users += uses(other, claim) ? change : 0;
  }

  const std::shared_ptr<client::Informer> claims_;
  TopologyIndex index_;
};

}  // namespace

Result<std::unique_ptr<Plugin>> make_volume_restrictions(const PluginContext& context) {
  return std::make_unique<VolumeRestrictions>(context.informers);
}

}  // namespace kubernel::plugins
