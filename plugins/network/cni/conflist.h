// SPDX-License-Identifier: Apache-2.0
//
// Network configurations of the Container Network Interface (CNI specification 1.0.0), as JSON text. Pure functions.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/base/result.h>
#include <kubernel/network/pod_network.h>

namespace kubernel::network::cni {

struct BridgeSettings {
  std::string bridge = "cni0";
  std::string ipam_dir;                ///< Where host-local keeps what it has given out.
  int mtu = 0;                         ///< 0: the kernel's choice.
  std::vector<std::string> pod_cidrs;  ///< Primary first; one per address family.
};

/// A list with bridge (host-local addresses, hairpin) and portmap.
std::string make_bridge_conflist(const BridgeSettings& settings);
/// What gives a pod its loopback device.
std::string make_loopback_conflist();

/// A file of a configuration directory: a list as it is, a single configuration as a list of one.
/// Errors: Invalid.
Result<std::string> normalize_conflist(std::string_view text);

/// The plugins of a list, in order: {"bridge", "portmap"}.
Result<std::vector<std::string>> plugin_types(std::string_view conflist);

/// What plugin number `index` reads from its standard input.
Result<std::string> plugin_input(std::string_view conflist, std::size_t index, const std::vector<PortMapping>& ports,
                                 std::string_view previous_result);

/// Addresses of a result, without prefix lengths, in order.
Result<std::vector<std::string>> result_addresses(std::string_view result);

/// "bridge: failed to allocate: range full (code 11)" from what a failed plugin printed.
std::string plugin_error(std::string_view type, std::string_view output, std::string_view errors, int exit_code);

}  // namespace kubernel::network::cni
