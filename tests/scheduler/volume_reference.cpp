// SPDX-License-Identifier: Apache-2.0
#include "volume_reference.h"

#include <algorithm>
#include <functional>
#include <set>

namespace kubernel::reference {

namespace {

json volumes_of(const json& pod) {
  return pod["spec"].value("volumes", json::array());
}

std::vector<std::string> claims_of(const json& pod) {
  std::vector<std::string> out;
  for (const json& volume : volumes_of(pod)) {
    if (volume.contains("persistentVolumeClaim"))
      out.push_back(volume["persistentVolumeClaim"]["claimName"].get<std::string>());
  }
  return out;
}

bool all_claims_exist(const Volumes& world, const json& pod) {
  const auto claims = claims_of(pod);
  return std::all_of(claims.begin(), claims.end(),
                     [&](const std::string& name) { return world.claims.contains(name); });
}

std::vector<json> bound_volumes(const Volumes& world, const json& pod) {
  std::vector<json> out;
  for (const std::string& name : claims_of(pod)) {
    if (const auto claim = world.claims.find(name); claim != world.claims.end())
      out.push_back(world.volumes.at(claim->second["spec"]["volumeName"].get<std::string>()));
  }
  return out;
}

// VolumeRestrictions: a disk is used by one pod of a node, unless all who use it only read. EBS disks are never shared.
bool same_disk(const json& a, const json& b) {
  for (const auto& [kind, name] : {std::pair<const char*, const char*>("gcePersistentDisk", "pdName"),
                                   {"awsElasticBlockStore", "volumeID"},
                                   {"iscsi", "iqn"}}) {
    if (!a.contains(kind) || !b.contains(kind) || a[kind][name] != b[kind][name]) continue;
    const bool readers = a[kind].value("readOnly", false) && b[kind].value("readOnly", false);
    if (!readers || std::string(kind) == "awsElasticBlockStore") return true;
  }
  if (!a.contains("rbd") || !b.contains("rbd")) return false;
  const json& x = a["rbd"];
  const json& y = b["rbd"];
  const bool monitor = std::any_of(x["monitors"].begin(), x["monitors"].end(), [&](const json& m) {
    return std::find(y["monitors"].begin(), y["monitors"].end(), m) != y["monitors"].end();
  });
  return monitor && x["image"] == y["image"] && x.value("pool", "rbd") == y.value("pool", "rbd") &&
         !(x.value("readOnly", false) && y.value("readOnly", false));
}

bool disks_free(const Node& node, const json& pod) {
  for (const json& mine : volumes_of(pod)) {
    for (const json& other : node.pods) {
      for (const json& theirs : volumes_of(other)) {
        if (same_disk(mine, theirs)) return false;
      }
    }
  }
  return true;
}

bool exclusive_claims_free(const Cluster& cluster, const Volumes& world, const json& pod) {
  for (const std::string& name : claims_of(pod)) {
    const json& modes = world.claims.at(name)["spec"]["accessModes"];
    if (std::find(modes.begin(), modes.end(), "ReadWriteOncePod") == modes.end()) continue;
    for (const Node& node : cluster.nodes) {
      for (const json& other : node.pods) {
        const auto used = claims_of(other);
        if (std::find(used.begin(), used.end(), name) != used.end()) return false;
      }
    }
  }
  return true;
}

// VolumeZone: in a cluster with zones, the node is in one of the volume's ("a__b" lists them).
bool zones_match(const Volumes& world, const Node& node, const json& pod) {
  const json labels = node.object["metadata"].value("labels", json::object());
  const std::vector<std::string> keys = {"topology.kubernetes.io/zone", "topology.kubernetes.io/region"};
  if (std::none_of(keys.begin(), keys.end(), [&](const std::string& key) { return labels.contains(key); })) return true;
  for (const json& volume : bound_volumes(world, pod)) {
    for (const std::string& key : keys) {
      const json wanted = volume["metadata"].value("labels", json::object());
      if (!wanted.contains(key)) continue;
      const std::string zones = "__" + wanted[key].get<std::string>() + "__";
      if (!labels.contains(key) || zones.find("__" + labels[key].get<std::string>() + "__") == std::string::npos)
        return false;
    }
  }
  return true;
}

// NodeVolumeLimits: distinct volumes of a driver on the node.
bool within_limits(const Volumes& world, const Node& node, const json& pod) {
  const auto limits = world.limits.find(node.name());
  if (limits == world.limits.end()) return true;
  for (const auto& [driver, limit] : limits->second.items()) {
    std::set<std::string> there;
    const auto add = [&, name = driver](const json& of) {
      for (const json& volume : bound_volumes(world, of)) {
        if (volume["spec"]["csi"]["driver"] == name)
          there.insert(volume["spec"]["csi"]["volumeHandle"].get<std::string>());
      }
    };
    for (const json& other : node.pods) add(other);
    const std::size_t before = there.size();
    add(pod);
    if (there.size() > before && there.size() > limit.get<std::size_t>()) return false;
  }
  return true;
}

// VolumeBinding: a bound volume says itself which nodes reach it.
bool reachable(const Volumes& world, const Node& node, const json& pod) {
  const json labels = node.object["metadata"].value("labels", json::object());
  for (const json& volume : bound_volumes(world, pod)) {
    if (!volume["spec"].contains("nodeAffinity")) continue;
    const json& expression = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0];
    const std::string key = expression["key"].get<std::string>();
    if (!labels.contains(key) ||
        std::find(expression["values"].begin(), expression["values"].end(), labels[key]) == expression["values"].end())
      return false;
  }
  return true;
}

}  // namespace

std::map<std::string, std::vector<std::string>> feasible_volumes(const Cluster& cluster, const Volumes& world,
                                                                 const json& pod) {
  const bool exist = all_claims_exist(world, pod);
  const std::map<std::string, std::function<bool(const Node&)>> rules = {
      {"VolumeRestrictions",
       [&](const Node& n) { return disks_free(n, pod) && exclusive_claims_free(cluster, world, pod); }},
      {"VolumeZone", [&](const Node& n) { return zones_match(world, n, pod); }},
      {"NodeVolumeLimits", [&](const Node& n) { return within_limits(world, n, pod); }},
      {"VolumeBinding", [&](const Node& n) { return reachable(world, n, pod); }},
  };
  std::map<std::string, std::vector<std::string>> out;
  for (const auto& [plugin, rule] : rules) {
    auto& names = out[plugin];
    for (const Node& node : cluster.nodes) {
      if (exist && rule(node)) names.push_back(node.name());
    }
  }
  return out;
}

}  // namespace kubernel::reference
