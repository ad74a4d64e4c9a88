// SPDX-License-Identifier: Apache-2.0
#include "registry/json_util.h"

namespace kubernel::apiserver {

const json& member(const json& document, std::initializer_list<const char*> path) {
  static const json kNull;
  const json* at = &document;
  for (const char* key : path) {
    if (!at->is_object()) return kNull;
    const auto place = at->find(key);
    if (place == at->end()) return kNull;
    at = &*place;
  }
  return *at;
}

json& make_member(json& document, std::initializer_list<const char*> path) {
  json* at = &document;
  for (const char* key : path) {
    if (!at->is_object()) *at = json::object();
    at = &(*at)[key];
  }
  return *at;
}

std::string text(const json& document, std::initializer_list<const char*> path) {
  const json& found = member(document, path);
  return found.is_string() ? found.get<std::string>() : std::string();
}

std::int64_t number(const json& document, std::initializer_list<const char*> path, std::int64_t fallback) {
  const json& found = member(document, path);
  return found.is_number_integer() ? found.get<std::int64_t>() : fallback;
}

bool flag(const json& document, std::initializer_list<const char*> path, bool fallback) {
  const json& found = member(document, path);
  return found.is_boolean() ? found.get<bool>() : fallback;
}

void erase_member(json& document, std::initializer_list<const char*> path, const char* name) {
  json* at = &document;
  for (const char* key : path) {
    if (!at->is_object()) return;
    const auto place = at->find(key);
    if (place == at->end()) return;
    at = &*place;
  }
  if (at->is_object()) at->erase(name);
}

void copy_member(json& to, const json& from, const char* name) {
  const auto place = from.is_object() ? from.find(name) : from.end();
  if (place == from.end()) {
    if (to.is_object()) to.erase(name);
    return;
  }
  to[name] = *place;
}

}  // namespace kubernel::apiserver
