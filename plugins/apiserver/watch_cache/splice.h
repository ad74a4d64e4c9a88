// SPDX-License-Identifier: Apache-2.0
//
// Edits of canonical JSON text that need no parse of the whole object.
//
// The store keeps an object without its resourceVersion, which is the store's own revision. What is served has it.
// These functions read only the first members of the text, whatever the object's size.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <kubernel/base/result.h>

namespace kubernel::apiserver {

/// `json`, an API object's text, with metadata.resourceVersion set to `revision`.
/// Errors: Internal when there is no metadata object.
Result<std::string> with_resource_version(std::string_view json, std::int64_t revision);

/// `json` without metadata.resourceVersion.
std::string without_resource_version(std::string_view json);

/// The text of the metadata object; "{}" when there is none. Lifetime: that of `json`.
std::string_view raw_metadata(std::string_view json);

}  // namespace kubernel::apiserver
