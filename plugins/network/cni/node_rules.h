// SPDX-License-Identifier: Apache-2.0
//
// What a node's own network namespace needs besides the plugins': routes to other nodes' pods, and masquerading of what
// leaves the cluster.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/base/context.h>
#include <kubernel/base/result.h>
#include <kubernel/network/pod_network.h>

namespace kubernel::network::cni {

/// The rules as one transaction for `nft -f -`, replacing the ones of before. `cluster_cidrs`: ranges that see pods'
/// own addresses.
std::string make_masquerade_rules(const std::vector<std::string>& pod_cidrs,
                                  const std::vector<std::string>& cluster_cidrs);

/// Lines for `ip -batch -` that turn the routes of ours that exist into the ones wanted. Both: range -> next hop.
std::string make_route_changes(const std::map<std::string, std::string>& existing,
                               const std::map<std::string, std::string>& wanted);

/// Range -> next hop for all peers.
std::map<std::string, std::string> wanted_routes(const NodeNetwork& node);

/// Reads `ip -j route`. Errors: Internal.
Result<std::map<std::string, std::string>> parse_routes(std::string_view json);

/// True for "10.244.0.0/24" and "fd00::/64": checked before anything of it goes into a rule.
bool valid_cidr(std::string_view text);
bool valid_address(std::string_view text);

Result<void> apply_masquerade(const CallContext& ctx, const std::string& rules);
Result<void> apply_routes(const CallContext& ctx, const NodeNetwork& node);
/// Forwarding on; in a namespace that is not the machine's also no limits that make tests wait.
Result<void> apply_sysctls(bool dual_stack, bool private_namespace);

}  // namespace kubernel::network::cni
