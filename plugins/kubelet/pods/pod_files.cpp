// SPDX-License-Identifier: Apache-2.0
#include "pods/pod_files.h"

#include <algorithm>
#include <sstream>

#include "pods/spec.h"

namespace kubernel::kubelet {

namespace {

struct Dns {
  std::vector<std::string> servers, searches, options;
};

Dns parse_resolv_conf(std::string_view text) {
  Dns out;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string keyword, word;
    words >> keyword;
    if (keyword == "nameserver" && words >> word) out.servers.push_back(word);
    // The last search or options line wins, as in resolv.conf(5).
    if (keyword == "search" || keyword == "domain") {
      out.searches.clear();
      while (words >> word) out.searches.push_back(word);
    }
    if (keyword == "options") {
      out.options.clear();
      while (words >> word) out.options.push_back(word);
    }
  }
  return out;
}

void add_unique(std::vector<std::string>& to, const std::string& value) {
  if (std::find(to.begin(), to.end(), value) == to.end()) to.push_back(value);
}

void merge_config(api::Value config, Dns& dns) {
  for (const api::Value server : config["nameservers"]) add_unique(dns.servers, std::string(server.string()));
  for (const api::Value search : config["searches"]) add_unique(dns.searches, std::string(search.string()));
  for (const api::Value option : config["options"]) {
    const std::string name(option["name"].string());
    std::erase_if(dns.options, [&](const std::string& o) { return o == name || o.starts_with(name + ":"); });
    const std::string_view value = option["value"].string();
    dns.options.push_back(value.empty() ? name : name + ":" + std::string(value));
  }
}

void add_aliases(const api::Object& pod, std::string& out) {
  const api::Value aliases = pod["spec"]["hostAliases"];
  if (aliases.empty()) return;
  out += "\n# Entries added by HostAliases.\n";
  for (const api::Value alias : aliases) {
    out += alias["ip"].string();
    for (const api::Value name : alias["hostnames"]) out += "\t" + std::string(name.string());
    out += "\n";
  }
}

void add_line(std::string& out, const char* keyword, const std::vector<std::string>& words) {
  if (words.empty()) return;
  out += keyword;
  for (const auto& word : words) out += " " + word;
  out += "\n";
}

}  // namespace

std::string hosts_file(const api::Object& pod, const std::vector<std::string>& pod_ips,
                       std::string_view cluster_domain) {
  std::string out =
      "# Kubernetes-managed hosts file.\n"
      "127.0.0.1\tlocalhost\n"
      "::1\tlocalhost ip6-localhost ip6-loopback\n"
      "fe00::0\tip6-localnet\n"
      "fe00::0\tip6-mcastprefix\n"
      "fe00::1\tip6-allnodes\n"
      "fe00::2\tip6-allrouters\n";
  const std::string name = hostname_of(pod), full = domain_name_of(pod, cluster_domain);
  for (const auto& ip : pod_ips) out += ip + "\t" + (full.empty() ? "" : full + "\t") + name + "\n";
  add_aliases(pod, out);
  return out;
}

std::string host_hosts_file(std::string_view node_file, const api::Object& pod) {
  std::string out = "# Kubernetes-managed hosts file (host network).\n" + std::string(node_file);
  add_aliases(pod, out);
  return out;
}

std::string resolv_conf(const api::Object& pod, const DnsInput& input) {
  std::string_view policy = pod["spec"]["dnsPolicy"].string("ClusterFirst");
  // ClusterFirst on the host's network, or without a cluster DNS, is Default, as upstream.
  if (policy == "ClusterFirst" && host_network(pod)) policy = "Default";
  if (policy == "ClusterFirstWithHostNet") policy = "ClusterFirst";
  if (policy == "ClusterFirst" && input.cluster_dns.empty()) policy = "Default";
  Dns dns;
  if (policy != "None") dns = parse_resolv_conf(input.node_resolv_conf);
  if (policy == "ClusterFirst") {
    std::vector<std::string> searches;
    if (!input.cluster_domain.empty()) {
      searches = {pod.ns() + ".svc." + input.cluster_domain, "svc." + input.cluster_domain, input.cluster_domain};
    }
    for (const auto& search : dns.searches) add_unique(searches, search);
    dns = {input.cluster_dns, searches, {"ndots:5"}};
  }
  merge_config(pod["spec"]["dnsConfig"], dns);
  std::string out;
  for (const auto& server : dns.servers) out += "nameserver " + server + "\n";
  add_line(out, "search", dns.searches);
  add_line(out, "options", dns.options);
  return out;
}

}  // namespace kubernel::kubelet
