// SPDX-License-Identifier: Apache-2.0
//
// The patch types of the API: JSON Patch (RFC 6902), JSON Merge Patch (RFC 7386), strategic merge patch (by the
// schema's patch strategies and merge keys; directives $patch, $retainKeys, $setElementOrder/…,
// $deleteFromPrimitiveList/…).

#pragma once

#include <nlohmann/json_fwd.hpp>

#include <kubernel/base/export.h>
#include <kubernel/base/result.h>
#include <kubernel/schema/schema.h>

namespace kubernel::schema {

/// Errors: BadRequest when the patch is malformed; Invalid when an operation does not apply (a missing parent, a failed
/// test).
KUBERNEL_EXPORT Result<nlohmann::json> apply_json_patch(const nlohmann::json& document, const nlohmann::json& patch);

KUBERNEL_EXPORT Result<nlohmann::json> apply_merge_patch(const nlohmann::json& document, const nlohmann::json& patch);

/// Errors: BadRequest when the patch does not fit the schema (a merge list whose element lacks the merge key, …).
KUBERNEL_EXPORT Result<nlohmann::json> apply_strategic_merge_patch(const Type& type, const nlohmann::json& document,
                                                                   const nlohmann::json& patch);

/// The strategic merge patch that turns `original` into `modified`; used by clients and event recorders.
KUBERNEL_EXPORT nlohmann::json make_merge_patch(const nlohmann::json& original, const nlohmann::json& modified);

}  // namespace kubernel::schema
