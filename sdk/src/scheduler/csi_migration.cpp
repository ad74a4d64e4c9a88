// SPDX-License-Identifier: Apache-2.0
#include <kubernel/scheduler/csi_migration.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <set>
#include <vector>

#include <nlohmann/json.hpp>

namespace kubernel::scheduler {
namespace {

using api::Value;
using nlohmann::json;

constexpr std::array<InTreePlugin, 5> kPlugins = {{
    {"kubernetes.io/aws-ebs", "ebs.csi.aws.com", "awsElasticBlockStore", "topology.ebs.csi.aws.com/zone"},
    {"kubernetes.io/gce-pd", "pd.csi.storage.gke.io", "gcePersistentDisk", "topology.gke.io/zone"},
    {"kubernetes.io/azure-disk", "disk.csi.azure.com", "azureDisk", ""},
    {"kubernetes.io/cinder", "cinder.csi.openstack.org", "cinder", "topology.cinder.csi.openstack.org/zone"},
    {"kubernetes.io/portworx-volume", "pxd.portworx.com", "portworxVolume", ""},
}};
constexpr const InTreePlugin &kAwsEbs = kPlugins[0], &kGcePd = kPlugins[1], &kAzureDisk = kPlugins[2];

constexpr const char* kZone = "topology.kubernetes.io/zone";
constexpr const char* kRegion = "topology.kubernetes.io/region";
constexpr const char* kOldZone = "failure-domain.beta.kubernetes.io/zone";
constexpr const char* kOldRegion = "failure-domain.beta.kubernetes.io/region";
constexpr const char* kUnspecified = "UNSPECIFIED";

// A label may hold several zones: "a__b".
std::vector<std::string> split_zones(std::string_view label) {
  constexpr std::string_view kDelimiter = "__";
  std::vector<std::string> out;
  for (std::size_t end; (end = label.find(kDelimiter)) != std::string_view::npos;) {
    out.emplace_back(label.substr(0, end));
    label.remove_prefix(end + kDelimiter.size());
  }
  out.emplace_back(label);
  return out;
}

// "aws://us-east-1a/vol-1" is "vol-1", as is "vol-1".
Result<std::string> ebs_volume(std::string_view id) {
  constexpr std::string_view kScheme = "aws://";
  if (!id.starts_with(kScheme)) return std::string(id);
  std::string_view volume = id.substr(std::min(id.find('/', kScheme.size()), id.size()));
  while (volume.starts_with('/')) volume.remove_prefix(1);
  while (volume.ends_with('/')) volume.remove_suffix(1);
  if (!volume.starts_with("vol-") || volume.find('/') != std::string_view::npos) {
    return Error(Reason::Invalid, "failed to translate Kubernetes ID to EBS Volume ID Invalid format for AWS volume (" +
                                      std::string(id) + ")");
  }
  return std::string(volume);
}

// Zones are called LOCALE-REGION-ZONE; those of one disk are of one region.
Result<std::string> gce_region(const std::vector<std::string>& zones) {
  std::set<std::string> regions;
  for (const std::string& zone : zones) {
    if (std::ranges::count(zone, '-') != 2) {
      return Error(Reason::Invalid, "zone in unexpected format, expected: {locale}-{region}-{zone}, got: " + zone);
    }
    regions.insert(zone.substr(0, zone.rfind('-')));
  }
  if (regions.size() != 1) {
    std::string got;
    for (const std::string& region : regions) got += (got.empty() ? "" : " ") + region + ":{}";
    return Error(Reason::Invalid, "multiple or no regions gotten from zones, got: map[" + got + "]");
  }
  return *regions.begin();
}

// What a disk's project is its node's to say, and its zone when nothing tells.
Result<std::string> gce_disk(std::string_view name, std::string_view zones_label) {
  const auto zones = split_zones(zones_label);
  std::string place = "/zones/" + (zones_label.empty() ? kUnspecified : zones.front());
  if (zones.size() > 1) {
    auto region = gce_region(zones);
    if (!region) return std::move(region).error().wrap("failed to get region from zones");
    place = "/regions/" + *region;
  }
  return std::string("projects/") + kUnspecified + place + "/disks/" + std::string(name);
}

Result<std::string> azure_disk(Value source) {
  const std::string_view kind = source["kind"].string();
  const auto same = [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; };
  if (source["kind"] && !std::ranges::equal(kind, std::string_view("managed"), same)) {
    return Error(Reason::Invalid, "kind(" + std::string(kind) + ") is not supported in csi migration");
  }
  return std::string(source["diskURI"].string());
}

Result<std::string> handle(const InTreePlugin& plugin, Value source, std::string_view zones_label) {
  if (&plugin == &kAwsEbs) return ebs_volume(source["volumeID"].string());
  if (&plugin == &kGcePd) return gce_disk(source["pdName"].string(), zones_label);
  if (&plugin == &kAzureDisk) return azure_disk(source);
  return std::string(source["volumeID"].string());
}

// The terms of a volume's node affinity, or null.
json* terms_of(json& volume) {
  const json::json_pointer path("/spec/nodeAffinity/required/nodeSelectorTerms");
  return volume.contains(path) && volume[path].is_array() && !volume[path].empty() ? &volume[path] : nullptr;
}

// Calls `visit` with each expression over that label.
template <typename Visit>
void for_each_expression(json* terms, const std::string& key, Visit visit) {
  if (terms == nullptr) return;
  for (json& term : *terms) {
    const auto expressions = term.find("matchExpressions");
    if (expressions == term.end()) continue;
    for (json& expression : *expressions) {
      if (expression.value("key", "") == key) visit(expression);
    }
  }
}

bool names_label(json* terms, const std::string& key) {
  bool found = false;
  for_each_expression(terms, key, [&](const json&) { found = true; });
  return found;
}

bool has_values(json* terms, const std::string& key) {
  bool found = false;
  for_each_expression(terms, key,
                      [&](const json& e) { found = found || (e.contains("values") && !e["values"].empty()); });
  return found;
}

void rename_label(json* terms, const std::string& from, const std::string& to) {
  for_each_expression(terms, from, [&](json& expression) { expression["key"] = to; });
}

// Each term (or else a new one) also asks for one of the zones.
void add_zones(json& volume, std::string_view key, std::string_view label) {
  std::set<std::string> zones;
  for (const std::string& zone : split_zones(label)) {
    const auto first = zone.find_first_not_of(" \t\n\v\f\r");
    if (first != std::string::npos) zones.insert(zone.substr(first, zone.find_last_not_of(" \t\n\v\f\r") - first + 1));
  }
  if (zones.empty()) return;
  json& terms = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"];
  if (!terms.is_array() || terms.empty()) terms = json::array({json::object()});
  for (json& term : terms) {
    term["matchExpressions"].push_back({{"key", std::string(key)}, {"operator", "In"}, {"values", zones}});
  }
}

// The labels of old count where there are none of today's: first in the node affinity, then on the volume.
bool speaks_old_labels(json& volume, Value labels) {
  json* const terms = terms_of(volume);
  if (names_label(terms, kZone)) return false;
  if (names_label(terms, kOldZone)) return true;
  return !labels[kZone] && labels[kOldZone];
}

void translate_topology(json& volume, Value labels, std::string_view driver_key) {
  const bool old = speaks_old_labels(volume, labels);
  const char* const zone = old ? kOldZone : kZone;
  json* const terms = terms_of(volume);
  if (has_values(terms, zone)) {
    rename_label(terms, zone, std::string(driver_key));
  } else if (const Value label = labels[zone]) {
    add_zones(volume, driver_key, label.string());
  }
  if (old && has_values(terms_of(volume), kOldRegion)) rename_label(terms_of(volume), kOldRegion, kRegion);
}

}  // namespace

const InTreePlugin* find_in_tree_plugin(std::string_view name) noexcept {
  const auto found = std::ranges::find(kPlugins, name, &InTreePlugin::name);
  return found == kPlugins.end() ? nullptr : &*found;
}

const InTreePlugin* in_tree_plugin_of(Value source) noexcept {
  for (auto it = source.begin(); it != source.end(); ++it) {
    const auto found = std::ranges::find(kPlugins, it.key(), &InTreePlugin::member);
    if (found != kPlugins.end()) return &*found;
  }
  return nullptr;
}

Result<std::string> csi_handle(const InTreePlugin& plugin, const api::Object& persistent_volume) {
  const Value labels = persistent_volume.labels();
  std::string_view zones = labels[kOldZone].string();
  if (zones.empty()) zones = labels[kZone].string();
  return handle(plugin, persistent_volume["spec"][plugin.member], zones);
}

Result<std::string> csi_handle_of_inline(const InTreePlugin& plugin, Value pod_volume) {
  return handle(plugin, pod_volume[plugin.member], {});
}

Result<api::Object> as_csi_volume(const InTreePlugin& plugin, const api::Object& persistent_volume) {
  KUBERNEL_TRY(std::string volume_handle, csi_handle(plugin, persistent_volume));
  return persistent_volume.with([&](json& volume) {
    if (!plugin.topology_key.empty()) translate_topology(volume, persistent_volume.labels(), plugin.topology_key);
    json& spec = volume["spec"];
    spec.erase(std::string(plugin.member));
    spec["csi"] = {{"driver", std::string(plugin.driver)}, {"volumeHandle", volume_handle}};
  });
}

bool has_migrated(const api::Object& csi_node, const InTreePlugin& plugin) {
  std::string_view list = csi_node.annotations()[kMigratedPluginsAnnotation].string();
  while (!list.empty()) {
    const auto comma = std::min(list.find(','), list.size());
    if (list.substr(0, comma) == plugin.name) return true;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

}  // namespace kubernel::scheduler
