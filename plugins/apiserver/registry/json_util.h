// SPDX-License-Identifier: Apache-2.0
//
// Reading and writing nested members of a document that may or may not be there.

#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

#include <nlohmann/json.hpp>

namespace kubernel::apiserver {

using nlohmann::json;

/// The member at `path`; a null value when any step is missing.
const json& member(const json& document, std::initializer_list<const char*> path);
/// The member at `path`, made (with the objects on the way) when missing.
json& make_member(json& document, std::initializer_list<const char*> path);
std::string text(const json& document, std::initializer_list<const char*> path);
std::int64_t number(const json& document, std::initializer_list<const char*> path, std::int64_t fallback = 0);
bool flag(const json& document, std::initializer_list<const char*> path, bool fallback = false);
/// Removes the member called `name` of the object at `path`, when there is one.
void erase_member(json& document, std::initializer_list<const char*> path, const char* name);
/// Makes `to`'s member equal to `from`'s: also absent when it is absent there.
void copy_member(json& to, const json& from, const char* name);

}  // namespace kubernel::apiserver
