// SPDX-License-Identifier: Apache-2.0
#include "node_rules.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>
#include <set>
#include <system_error>

#include <nlohmann/json.hpp>

#include <kubernel/base/child_process.h>

namespace kubernel::network::cni {
namespace {

using nlohmann::json;

// Marks our routes: a number that no other program of the distribution uses (/etc/iproute2/rt_protos).
constexpr const char* kRouteProtocol = "77";
constexpr const char* kTable = "kubernel-cni";

bool is_v6(std::string_view cidr) {
  return cidr.find(':') != std::string_view::npos;
}

std::string joined(const std::vector<std::string>& cidrs, bool v6) {
  std::string out;
  std::set<std::string> seen;
  for (const std::string& cidr : cidrs) {
    if (is_v6(cidr) == v6 && valid_cidr(cidr) && seen.insert(cidr).second) out += (out.empty() ? "" : ", ") + cidr;
  }
  return out;
}

Result<std::string> run_tool(const CallContext& ctx, std::vector<std::string> argv, std::string_view input) {
  ChildOptions child;
  child.argv = std::move(argv);
  child.env = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"};
  KUBERNEL_TRY(ChildOutput output, run_child(ctx, child, input));
  if (output.exit_code == 0) return std::move(output.standard_output);
  std::string message = output.standard_error.substr(0, output.standard_error.find('\n'));
  return Error(Reason::Internal, child.argv.front() + " failed: " +
                                     (message.empty() ? "exit code " + std::to_string(output.exit_code) : message));
}

Result<void> write_sysctl(const std::string& name, std::string_view value) {
  const std::string path = "/proc/sys/net/" + name;
  const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd || write(fd.get(), value.data(), value.size()) < 0) {
    return Error(Reason::Internal,
                 "cannot set " + path + " to " + std::string(value) + ": " + std::generic_category().message(errno));
  }
  return {};
}

}  // namespace

bool valid_address(std::string_view text) {
  const std::string address(text);
  in6_addr parsed{};
  return inet_pton(is_v6(text) ? AF_INET6 : AF_INET, address.c_str(), &parsed) == 1;
}

bool valid_cidr(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos || !valid_address(text.substr(0, slash))) return false;
  const std::string_view prefix = text.substr(slash + 1);
  int bits = -1;
  const auto [end, code] = std::from_chars(prefix.data(), prefix.data() + prefix.size(), bits);
  return code == std::errc() && end == prefix.data() + prefix.size() && bits >= 0 && bits <= (is_v6(text) ? 128 : 32);
}

std::string make_masquerade_rules(const std::vector<std::string>& pod_cidrs,
                                  const std::vector<std::string>& cluster_cidrs) {
  std::string out;
  for (const bool v6 : {false, true}) {
    const std::string family = v6 ? "ip6" : "ip";
    const std::string pods = joined(pod_cidrs, v6);
    // Adding before deleting makes it no error that there is none.
    out += "add table " + family + " " + kTable + "\ndelete table " + family + " " + kTable + "\n";
    if (pods.empty()) continue;
    std::vector<std::string> kept = cluster_cidrs;
    kept.insert(kept.end(), pod_cidrs.begin(), pod_cidrs.end());
    kept.emplace_back(v6 ? "ff00::/8" : "224.0.0.0/4");
    out += "table " + family + " " + kTable + " {\n";
    out += "  set cluster { type " + std::string(v6 ? "ipv6_addr" : "ipv4_addr") +
           "; flags interval; auto-merge; elements = { " + joined(kept, v6) + " } }\n";
    // After the services' rules, which decide at the usual priority.
    out += "  chain leaving { type nat hook postrouting priority srcnat + 5; policy accept; ";
    out += family + " saddr { " + pods + " } " + family + " daddr != @cluster masquerade fully-random; }\n}\n";
  }
  return out;
}

std::map<std::string, std::string> wanted_routes(const NodeNetwork& node) {
  std::map<std::string, std::string> out;
  for (const NodeNetwork::Peer& peer : node.peers) {
    if (!valid_address(peer.node_ip)) continue;
    for (const std::string& cidr : peer.pod_cidrs) {
      // A next hop is of the range's own family.
      if (valid_cidr(cidr) && is_v6(cidr) == is_v6(peer.node_ip)) out[cidr] = peer.node_ip;
    }
  }
  return out;
}

std::string make_route_changes(const std::map<std::string, std::string>& existing,
                               const std::map<std::string, std::string>& wanted) {
  std::string out;
  for (const auto& [cidr, via] : existing) {
    if (!wanted.contains(cidr)) out += "route del " + cidr + " proto " + kRouteProtocol + "\n";
  }
  for (const auto& [cidr, via] : wanted) {
    const auto same = existing.find(cidr);
    if (same == existing.end() || same->second != via)
      out += "route replace " + cidr + " via " + via + " proto " + kRouteProtocol + "\n";
  }
  return out;
}

Result<std::map<std::string, std::string>> parse_routes(std::string_view text) {
  std::map<std::string, std::string> out;
  const json routes = json::parse(text, nullptr, false);
  if (!routes.is_array()) return Error(Reason::Internal, "ip route printed no list");
  for (const json& route : routes) {
    const std::string dst = route.value("dst", "");
    if (!dst.empty())
      out[dst.find('/') == std::string::npos ? dst + (is_v6(dst) ? "/128" : "/32") : dst] = route.value("gateway", "");
  }
  return out;
}

Result<void> apply_masquerade(const CallContext& ctx, const std::string& rules) {
  KUBERNEL_TRY([[maybe_unused]] const std::string output, run_tool(ctx, {"nft", "-f", "-"}, rules));
  return {};
}

Result<void> apply_routes(const CallContext& ctx, const NodeNetwork& node) {
  const std::map<std::string, std::string> all = wanted_routes(node);
  for (const bool v6 : {false, true}) {
    const char* family = v6 ? "-6" : "-4";
    KUBERNEL_TRY(const std::string text,
                 run_tool(ctx, {"ip", "-j", family, "route", "show", "proto", kRouteProtocol}, {}));
    KUBERNEL_TRY(const auto existing, parse_routes(text.empty() ? "[]" : text));
    std::map<std::string, std::string> wanted;
    for (const auto& [cidr, via] : all) {
      if (is_v6(cidr) == v6) wanted[cidr] = via;
    }
    const std::string changes = make_route_changes(existing, wanted);
    if (changes.empty()) continue;
    KUBERNEL_TRY([[maybe_unused]] const std::string output,
                 run_tool(ctx, {"ip", family, "-force", "-batch", "-"}, changes));
  }
  return {};
}

Result<void> apply_sysctls(bool dual_stack, bool private_namespace) {
  KUBERNEL_CHECK_OK(write_sysctl("ipv4/ip_forward", "1"));
  if (dual_stack) KUBERNEL_CHECK_OK(write_sysctl("ipv6/conf/all/forwarding", "1"));
  // Pods on one bridge that talk through a service would be told to go directly, and then miss the translation back.
  for (const char* name : {"ipv4/conf/all/send_redirects", "ipv4/conf/default/send_redirects"})
    KUBERNEL_CHECK_OK(write_sysctl(name, "0"));
  // With the kernel's limit of one error a second, a refused connection in a small cluster looks like one that hangs.
  if (private_namespace) KUBERNEL_CHECK_OK(write_sysctl("ipv4/icmp_ratelimit", "0"));
  return {};
}

}  // namespace kubernel::network::cni
