// SPDX-License-Identifier: Apache-2.0
//
// OpenAPI v3 documents of the built-in API, one per group version, made from the schema tables (KEP-2896).
//
// What clients read them for: kubectl asks which operations take `fieldValidation` before it creates or applies, merges by
// x-kubernetes-patch-strategy and -merge-key, and explains fields. Descriptions are not part of the tables.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <kubernel/base/export.h>
#include <kubernel/schema/schema.h>

namespace kubernel::schema {

/// The document of one group version as JSON: paths of `resources`, and every schema they refer to. Empty `resources`: only
/// the schema-less frame. Costs a few milliseconds and up to two megabytes; callers cache what they need.
KUBERNEL_EXPORT std::string openapi_v3(std::string_view group, std::string_view version,
                                       const std::vector<const ResourceInfo*>& resources);

/// The name a type has in OpenAPI documents: "io.k8s.api.core.v1.Pod".
KUBERNEL_EXPORT std::string openapi_name(const Type& type);

}  // namespace kubernel::schema
