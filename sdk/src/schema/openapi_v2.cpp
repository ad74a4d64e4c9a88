// SPDX-License-Identifier: Apache-2.0
//
// OpenAPI v2: the parts of v3 in the older form, one after another, so that the whole is never held as a tree.
#include <kubernel/schema/openapi.h>

#include <array>
#include <map>

#include <nlohmann/json.hpp>

#include "schema/gnostic.h"
#include "schema/openapi_parts.h"

namespace kubernel::schema {
namespace {

using nlohmann::json;

constexpr std::string_view kV3Schemas = "#/components/schemas/";
constexpr std::string_view kV2Schemas = "#/definitions/";
constexpr std::array kMethods = {"get", "put", "post", "delete", "patch"};

// In place: $refs lead to the definitions, a wrapped $ref stands beside its siblings, alternatives of types become a
// string.
void schema_to_v2(json& schema) {
  if (!schema.is_object()) return;
  if (const auto all = schema.find("allOf"); all != schema.end()) {
    json wrapped = std::move((*all)[0]);
    schema.erase("allOf");
    schema.update(wrapped);
  }
  if (schema.contains("oneOf")) {
    schema.erase("oneOf");
    schema["type"] = "string";
  }
  if (const auto ref = schema.find("$ref"); ref != schema.end()) {
    *ref = std::string(kV2Schemas) + ref->get<std::string>().substr(kV3Schemas.size());
  }
  for (const char* inner : {"items", "additionalProperties"}) {
    if (const auto place = schema.find(inner); place != schema.end()) schema_to_v2(*place);
  }
  if (const auto properties = schema.find("properties"); properties != schema.end()) {
    for (json& property : *properties) schema_to_v2(property);
  }
}

void parameters_to_v2(json& parameters) {
  for (json& parameter : parameters) {
    const json schema = std::move(parameter["schema"]);
    parameter.erase("schema");
    parameter.update(schema);
  }
}

void responses_to_v2(json& responses) {
  for (json& response : responses) {
    const auto content = response.find("content");
    if (content == response.end()) continue;
    json schema = std::move(content->begin().value()["schema"]);
    schema_to_v2(schema);
    response.erase("content");
    response["schema"] = std::move(schema);
  }
}

void operation_to_v2(json& operation) {
  parameters_to_v2(operation["parameters"]);
  responses_to_v2(operation["responses"]);
  operation["produces"] = {"application/json", "application/yaml", "application/vnd.kubernetes.protobuf"};
  operation["consumes"] = json::array();
  const auto body = operation.find("requestBody");
  if (body == operation.end()) {
    operation["consumes"].push_back("*/*");
    return;
  }
  json parameter = {{"name", "body"}, {"in", "body"}, {"required", true}};
  for (auto& [type, content] : (*body)["content"].items()) {
    operation["consumes"].push_back(type);
    parameter["schema"] = std::move(content["schema"]);
  }
  schema_to_v2(parameter["schema"]);
  operation.erase("requestBody");
  operation["parameters"].insert(operation["parameters"].begin(), std::move(parameter));
}

void path_to_v2(json& item) {
  parameters_to_v2(item["parameters"]);
  for (const char* method : kMethods) {
    if (const auto operation = item.find(method); operation != item.end()) operation_to_v2(*operation);
  }
}

// Where the parts go: into JSON text or into a protobuf message.
class Sink {
 public:
  virtual ~Sink() = default;
  virtual void path(const std::string& path, const json& item) = 0;
  virtual void definition(const std::string& name, const json& schema) = 0;
  virtual std::string finish() = 0;
};

class JsonSink final : public Sink {
 public:
  void path(const std::string& path, const json& item) override { put(paths_, path, item); }
  void definition(const std::string& name, const json& schema) override { put(definitions_, name, schema); }
  std::string finish() override {
    const json info = {{"title", kOpenApiTitle}, {"version", kOpenApiVersion}};
    const json security = {{"BearerToken", {{"type", "apiKey"}, {"name", "authorization"}, {"in", "header"}}}};
    paths_.insert(0, R"({"swagger":"2.0","info":)" + info.dump() + R"(,"paths":{)");
    paths_ += R"(},"definitions":{)";
    paths_ += definitions_;
    paths_ += R"(},"securityDefinitions":)" + security.dump() + R"(,"security":[{"BearerToken":[]}]})";
    return std::move(paths_);
  }

 private:
  static void put(std::string& into, const std::string& name, const json& value) {
    if (!into.empty()) into += ',';
    into += json(name).dump();
    into += ':';
    into += value.dump();
  }

  std::string paths_;
  std::string definitions_;
};

class ProtobufSink final : public Sink {
 public:
  void path(const std::string& path, const json& item) override { message_.add_path(path, item); }
  void definition(const std::string& name, const json& schema) override { message_.add_definition(name, schema); }
  std::string finish() override { return message_.take(kOpenApiTitle, kOpenApiVersion); }

 private:
  GnosticDocument message_;
};

void write_parts(const std::vector<const ResourceInfo*>& resources, Sink& sink) {
  std::map<std::pair<std::string_view, std::string_view>, std::vector<const ResourceInfo*>> group_versions;
  for (const ResourceInfo* info : resources) group_versions[{info->group, info->version}].push_back(info);
  std::set<const Type*> seen;
  for (const auto& [group_version, members] : group_versions) {
    OpenApiParts parts(group_version.first, group_version.second, seen);
    for (const ResourceInfo* info : members) parts.add(*info);
    for (auto& [path, item] : parts.paths().items()) {
      path_to_v2(item);
      sink.path(path, item);
    }
    parts.define([&](const std::string& name, json schema) {
      schema_to_v2(schema);
      sink.definition(name, schema);
    });
  }
}

}  // namespace

std::string openapi_v2(const std::vector<const ResourceInfo*>& resources, OpenApiForm form) {
  if (form == OpenApiForm::Json) {
    JsonSink sink;
    write_parts(resources, sink);
    return sink.finish();
  }
  ProtobufSink sink;
  write_parts(resources, sink);
  return sink.finish();
}

}  // namespace kubernel::schema
