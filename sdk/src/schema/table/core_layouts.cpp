// SPDX-License-Identifier: Apache-2.0
//
// Layouts of the core group, events and storage.
#include <array>
#include <set>

#include <kubernel/api/quantity.h>

#include "schema/table/layout.h"
#include "schema/table/pod_columns.h"

namespace kubernel::schema::table {

using api::Value;
using nlohmann::json;

namespace {

std::string node_address(const Row& row, std::string_view type) {
  for (const Value address : row.body["status"]["addresses"]) {
    if (address["type"].string() == type) return std::string(address["address"].string());
  }
  return "<none>";
}

json node_status(const Row& row) {
  const Value ready = condition(row, "Ready");
  std::string out = "Unknown";
  if (ready) out = ready["status"].string() == "True" ? "Ready" : "NotReady";
  if (row.body["spec"]["unschedulable"].boolean()) out += ",SchedulingDisabled";
  return out;
}

json node_roles(const Row& row) {
  constexpr std::string_view kPrefix = "node-role.kubernetes.io/";
  std::set<std::string> roles;
  const Value labels = row.object.labels();
  for (auto it = labels.begin(); it != labels.end(); ++it) {
    if (it.key().starts_with(kPrefix) && it.key().size() > kPrefix.size())
      roles.emplace(it.key().substr(kPrefix.size()));
    if (it.key() == "kubernetes.io/role" && !(*it).string().empty()) roles.emplace((*it).string());
  }
  std::string out;
  for (const std::string& role : roles) out += (out.empty() ? "" : ",") + role;
  return out.empty() ? "<none>" : out;
}

std::string ingress_addresses(const Row& row) {
  std::set<std::string> found;
  for (const Value ingress : row.body["status"]["loadBalancer"]["ingress"]) {
    const auto ip = ingress["ip"].string();
    const auto host = ingress["hostname"].string();
    if (!ip.empty() || !host.empty()) found.emplace(ip.empty() ? host : ip);
  }
  std::string out;
  for (const std::string& address : found) out += (out.empty() ? "" : ",") + address;
  return out;
}

json service_external_ip(const Row& row) {
  const Value spec = row.body["spec"];
  const std::string_view type = spec["type"].string();
  std::string external;
  for (const Value ip : spec["externalIPs"]) external += (external.empty() ? "" : ",") + std::string(ip.string());
  if (type == "ExternalName") return std::string(spec["externalName"].string());
  if (type == "LoadBalancer") {
    std::string out = ingress_addresses(row);
    if (!external.empty()) out += (out.empty() ? "" : ",") + external;
    return out.empty() ? "<pending>" : out;
  }
  if (type == "ClusterIP" || type == "NodePort") return external.empty() ? "<none>" : external;
  return "<unknown>";
}

json service_ports(const Row& row) {
  std::string out;
  for (const Value port : row.body["spec"]["ports"]) {
    out += (out.empty() ? "" : ",") + std::to_string(port["port"].integer());
    if (const auto node_port = port["nodePort"].integer(); node_port != 0) out += ":" + std::to_string(node_port);
    out += "/" + std::string(port["protocol"].string("TCP"));
  }
  return out.empty() ? "<none>" : out;
}

json endpoints(const Row& row) {
  std::vector<std::string> found;
  for (const Value subset : row.body["subsets"]) {
    for (const Value address : subset["addresses"]) {
      const std::string ip(address["ip"].string());
      const std::string shown = ip.find(':') == std::string::npos ? ip : "[" + ip + "]";
      if (subset["ports"].empty()) found.push_back(ip);
      for (const Value port : subset["ports"]) found.push_back(shown + ":" + std::to_string(port["port"].integer()));
    }
  }
  return first_three(found, "<none>");
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return out;
}

// core/v1 and events.k8s.io/v1 name the same things differently.
Value either(const Row& row, std::string_view first, std::string_view second) {
  const Value found = row.body[first];
  return found ? found : row.body[second];
}

json event_first_seen(const Row& row) {
  const Value first = either(row, "firstTimestamp", "deprecatedFirstTimestamp");
  return since(api::read_time(first) ? first : row.body["eventTime"], row.now, "<unknown>");
}

json event_last_seen(const Row& row) {
  const Value series = row.body["series"];
  if (series) return since(series["lastObservedTime"], row.now, "<unknown>");
  const Value last = either(row, "lastTimestamp", "deprecatedLastTimestamp");
  return api::read_time(last) ? json(since(last, row.now, "<unknown>")) : event_first_seen(row);
}

json event_object(const Row& row) {
  const Value about = either(row, "involvedObject", "regarding");
  const std::string kind = lower(about["kind"].string());
  return about["name"].string().empty() ? kind : kind + "/" + std::string(about["name"].string());
}

json event_subobject(const Row& row) {
  return std::string(either(row, "involvedObject", "regarding")["fieldPath"].string());
}

json event_source(const Row& row) {
  const Value source = either(row, "source", "deprecatedSource");
  std::string component(source["component"].string());
  std::string host(source["host"].string());
  if (component.empty()) component = std::string(either(row, "reportingComponent", "reportingController").string());
  if (host.empty()) host = std::string(row.body["reportingInstance"].string());
  return host.empty() ? component : component + ", " + host;
}

json event_message(const Row& row) {
  const std::string_view message = either(row, "message", "note").string();
  const auto first = message.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return "";
  return std::string(message.substr(first, message.find_last_not_of(" \t\r\n") - first + 1));
}

json event_count(const Row& row) {
  const auto series = row.body["series"]["count"].integer();
  const auto count = series != 0 ? series : either(row, "count", "deprecatedCount").integer();
  return std::to_string(count == 0 ? 1 : count);
}

json config_map_data(const Row& row) {
  return row.body["data"].size() + row.body["binaryData"].size();
}

std::string short_access_modes(Value modes) {
  static constexpr std::pair<std::string_view, std::string_view> kShort[] = {
      {"ReadWriteOnce", "RWO"}, {"ReadOnlyMany", "ROX"}, {"ReadWriteMany", "RWX"}, {"ReadWriteOncePod", "RWOP"}};
  std::string out;
  for (const auto& [mode, brief] : kShort) {
    for (const Value candidate : modes) {
      if (candidate.string() != mode) continue;
      out += (out.empty() ? "" : ",") + std::string(brief);
      break;
    }
  }
  return out;
}

json volume_phase(const Row& row) {
  return row.object.head().deleting ? "Terminating" : std::string(row.body["status"]["phase"].string());
}

json volume_class(const Row& row) {
  const Value annotation = row.object.annotations()["volume.beta.kubernetes.io/storage-class"];
  return std::string(annotation ? annotation.string() : row.body["spec"]["storageClassName"].string());
}

json volume_capacity(const Row& row) {
  return api::Quantity::read(row.body["spec"]["capacity"]["storage"]).to_string();
}
json volume_access_modes(const Row& row) {
  return short_access_modes(row.body["spec"]["accessModes"]);
}
json volume_claim(const Row& row) {
  const Value claim = row.body["spec"]["claimRef"];
  return claim ? std::string(claim["namespace"].string()) + "/" + std::string(claim["name"].string()) : std::string();
}

bool is_bound(const Row& row) {
  return !row.body["spec"]["volumeName"].string().empty();
}
json claim_capacity(const Row& row) {
  return is_bound(row) ? api::Quantity::read(row.body["status"]["capacity"]["storage"]).to_string() : std::string();
}
json claim_access_modes(const Row& row) {
  return is_bound(row) ? short_access_modes(row.body["status"]["accessModes"]) : std::string();
}

std::string quota_text(const Row& row, bool limits) {
  std::set<std::string> names;
  const Value hard = row.body["status"]["hard"];
  for (auto it = hard.begin(); it != hard.end(); ++it) {
    if (it.key().starts_with("limits.") == limits) names.emplace(it.key());
  }
  std::string out;
  for (const std::string& resource : names) {
    out += (out.empty() ? "" : ", ") + resource + ": " +
           api::Quantity::read(row.body["status"]["used"][resource]).to_string() + "/" +
           api::Quantity::read(hard[resource]).to_string();
  }
  return out;
}
json quota_requests(const Row& row) {
  return quota_text(row, false);
}
json quota_limits(const Row& row) {
  return quota_text(row, true);
}

json component_health(const Row& row) {
  for (const Value candidate : row.body["conditions"]) {
    if (candidate["type"].string() == "Healthy")
      return candidate["status"].string() == "True" ? "Healthy" : "Unhealthy";
  }
  return "Unknown";
}

json template_labels(const Row& row) {
  return map_text(row.body["template"]["metadata"]["labels"]);
}

json marked_default(const Row& row, std::initializer_list<std::string_view> annotations) {
  for (const std::string_view annotation : annotations) {
    if (row.object.annotations()[annotation].string() == "true") return row.object.name() + " (default)";
  }
  return row.object.name();
}
json storage_class_name(const Row& row) {
  return marked_default(
      row, {"storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"});
}
json attributes_class_name(const Row& row) {
  return marked_default(row, {"volumeattributesclass.alpha.kubernetes.io/is-default-class"});
}

json token_audiences(const Row& row) {
  const Value requests = row.body["spec"]["tokenRequests"];
  if (!requests) return "<unset>";
  std::string out;
  for (const Value request : requests) out += (out.empty() ? "" : ",") + std::string(request["audience"].string());
  return out;
}

json node_internal_ip(const Row& row) {
  return node_address(row, "InternalIP");
}
json node_external_ip(const Row& row) {
  return node_address(row, "ExternalIP");
}

constexpr std::array kPod = {kName,
                             ColumnRule{"Ready", "string", 0, pod_ready},
                             ColumnRule{"Status", "string", 0, pod_status},
                             ColumnRule{"Restarts", "string", 0, pod_restarts},
                             kAge,
                             ColumnRule{"IP", "string", 1, text<"/status/podIPs/0/ip", "<none>">},
                             ColumnRule{"Node", "string", 1, text<"/spec/nodeName", "<none>">},
                             ColumnRule{"Nominated Node", "string", 1, text<"/status/nominatedNodeName", "<none>">},
                             ColumnRule{"Readiness Gates", "string", 1, pod_readiness_gates}};
constexpr std::array kPodTemplate = {kName, ColumnRule{"Containers", "string", 0, containers<"/template/spec">},
                                     ColumnRule{"Images", "string", 0, images<"/template/spec">},
                                     ColumnRule{"Pod Labels", "string", 0, template_labels}};
constexpr std::array kService = {kName,
                                 ColumnRule{"Type", "string", 0, text<"/spec/type">},
                                 ColumnRule{"Cluster-IP", "string", 0, text<"/spec/clusterIPs/0", "<none>">},
                                 ColumnRule{"External-IP", "string", 0, service_external_ip},
                                 ColumnRule{"Port(s)", "string", 0, service_ports},
                                 kAge,
                                 ColumnRule{"Selector", "string", 1, pairs<"/spec/selector">}};
constexpr std::array kEndpoints = {kName, ColumnRule{"Endpoints", "string", 0, endpoints}, kAge};
constexpr std::array kNode = {
    kName,
    ColumnRule{"Status", "string", 0, node_status},
    ColumnRule{"Roles", "string", 0, node_roles},
    kAge,
    ColumnRule{"Version", "string", 0, text<"/status/nodeInfo/kubeletVersion">},
    ColumnRule{"Internal-IP", "string", 1, node_internal_ip},
    ColumnRule{"External-IP", "string", 1, node_external_ip},
    ColumnRule{"OS-Image", "string", 1, text<"/status/nodeInfo/osImage", "<unknown>">},
    ColumnRule{"Kernel-Version", "string", 1, text<"/status/nodeInfo/kernelVersion", "<unknown>">},
    ColumnRule{"Container-Runtime", "string", 1, text<"/status/nodeInfo/containerRuntimeVersion", "<unknown>">}};
constexpr std::array kEvent = {
    ColumnRule{"Last Seen", "string", 0, event_last_seen}, ColumnRule{"Type", "string", 0, text<"/type">},
    ColumnRule{"Reason", "string", 0, text<"/reason">},    ColumnRule{"Object", "string", 0, event_object},
    ColumnRule{"Subobject", "string", 1, event_subobject}, ColumnRule{"Source", "string", 1, event_source},
    ColumnRule{"Message", "string", 0, event_message},     ColumnRule{"First Seen", "string", 1, event_first_seen},
    ColumnRule{"Count", "string", 1, event_count},         ColumnRule{"Name", "string", 1, name}};
constexpr std::array kNamespace = {kName, ColumnRule{"Status", "string", 0, text<"/status/phase">}, kAge};
constexpr std::array kSecret = {kName, ColumnRule{"Type", "string", 0, text<"/type">},
                                ColumnRule{"Data", "string", 0, size<"/data">}, kAge};
constexpr std::array kServiceAccount = {kName, ColumnRule{"Secrets", "string", 0, size<"/secrets">}, kAge};
constexpr std::array kConfigMap = {kName, ColumnRule{"Data", "string", 0, config_map_data}, kAge};
constexpr std::array kPersistentVolume = {
    kName,
    ColumnRule{"Capacity", "string", 0, volume_capacity},
    ColumnRule{"Access Modes", "string", 0, volume_access_modes},
    ColumnRule{"Reclaim Policy", "string", 0, text<"/spec/persistentVolumeReclaimPolicy">},
    ColumnRule{"Status", "string", 0, volume_phase},
    ColumnRule{"Claim", "string", 0, volume_claim},
    ColumnRule{"StorageClass", "string", 0, volume_class},
    ColumnRule{"VolumeAttributesClass", "string", 0, text<"/spec/volumeAttributesClassName", "<unset>">},
    ColumnRule{"Reason", "string", 0, text<"/status/reason">},
    kAge,
    ColumnRule{"VolumeMode", "string", 1, text<"/spec/volumeMode", "<unset>">}};
constexpr std::array kPersistentVolumeClaim = {
    kName,
    ColumnRule{"Status", "string", 0, volume_phase},
    ColumnRule{"Volume", "string", 0, text<"/spec/volumeName">},
    ColumnRule{"Capacity", "string", 0, claim_capacity},
    ColumnRule{"Access Modes", "string", 0, claim_access_modes},
    ColumnRule{"StorageClass", "string", 0, volume_class},
    ColumnRule{"VolumeAttributesClass", "string", 0, text<"/spec/volumeAttributesClassName", "<unset>">},
    kAge,
    ColumnRule{"VolumeMode", "string", 1, text<"/spec/volumeMode", "<unset>">}};
constexpr std::array kComponentStatus = {kName, ColumnRule{"Status", "string", 0, component_health},
                                         ColumnRule{"Message", "string", 0, text<"/conditions/0/message">},
                                         ColumnRule{"Error", "string", 0, text<"/conditions/0/error">}};
constexpr std::array kResourceQuota = {kName, ColumnRule{"Request", "string", 0, quota_requests},
                                       ColumnRule{"Limit", "string", 0, quota_limits}, kAge};
constexpr std::array kStatus = {ColumnRule{"Status", "string", 0, text<"/status">},
                                ColumnRule{"Reason", "string", 0, text<"/reason">},
                                ColumnRule{"Message", "string", 0, text<"/message">}};
constexpr std::array kStorageClass = {
    ColumnRule{"Name", "string", 0, storage_class_name},
    ColumnRule{"Provisioner", "string", 0, text<"/provisioner">},
    ColumnRule{"ReclaimPolicy", "string", 0, text<"/reclaimPolicy", "Delete">},
    ColumnRule{"VolumeBindingMode", "string", 0, text<"/volumeBindingMode", "Immediate">},
    ColumnRule{"AllowVolumeExpansion", "string", 0, boolean<"/allowVolumeExpansion">},
    kAge};
constexpr std::array kVolumeAttributesClass = {ColumnRule{"Name", "string", 0, attributes_class_name},
                                               ColumnRule{"DriverName", "string", 0, text<"/driverName">}, kAge};
constexpr std::array kVolumeAttachment = {kName,
                                          ColumnRule{"Attacher", "string", 0, text<"/spec/attacher">},
                                          ColumnRule{"PV", "string", 0, text<"/spec/source/persistentVolumeName">},
                                          ColumnRule{"Node", "string", 0, text<"/spec/nodeName">},
                                          ColumnRule{"Attached", "boolean", 0, boolean<"/status/attached">},
                                          kAge};
constexpr std::array kCsiNode = {kName, ColumnRule{"Drivers", "integer", 0, size<"/spec/drivers">}, kAge};
constexpr std::array kCsiDriver = {kName,
                                   ColumnRule{"AttachRequired", "boolean", 0, boolean<"/spec/attachRequired", true>},
                                   ColumnRule{"PodInfoOnMount", "boolean", 0, boolean<"/spec/podInfoOnMount">},
                                   ColumnRule{"StorageCapacity", "boolean", 0, boolean<"/spec/storageCapacity">},
                                   ColumnRule{"TokenRequests", "string", 0, token_audiences},
                                   ColumnRule{"RequiresRepublish", "boolean", 0, boolean<"/spec/requiresRepublish">},
                                   ColumnRule{"Modes", "string", 0, joined<"/spec/volumeLifecycleModes", "<none>">},
                                   kAge};
constexpr std::array kCsiStorageCapacity = {kName,
                                            ColumnRule{"StorageClassName", "string", 0, text<"/storageClassName">},
                                            ColumnRule{"Capacity", "string", 0, text<"/capacity", "<unset>">}};

constexpr std::array kLayouts = {Layout{"", "v1", "Pod", kPod},
                                 Layout{"", "v1", "PodTemplate", kPodTemplate},
                                 Layout{"", "v1", "Service", kService},
                                 Layout{"", "v1", "Endpoints", kEndpoints},
                                 Layout{"", "v1", "Node", kNode},
                                 Layout{"", "v1", "Event", kEvent},
                                 Layout{"events.k8s.io", "v1", "Event", kEvent},
                                 Layout{"", "v1", "Namespace", kNamespace},
                                 Layout{"", "v1", "Secret", kSecret},
                                 Layout{"", "v1", "ServiceAccount", kServiceAccount},
                                 Layout{"", "v1", "ConfigMap", kConfigMap},
                                 Layout{"", "v1", "PersistentVolume", kPersistentVolume},
                                 Layout{"", "v1", "PersistentVolumeClaim", kPersistentVolumeClaim},
                                 Layout{"", "v1", "ComponentStatus", kComponentStatus},
                                 Layout{"", "v1", "ResourceQuota", kResourceQuota},
                                 Layout{"", "v1", "Status", kStatus},
                                 Layout{"storage.k8s.io", "", "StorageClass", kStorageClass},
                                 Layout{"storage.k8s.io", "", "VolumeAttributesClass", kVolumeAttributesClass},
                                 Layout{"storage.k8s.io", "", "VolumeAttachment", kVolumeAttachment},
                                 Layout{"storage.k8s.io", "", "CSINode", kCsiNode},
                                 Layout{"storage.k8s.io", "", "CSIDriver", kCsiDriver},
                                 Layout{"storage.k8s.io", "", "CSIStorageCapacity", kCsiStorageCapacity}};

}  // namespace

std::span<const Layout> core_layouts() {
  return kLayouts;
}

}  // namespace kubernel::schema::table
