// SPDX-License-Identifier: Apache-2.0
//
// read_yaml: one YAML document as JSON, with the place of every value and variables of the environment filled in.

#pragma once

#include <functional>
#include <map>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include <kubernel/base/result.h>

#include "core/config/manifest_file.h"

namespace kubernel::config {

// `positions` receives the place of each value by path ("plugins[0].name"). Keys are strings; a key twice, a second
// document and the merge key are errors; anchors and aliases work.
//
// Errors: Invalid, "line:column: path: what".
Result<void> read_yaml(const std::string& text, const Environment& environment, nlohmann::json& out,
                       std::map<std::string, Position, std::less<>>& positions);

}  // namespace kubernel::config
