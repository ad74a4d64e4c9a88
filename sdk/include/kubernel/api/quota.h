// SPDX-License-Identifier: Apache-2.0
//
// What objects use of resource quotas: the one place that both the admission step, which refuses what exceeds a quota,
// and the controller, which counts again, take it from (upstream's pkg/quota/v1).

#pragma once

#include <map>
#include <string>
#include <string_view>

#include <kubernel/api/object.h>
#include <kubernel/api/quantity.h>
#include <kubernel/api/resource.h>
#include <kubernel/api/value.h>
#include <kubernel/base/export.h>

namespace kubernel::api {

/// By the name of the resource: "cpu", "requests.memory", "count/deployments.apps".
using Amounts = std::map<std::string, Quantity, std::less<>>;

/// A ResourceList.
KUBERNEL_EXPORT Amounts read_amounts(Value list);
/// "cpu=2,memory=1Gi": sorted by name, as upstream's messages have it.
KUBERNEL_EXPORT std::string print_amounts(const Amounts& amounts);

/// What a pod asks for (`list` "requests") or may use ("limits"): the larger of its containers together and each step
/// of its initialization, with its overhead; pod-level resources win where they are set. `pod_spec`: a PodSpec.
KUBERNEL_EXPORT Amounts pod_amounts(Value pod_spec, const char* list);

/// What `object`, of `resource`, uses of all that can be limited. A pod that has ended uses only its place
/// ("count/pods").
KUBERNEL_EXPORT Amounts quota_usage(const Resource& resource, const Object& object);

/// Whether the scopes of `quota` (a ResourceQuota) include `object`. Only pods have scopes: a quota with scopes counts
/// nothing else.
KUBERNEL_EXPORT bool quota_includes(const Object& quota, const Resource& resource, const Object& object);

}  // namespace kubernel::api
