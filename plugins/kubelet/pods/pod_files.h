// SPDX-License-Identifier: Apache-2.0
//
// /etc/hosts and /etc/resolv.conf of a pod. Pure text; the worker writes it.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <kubernel/api/object.h>

namespace kubernel::kubelet {

// The content the kubelet gives containers on the pod network.
std::string hosts_file(const api::Object& pod, const std::vector<std::string>& pod_ips,
                       std::string_view cluster_domain);
// The node's own file with the pod's host aliases appended, for pods on the host's network.
std::string host_hosts_file(std::string_view node_file, const api::Object& pod);

struct DnsInput {
  std::vector<std::string> cluster_dns;
  std::string cluster_domain;
  std::string node_resolv_conf;  // The node's file, as text.
};
// By dnsPolicy (ClusterFirst, ClusterFirstWithHostNet, Default, None) and dnsConfig.
std::string resolv_conf(const api::Object& pod, const DnsInput& input);

}  // namespace kubernel::kubelet
