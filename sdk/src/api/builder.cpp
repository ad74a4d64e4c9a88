// SPDX-License-Identifier: Apache-2.0
#include <kubernel/api/builder.h>

#include <string>

#include <nlohmann/json.hpp>

namespace kubernel::api {

Builder::Builder(nlohmann::json& object) : object_(&object) {
  if (!object.is_object()) object = nlohmann::json::object();
}

void Builder::identify_(std::string_view api_version, std::string_view kind) {
  assign_(place_("apiVersion"), api_version);
  assign_(place_("kind"), kind);
}

nlohmann::json& Builder::place_(std::string_view name) {
  return (*object_)[std::string(name)];
}

nlohmann::json& Builder::element_(std::string_view name) {
  nlohmann::json& list = place_(name);
  if (!list.is_array()) list = nlohmann::json::array();
  return list.emplace_back();
}

nlohmann::json& Builder::entry_(std::string_view name, std::string_view key) {
  nlohmann::json& map = place_(name);
  if (!map.is_object()) map = nlohmann::json::object();
  return map[std::string(key)];
}

void Builder::assign_(nlohmann::json& place, std::string_view value) {
  place = std::string(value);
}
void Builder::assign_(nlohmann::json& place, std::int64_t value) {
  place = value;
}
void Builder::assign_(nlohmann::json& place, double value) {
  place = value;
}
void Builder::assign_(nlohmann::json& place, bool value) {
  place = value;
}
void Builder::assign_(nlohmann::json& place, const nlohmann::json& value) {
  place = value;
}

}  // namespace kubernel::api
