// SPDX-License-Identifier: Apache-2.0
//
// OpenAPI documents of the built-in API, made from the schema tables: v3, one per group version (KEP-2896), and v2, one
// for all.
//
// What clients read them for: kubectl asks which operations take `fieldValidation` before it creates or applies, merges
// by x-kubernetes-patch-strategy and -merge-key, and explains fields; kubectl before 1.27 also validates by v2 itself,
// and asks for it as protobuf. The tables carry no descriptions (upstream's sentences are not ours to copy), so the
// documents have none.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/base/export.h>
#include <kubernel/schema/schema.h>

namespace kubernel::schema {

/// The document of one group version as JSON: paths of `resources`, and every schema they refer to. Empty `resources`:
/// only the schema-less frame. Costs a few milliseconds and up to two megabytes; callers cache what they need.
KUBERNEL_EXPORT std::string openapi_v3(std::string_view group, std::string_view version,
                                       const std::vector<const ResourceInfo*>& resources);

enum class OpenApiForm : std::uint8_t { Json, Protobuf };

/// The OpenAPI v2 document of `resources`. Protobuf is gnostic's openapi.v2.Document. Costs some ten milliseconds and
/// up to three megabytes, which compress to a twentieth; callers cache the compressed form.
KUBERNEL_EXPORT std::string openapi_v2(const std::vector<const ResourceInfo*>& resources, OpenApiForm form);

/// The name a type has in OpenAPI documents: "io.k8s.api.core.v1.Pod".
KUBERNEL_EXPORT std::string openapi_name(const Type& type);

}  // namespace kubernel::schema
