// SPDX-License-Identifier: Apache-2.0
//
// The rules of kinds that hold no pods, for the table in rules.cpp.

#pragma once

#include "validation/field.h"

namespace kubernel::apiserver::validation {

// configuration.cpp
void check_config_map(const Field& map);
void check_config_map_update(const Field& map, const json& old);
void check_secret(const Field& secret);
void check_secret_update(const Field& secret, const json& old);
void check_service_account(const Field& account);
void check_resource_quota(const Field& quota);
void check_resource_quota_update(const Field& quota, const json& old);
void check_limit_range(const Field& range);
void check_priority_class(const Field& priority);
void check_priority_class_update(const Field& priority, const json& old);
void check_lease(const Field& lease);
void check_budget(const Field& budget);

// autoscaler.cpp
void check_autoscaler(const Field& scaler);

// cluster.cpp
void check_node(const Field& node);
void check_node_update(const Field& node, const json& old);
void check_volume(const Field& volume);
void check_volume_update(const Field& volume, const json& old);
void check_claim(const Field& claim);
void check_claim_update(const Field& claim, const json& old);
void check_storage_class(const Field& storage);
void check_storage_class_update(const Field& storage, const json& old);
void check_role(const Field& role);
void check_cluster_role(const Field& role);
void check_role_binding(const Field& binding);
void check_cluster_role_binding(const Field& binding);
void check_role_binding_update(const Field& binding, const json& old);

void check_runtime_class(const Field& runtime);
void check_runtime_class_update(const Field& runtime, const json& old);
void check_signing_request(const Field& request);

// webhooks.cpp
void check_webhook_configuration(const Field& configuration);

// networking.cpp
void check_endpoints(const Field& endpoints);
void check_endpoint_slice(const Field& slice);
void check_endpoint_slice_update(const Field& slice, const json& old);
void check_network_policy(const Field& policy);
void check_ingress(const Field& ingress);
void check_ingress_class(const Field& ingress_class);
void check_ingress_class_update(const Field& ingress_class, const json& old);

}  // namespace kubernel::apiserver::validation
