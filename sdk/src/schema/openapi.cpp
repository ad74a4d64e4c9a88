// SPDX-License-Identifier: Apache-2.0
#include <kubernel/schema/openapi.h>

#include <nlohmann/json.hpp>

#include "schema/openapi_parts.h"

namespace kubernel::schema {

using nlohmann::json;

std::string openapi_name(const Type& type) {
  std::string id(type.id);
  if (!id.starts_with("k8s.io.")) return id;
  id.replace(0, std::string_view("k8s.io.").size(), "io.k8s.");
  // A protobuf package cannot have the dash of "apiextensions-apiserver"; "custom_metrics" is spelled so everywhere.
  if (const auto at = id.find("_apiserver."); at != std::string::npos) id[at] = '-';
  return id;
}

std::string openapi_v3(std::string_view group, std::string_view version,
                       const std::vector<const ResourceInfo*>& resources) {
  std::set<const Type*> seen;
  OpenApiParts parts(group, version, seen);
  for (const ResourceInfo* info : resources) parts.add(*info);
  json schemas = json::object();
  parts.define([&](const std::string& name, json schema) { schemas[name] = std::move(schema); });
  return json{{"openapi", "3.0.0"},
              {"info", {{"title", kOpenApiTitle}, {"version", kOpenApiVersion}}},
              {"paths", std::move(parts.paths())},
              {"components", {{"schemas", std::move(schemas)}}}}
      .dump();
}

}  // namespace kubernel::schema
