// SPDX-License-Identifier: Apache-2.0

#include "node_volume_limits.h"

#include <algorithm>
#include <map>
#include <set>

#include <kubernel/scheduler/matching.h>

namespace kubernel::plugins {
namespace {

using namespace scheduler;
using api::Value;

const api::Resource kCsiNodes{"storage.k8s.io", "v1", "csinodes"};
const api::Resource kStorageClasses{"storage.k8s.io", "v1", "storageclasses"};
const api::Resource kVolumeAttachments{"storage.k8s.io", "v1", "volumeattachments"};
constexpr const char* kByNode = "volume-limits/node";

// Handles of volumes by CSI driver; the same volume of two pods is attached once.
using Volumes = std::map<std::string, std::set<std::string>>;

struct Data final : CycleData {
  Volumes wanted;

  std::unique_ptr<CycleData> clone() const override { return std::make_unique<Data>(*this); }
};

class NodeVolumeLimits final : public Plugin, public PreFilter, public Filter {
 public:
  explicit NodeVolumeLimits(client::InformerFactory& informers)
      : nodes_(informers.informer(kCsiNodes, {})),
        claims_(informers.informer(api::resources::kPersistentVolumeClaims, {})),
        volumes_(informers.informer(api::resources::kPersistentVolumes, {})),
        classes_(informers.informer(kStorageClasses, {})),
        attachments_(informers.informer(kVolumeAttachments, {})) {
    attachments_->add_index(kByNode, [](const api::Object& attachment) -> std::vector<std::string> {
      return {std::string(attachment.pointer("/spec/nodeName").string())};
    });
  }

  Result<PreFilterResult> pre_filter(const CallContext&, const PodInfo& pod, const Snapshot&) override {
    PreFilterResult result;
    auto data = std::make_unique<Data>();
    for (const PodClaim& claim : claims_of(pod)) {
      if (!claims_->find(claim.key)) {
        result.verdict = Verdict::unresolvable("persistentvolumeclaim \"" + claim.key.name + "\" not found");
        return result;
      }
    }
    add_volumes(pod, data->wanted);
    if (data->wanted.empty()) {
      result.verdict = Verdict::skip();
    } else {
      result.data = std::move(data);
    }
    return result;
  }

  Result<Verdict> filter(const PodInfo&, const CycleData* data, const NodeInfo& node) const override {
    const auto limits = nodes_->find({{}, node.name});
    if (!limits) return Verdict::fits();
    std::optional<Volumes> used;  // Only read for a driver that has a limit.
    for (const Value driver : limits->pointer("/spec/drivers")) {
      const Value limit = driver["allocatable"]["count"];
      const auto wanted = static_cast<const Data&>(*data).wanted.find(std::string(driver["name"].string()));
      if (!limit || wanted == static_cast<const Data&>(*data).wanted.end()) continue;
      if (!used) used = used_on(node);
      const std::set<std::string>& held = (*used)[wanted->first];
      const auto added =
          std::ranges::count_if(wanted->second, [&](const std::string& handle) { return !held.contains(handle); });
      if (added > 0 && static_cast<std::int64_t>(held.size()) + added > limit.integer()) {
        return Verdict::unschedulable("node(s) exceed max volume count");
      }
    }
    return Verdict::fits();
  }

  std::vector<EventInterest> retry_on() const override {
    const auto had_claims = [](const PodInfo&, const api::Object& before, const api::Object&) {
      return !before || !claims_of(PodInfo(before)).empty();
    };
    return {{ClusterEvent::NodeAdded, {}},
            {ClusterEvent::PodDeleted, had_claims},
            {ClusterEvent::ResourceChanged, {}, kCsiNodes},
            {ClusterEvent::ResourceChanged, {}, kVolumeAttachments},
            {ClusterEvent::ResourceChanged, changes_claim_of, api::resources::kPersistentVolumeClaims}};
  }

 private:
  Volumes used_on(const NodeInfo& node) const {
    Volumes out;
    for (const auto& pod : node.pods) add_volumes(*pod, out);
    for (const api::Object& attachment : attachments_->by_index(kByNode, node.name)) {
      const auto volume =
          volumes_->find({{}, std::string(attachment.pointer("/spec/source/persistentVolumeName").string())});
      if (volume) add_volume(*volume, out);
    }
    return out;
  }

  static void add_volume(const api::Object& volume, Volumes& out) {
    const Value csi = volume.pointer("/spec/csi");
    if (csi) out[std::string(csi["driver"].string())].emplace(csi["volumeHandle"].string());
  }

  void add_volumes(const PodInfo& pod, Volumes& out) const {
    for (const PodClaim& key : claims_of(pod)) {
      const auto claim = claims_->find(key.key);
      if (!claim) continue;
      if (const std::string_view name = claim->pointer("/spec/volumeName").string(); !name.empty()) {
        if (const auto volume = volumes_->find({{}, std::string(name)})) add_volume(*volume, out);
        continue;
      }
      // Not bound yet: its class's driver will make one.
      const auto storage_class = classes_->find({{}, std::string(claim->pointer("/spec/storageClassName").string())});
      if (storage_class)
        out[std::string(storage_class->body()["provisioner"].string())].insert("claim " + api::to_string(key.key));
    }
  }

  const std::shared_ptr<client::Informer> nodes_, claims_, volumes_, classes_, attachments_;
};

}  // namespace

Result<std::unique_ptr<Plugin>> make_node_volume_limits(const PluginContext& context) {
  return std::make_unique<NodeVolumeLimits>(context.informers);
}

}  // namespace kubernel::plugins
