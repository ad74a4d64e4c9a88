// SPDX-License-Identifier: Apache-2.0

#include "node_volume_limits.h"

#include <algorithm>
#include <map>
#include <set>

#include <kubernel/scheduler/csi_migration.h>
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
    KUBERNEL_CHECK_OK(add_volumes(pod, data->wanted));
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
      if (!used) {
        KUBERNEL_TRY(used, used_on(node));
      }
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
    return {{ClusterEvent::NodeAdded, {}},
            {ClusterEvent::PodDeleted, gave_up_volumes},
            {ClusterEvent::ResourceChanged, raises_a_limit, kCsiNodes},
            {ClusterEvent::ResourceChanged, detaches_one_like, kVolumeAttachments},
            {ClusterEvent::ResourceChanged, adds_claim_of, api::resources::kPersistentVolumeClaims, names_of_claims,
             name_of_claim}};
  }

 private:
  static bool is_of_interest(Value volume) {
    return volume["persistentVolumeClaim"] || volume["ephemeral"] || in_tree_plugin_of(volume) != nullptr;
  }

  static bool gave_up_volumes(const PodInfo&, const api::Object& before, const api::Object& after) {
    if (after) return false;  // It needs less of something, but the same volumes.
    const Value volumes = before["spec"]["volumes"];
    return std::any_of(volumes.begin(), volumes.end(), is_of_interest);
  }

  static bool raises_a_limit(const PodInfo&, const api::Object& before, const api::Object& after) {
    if (!before || !after) return static_cast<bool>(after);
    const auto limit_of = [](const api::Object& node, std::string_view driver) -> std::int64_t {
      for (const Value one : node.pointer("/spec/drivers")) {
        if (one["name"].string() == driver) return one["allocatable"]["count"].integer();
      }
      return 0;
    };
    const Value drivers = after.pointer("/spec/drivers");
    return std::any_of(drivers.begin(), drivers.end(), [&](Value one) {
      return one["allocatable"]["count"].integer() > limit_of(before, one["name"].string());
    });
  }

  static bool detaches_one_like(const PodInfo& pod, const api::Object& before, const api::Object& after) {
    if (after) return false;
    const std::string_view driver = before.pointer("/spec/attacher").string();
    const Value volumes = pod.spec["volumes"];
    return std::any_of(volumes.begin(), volumes.end(), [&](Value volume) {
      if (volume["persistentVolumeClaim"] || volume["ephemeral"]) return true;
      const InTreePlugin* plugin = in_tree_plugin_of(volume);
      return plugin != nullptr && plugin->driver == driver;
    });
  }

  static bool adds_claim_of(const PodInfo& pod, const api::Object& before, const api::Object& after) {
    return !before && changes_claim_of(pod, before, after);
  }

  Result<Volumes> used_on(const NodeInfo& node) const {
    Volumes out;
    for (const auto& pod : node.pods) KUBERNEL_CHECK_OK(add_volumes(*pod, out));
    for (const api::Object& attachment : attachments_->by_index(kByNode, node.name)) {
      const auto volume =
          volumes_->find({{}, std::string(attachment.pointer("/spec/source/persistentVolumeName").string())});
      const std::string_view attacher = attachment.pointer("/spec/attacher").string();
      if (!volume || attacher.empty()) continue;
      if (const Value csi = volume->pointer("/spec/csi"))
        out[std::string(attacher)].emplace(csi["volumeHandle"].string());
    }
    return out;
  }

  // An in-tree volume that makes no sense attaches nowhere.
  static void add_volume(const api::Object& volume, Volumes& out) {
    if (const Value csi = volume.pointer("/spec/csi")) {
      out[std::string(csi["driver"].string())].emplace(csi["volumeHandle"].string());
    } else if (const InTreePlugin* plugin = in_tree_plugin_of(volume["spec"])) {
      if (auto handle = csi_handle(*plugin, volume)) out[std::string(plugin->driver)].insert(*std::move(handle));
    }
  }

  // Those that the pod names itself, and those of its claims.
  Result<void> add_volumes(const PodInfo& pod, Volumes& out) const {
    for (const Value volume : pod.spec["volumes"]) {
      const InTreePlugin* plugin = in_tree_plugin_of(volume);
      if (plugin == nullptr) continue;
      auto handle = csi_handle_of_inline(*plugin, volume);
      if (!handle) {
        return std::move(handle).error().wrap("converting volume(" + std::string(volume["name"].string()) +
                                              ") from inline to csi");
      }
      out[std::string(plugin->driver)].insert(*std::move(handle));
    }
    for (const PodClaim& key : claims_of(pod)) {
      const auto claim = claims_->find(key.key);
      if (!claim) continue;
      const std::string_view name = claim->pointer("/spec/volumeName").string();
      const auto volume = name.empty() ? std::nullopt : volumes_->find({{}, std::string(name)});
      if (volume) {
        add_volume(*volume, out);
      } else {
        add_unbound(*claim, out);
      }
    }
    return {};
  }

  // Its class's driver will make the volume.
  void add_unbound(const api::Object& claim, Volumes& out) const {
    const auto storage_class = classes_->find({{}, std::string(claim.pointer("/spec/storageClassName").string())});
    if (!storage_class) return;
    const std::string_view provisioner = storage_class->body()["provisioner"].string();
    const InTreePlugin* plugin = find_in_tree_plugin(provisioner);
    out[std::string(plugin != nullptr ? plugin->driver : provisioner)].insert("claim " + api::to_string(claim.key()));
  }

  const std::shared_ptr<client::Informer> nodes_, claims_, volumes_, classes_, attachments_;
};

}  // namespace

Result<std::unique_ptr<Plugin>> make_node_volume_limits(const PluginContext& context) {
  return std::make_unique<NodeVolumeLimits>(context.informers);
}

}  // namespace kubernel::plugins
