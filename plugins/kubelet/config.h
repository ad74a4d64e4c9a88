// SPDX-License-Identifier: Apache-2.0
//
// The kubelet's configuration, read from its manifest entry. config.schema.json says what each member means.

#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include <kubernel/base/result.h>

namespace kubernel::kubelet {

struct Taint {
  std::string key, value, effect;
};

struct Config {
  std::string node_name, node_ip, listen = "0.0.0.0:10250";
  std::string root_directory = "/var/lib/kubelet", log_directory = "/var/log/pods";
  std::vector<std::string> pod_cidrs, cluster_dns;
  std::string cluster_domain = "cluster.local", resolv_conf = "/etc/resolv.conf";
  int max_pods = 110;
  std::map<std::string, std::string> labels;
  std::vector<Taint> taints;
  bool host_network_allowed = false;
  std::string runtime, network_plugin, pki_directory;
  std::string tls_certificate_file, tls_private_key_file, tls_ca_file;
  std::string cgroup_root;
  std::chrono::seconds node_status_period{10}, lease_duration{40};
  int parallel_pulls = 4;
};

// Errors: Invalid, naming the member.
Result<Config> parse_config(const std::string& json_text);

}  // namespace kubernel::kubelet
