// SPDX-License-Identifier: Apache-2.0
#include "config.h"

#include <unistd.h>

#include <cctype>

#include <nlohmann/json.hpp>

namespace kubernel::kubelet {

namespace {

using nlohmann::json;

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> out;
  for (std::size_t from = 0; from < text.size();) {
    const auto comma = std::min(text.find(',', from), text.size());
    if (comma > from) out.push_back(text.substr(from, comma - from));
    from = comma + 1;
  }
  return out;
}

std::string host_name() {
  char buffer[256] = {};
  if (::gethostname(buffer, sizeof buffer - 1) != 0) return {};
  std::string name(buffer);
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return name;
}

Config read(const json& doc) {
  Config out;
  out.node_name = doc.value("nodeName", "");
  out.node_ip = doc.value("nodeIp", "");
  out.listen = doc.value("listen", out.listen);
  out.root_directory = doc.value("rootDirectory", out.root_directory);
  out.log_directory = doc.value("logDirectory", out.log_directory);
  out.pod_cidrs = split(doc.value("podCidr", ""));
  out.cluster_dns = doc.value("clusterDns", std::vector<std::string>{});
  out.cluster_domain = doc.value("clusterDomain", out.cluster_domain);
  out.resolv_conf = doc.value("resolvConf", out.resolv_conf);
  out.max_pods = doc.value("maxPods", out.max_pods);
  out.labels = doc.value("labels", out.labels);
  for (const json& taint : doc.value("taints", json::array())) {
    out.taints.push_back({taint.value("key", ""), taint.value("value", ""), taint.value("effect", "")});
  }
  out.host_network_allowed = doc.value("network", "") == "host";
  out.runtime = doc.value("runtime", "");
  out.network_plugin = doc.value("networkPlugin", "");
  out.pki_directory = doc.value("pkiDirectory", "");
  const json tls = doc.value("tls", json::object());
  out.tls_certificate_file = tls.value("certificateFile", "");
  out.tls_private_key_file = tls.value("privateKeyFile", "");
  out.tls_ca_file = tls.value("caFile", "");
  out.cgroup_root = doc.value("cgroupRoot", "");
  out.node_status_period = std::chrono::seconds(doc.value("nodeStatusUpdateSeconds", 10));
  out.lease_duration = std::chrono::seconds(doc.value("leaseSeconds", 40));
  out.parallel_pulls = doc.value("serializeImagePulls", false) ? 1 : doc.value("maxParallelImagePulls", 4);
  return out;
}

}  // namespace

Result<Config> parse_config(const std::string& json_text) {
  auto config =
      catch_as_error("kubelet configuration", [&]() -> Result<Config> { return read(json::parse(json_text)); });
  if (!config) return config;
  if (config->node_name.empty()) config->node_name = host_name();
  if (config->node_name.empty()) return Error(Reason::Invalid, "nodeName: this host has no name; set nodeName");
  for (const auto* path : {&config->root_directory, &config->log_directory}) {
    if (!path->starts_with('/'))
      return Error(Reason::Invalid, "rootDirectory and logDirectory must be absolute: " + *path);
  }
  if (config->tls_certificate_file.empty() != config->tls_private_key_file.empty()) {
    return Error(Reason::Invalid, "tls: certificateFile and privateKeyFile go together");
  }
  return config;
}

}  // namespace kubernel::kubelet
