// SPDX-License-Identifier: Apache-2.0
#include "pods/field_ref.h"

#include <nlohmann/json.hpp>

#include "pods/spec.h"

namespace kubernel::kubelet {

namespace {

std::string joined(const std::vector<std::string>& values) {
  std::string out;
  for (const auto& value : values) out += (out.empty() ? "" : ",") + value;
  return out;
}

// key="value" a line, the value quoted with escapes as Go's %q for the characters that occur in labels and annotations.
std::string map_lines(api::Value map) {
  std::string out;
  for (auto at = map.begin(); at != map.end(); ++at) {
    if (!out.empty()) out += '\n';
    out += std::string(at.key()) + "=" + nlohmann::json(std::string((*at).string())).dump();
  }
  return out;
}

// The key in "metadata.labels['key']", when `path` is one.
std::optional<std::string_view> subscript(std::string_view path, std::string_view prefix) {
  if (!path.starts_with(prefix)) return std::nullopt;
  path.remove_prefix(prefix.size());
  if (!path.starts_with("['") || !path.ends_with("']")) return std::nullopt;
  return path.substr(2, path.size() - 4);
}

}  // namespace

Result<std::string> field_value(const api::Object& pod, std::string_view path, const PodFacts& facts) {
  if (path == "metadata.name") return pod.name();
  if (path == "metadata.namespace") return pod.ns();
  if (path == "metadata.uid") return pod.uid();
  if (path == "metadata.labels") return map_lines(pod.labels());
  if (path == "metadata.annotations") return map_lines(pod.annotations());
  if (const auto key = subscript(path, "metadata.labels")) return std::string(pod.labels()[*key].string());
  if (const auto key = subscript(path, "metadata.annotations")) return std::string(pod.annotations()[*key].string());
  if (path == "spec.nodeName") return facts.node_name;
  if (path == "spec.serviceAccountName") return std::string(pod["spec"]["serviceAccountName"].string());
  if (path == "status.hostIP") return facts.host_ips.empty() ? std::string() : facts.host_ips.front();
  if (path == "status.hostIPs") return joined(facts.host_ips);
  if (path == "status.podIP") return facts.pod_ips.empty() ? std::string() : facts.pod_ips.front();
  if (path == "status.podIPs") return joined(facts.pod_ips);
  return Error(Reason::Invalid, "unsupported fieldPath: " + std::string(path));
}

Result<std::string> resource_field_value(const api::Object& pod, std::string_view container, std::string_view resource,
                                         api::Value divisor, const PodFacts& facts) {
  const auto spec = find_container(pod, container);
  if (!spec) return Error(Reason::Invalid, "container " + std::string(container) + " not found");
  const auto dot = resource.find('.');
  const std::string_view kind = resource.substr(0, dot);
  const std::string_view name = dot == std::string_view::npos ? std::string_view{} : resource.substr(dot + 1);
  const bool known = name == "cpu" || name == "memory" || name == "ephemeral-storage" || name.starts_with("hugepages-");
  if ((kind != "limits" && kind != "requests") || !known) {
    return Error(Reason::Invalid, "unsupported container resource : " + std::string(resource));
  }
  auto amount = api::Quantity::read(spec->value["resources"][kind][name]);
  if (kind == "limits" && amount.is_zero()) {
    // A container without a limit may use the node's whole allocatable.
    if (name == "cpu") amount = facts.allocatable_cpu;
    if (name == "memory") amount = facts.allocatable_memory;
    if (name == "ephemeral-storage") amount = facts.allocatable_storage;
  }
  const auto unit = divisor && !divisor.is_null() ? api::Quantity::read(divisor) : api::Quantity::of(1);
  if (unit.sign() <= 0) return std::to_string(amount.value());
  const bool milli = name == "cpu";
  const std::int64_t of = milli ? amount.milli_value() : amount.value();
  const std::int64_t by = milli ? unit.milli_value() : unit.value();
  return std::to_string((of + by - 1) / by);
}

}  // namespace kubernel::kubelet
