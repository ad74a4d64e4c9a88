// SPDX-License-Identifier: Apache-2.0
//
// Reading and writing lists of conditions (status.conditions).

#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include <kubernel/api/value.h>
#include <kubernel/base/export.h>

namespace kubernel::controller {

/// Missing when there is none.
KUBERNEL_EXPORT api::Value find_condition(api::Value conditions, std::string_view type);
KUBERNEL_EXPORT bool condition_true(api::Value conditions, std::string_view type);
/// Null when there is none; valid until `conditions` changes.
KUBERNEL_EXPORT nlohmann::json* find_condition(nlohmann::json& conditions, std::string_view type);
/// Adds `condition` or replaces the one of its type. Does nothing when that has the same status and reason. Keeps
/// lastTransitionTime when the status stays. (What most of upstream's Set…Condition functions do.)
KUBERNEL_EXPORT void set_condition(nlohmann::json& conditions, nlohmann::json condition);
KUBERNEL_EXPORT void remove_condition(nlohmann::json& conditions, std::string_view type);

}  // namespace kubernel::controller
