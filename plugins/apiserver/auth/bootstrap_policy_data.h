// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace kubernel::apiserver {

// The format is described in bootstrap_policy_data.cpp. "role NAME -> X": its rules are part of the aggregated role X
// (label rbac.authorization.k8s.io/aggregate-to-X); "role NAME <- X": it is that aggregated role.
std::string_view cluster_role_data();
// Names are those of the controllers' service accounts; the role is "system:controller:NAME".
std::string_view controller_role_data();
// "NAMESPACE/NAME".
std::string_view namespaced_role_data();

}  // namespace kubernel::apiserver
