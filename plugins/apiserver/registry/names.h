// SPDX-License-Identifier: Apache-2.0
//
// The rules for names, labels and annotations (apimachinery util/validation, api/validation), with upstream's messages.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "registry/errors.h"

namespace kubernel::apiserver {

enum class NameRule : std::uint8_t { Subdomain, Label, Label1035, PathSegment };

/// What is wrong with `name`; empty: nothing. `prefix`: a generateName, whose last dash is allowed.
std::vector<std::string> check_name(NameRule rule, std::string_view name, bool prefix);
std::vector<std::string> check_label_key(std::string_view key);
std::vector<std::string> check_label_value(std::string_view value);

/// "spec.selector"-like path of a map of labels.
void validate_labels(const nlohmann::json& labels, const std::string& path, Causes& causes);

/// Keys, and all of them together at most 256 KiB.
void validate_annotations(const nlohmann::json& annotations, const std::string& path, Causes& causes);

/// Checks `document`'s metadata (ValidateObjectMeta).
void validate_meta(const nlohmann::json& document, bool namespaced, NameRule rule, Causes& causes);
/// The fields of metadata an update may not change (ValidateObjectMetaUpdate).
void validate_meta_update(const nlohmann::json& document, const nlohmann::json& old, Causes& causes);

}  // namespace kubernel::apiserver
