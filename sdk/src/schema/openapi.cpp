// SPDX-License-Identifier: Apache-2.0
#include <kubernel/schema/openapi.h>

#include <algorithm>
#include <set>

#include <nlohmann/json.hpp>

namespace kubernel::schema {
namespace {

using nlohmann::json;

constexpr const char* kJsonType = "application/json";

// Query parameters by kind of operation (query_params.jsonl).
constexpr const char* kWriteParams[] = {"dryRun", "fieldManager", "fieldValidation", "pretty"};
constexpr const char* kPatchParams[] = {"dryRun", "fieldManager", "fieldValidation", "force", "pretty"};
constexpr const char* kDeleteParams[] = {"dryRun", "gracePeriodSeconds", "ignoreStoreReadErrorWithClusterBreakingPotential",
                                         "orphanDependents", "pretty", "propagationPolicy"};
constexpr const char* kListParams[] = {"allowWatchBookmarks", "continue", "fieldSelector", "labelSelector", "limit", "pretty",
                                       "resourceVersion", "resourceVersionMatch", "sendInitialEvents", "timeoutSeconds", "watch"};
constexpr const char* kDeleteCollectionParams[] = {"continue", "dryRun", "fieldSelector", "gracePeriodSeconds", "labelSelector", "limit",
                                                   "orphanDependents", "pretty", "propagationPolicy", "resourceVersion",
                                                   "resourceVersionMatch", "sendInitialEvents", "timeoutSeconds"};
constexpr const char* kReadParams[] = {"pretty"};

json parameter_type(std::string_view name) {
  static constexpr std::string_view kBooleans[] = {"allowWatchBookmarks", "force", "orphanDependents", "sendInitialEvents", "watch",
                                                   "ignoreStoreReadErrorWithClusterBreakingPotential"};
  static constexpr std::string_view kIntegers[] = {"gracePeriodSeconds", "limit", "timeoutSeconds"};
  if (std::ranges::find(kBooleans, name) != std::end(kBooleans)) return "boolean";
  return std::ranges::find(kIntegers, name) != std::end(kIntegers) ? "integer" : "string";
}

json query_parameters(std::span<const char* const> names) {
  json out = json::array();
  for (const char* name : names) {
    out.push_back({{"name", name}, {"in", "query"}, {"schema", {{"type", parameter_type(name)}, {"uniqueItems", true}}}});
  }
  return out;
}

json path_parameter(const char* name) {
  return {{"name", name}, {"in", "path"}, {"required", true}, {"schema", {{"type", "string"}, {"uniqueItems", true}}}};
}

std::string reference(const Type& type) {
  return "#/components/schemas/" + openapi_name(type);
}

// The schema of one value of a field; lists and maps are put around it by field_schema().
json value_schema(const Field& field) {
  switch (field.kind) {
    case Kind::String: return {{"type", "string"}};
    case Kind::Bool: return {{"type", "boolean"}};
    case Kind::Int32: return {{"type", "integer"}, {"format", "int32"}};
    case Kind::Int64: return {{"type", "integer"}, {"format", "int64"}};
    case Kind::Float64: return {{"type", "number"}, {"format", "double"}};
    case Kind::Bytes: return {{"type", "string"}, {"format", "byte"}};
    case Kind::StringList: return {{"type", "array"}, {"items", {{"type", "string"}}}};
    case Kind::Quantity: return {{"oneOf", json::array({{{"type", "string"}}, {{"type", "number"}}})}};
    case Kind::IntOrString:
      return {{"format", "int-or-string"}, {"oneOf", json::array({{{"type", "integer"}}, {{"type", "string"}}})}};
    case Kind::Time:
    case Kind::MicroTime: return {{"type", "string"}, {"format", "date-time"}};
    case Kind::Duration: return {{"type", "string"}};
    case Kind::RawExtension:
    case Kind::FieldsV1: return {{"type", "object"}};
    case Kind::Struct: return {{"$ref", reference(*field.type)}};
    case Kind::Any:
    case Kind::Json:
    case Kind::SchemaOrArray:
    case Kind::SchemaOrBool:
    case Kind::SchemaOrStringArray: return json::object();
  }
  return json::object();
}

void add_merge_rules(const Field& field, json& schema) {
  static constexpr const char* kListTypes[] = {nullptr, "atomic", "set", "map"};
  if (const char* type = kListTypes[static_cast<std::size_t>(field.list_type)]) schema["x-kubernetes-list-type"] = type;
  if (!field.rules->list_map_keys.empty()) schema["x-kubernetes-list-map-keys"] = field.rules->list_map_keys;
  static constexpr const char* kStrategies[] = {nullptr, "merge", "replace", "retainKeys", "merge,retainKeys"};
  if (const char* strategy = kStrategies[static_cast<std::size_t>(field.patch_strategy)]) schema["x-kubernetes-patch-strategy"] = strategy;
  if (!field.patch_merge_key.empty()) schema["x-kubernetes-patch-merge-key"] = field.patch_merge_key;
  if (field.map_atomic) schema["x-kubernetes-map-type"] = "atomic";
}

json field_schema(const Field& field) {
  json value = value_schema(field);
  if (!field.rules->enum_values.empty() && field.shape == Shape::Single) value["enum"] = field.rules->enum_values;
  json schema;
  if (field.shape == Shape::List) {
    schema = {{"type", "array"}, {"items", std::move(value)}};
  } else if (field.shape == Shape::Map) {
    schema = {{"type", "object"}, {"additionalProperties", std::move(value)}};
  } else if (value.contains("$ref")) {
    // Siblings of a $ref are ignored, so the reference is wrapped, as upstream does.
    schema = {{"allOf", json::array({std::move(value)})}};
  } else {
    schema = std::move(value);
  }
  if (!field.rules->default_json.empty()) schema["default"] = json::parse(field.rules->default_json, nullptr, false);
  add_merge_rules(field, schema);
  return schema;
}

class Document {
 public:
  Document(std::string_view group, std::string_view version) : group_(group), version_(version) {}

  void add(const ResourceInfo& info) {
    const std::string base = (group_.empty() ? "/api/" : "/apis/" + group_ + "/") + version_;
    const std::string collection = base + (info.namespaced ? "/namespaces/{namespace}/" : "/") + std::string(info.plural);
    add_collection(info, collection);
    if (info.namespaced && has(info.verbs, "list")) {
      json& all = paths_[base + "/" + std::string(info.plural)];
      all["get"] = operation(info, info.kind, "list", kListParams, info.list_kind);
      all["parameters"] = json::array();
    }
    const std::string item = collection + "/{name}";
    add_item(info, item, info.verbs, info.kind, false);
    for (const Subresource& sub : info.subresources) add_item(info, item + "/" + std::string(sub.name), sub.verbs, sub.kind, true);
    const Type* list = find_kind(info.group, info.version, info.list_kind);
    need(info.type);
    need(list);
    for (const char* id : {"k8s.io.apimachinery.pkg.apis.meta.v1.Status", "k8s.io.apimachinery.pkg.apis.meta.v1.DeleteOptions"}) {
      need(find_type(id));
    }
  }

  std::string text() {
    define_needed();
    return json{{"openapi", "3.0.0"},
                {"info", {{"title", "Kubernetes"}, {"version", "v1.36.0"}}},
                {"paths", std::move(paths_)},
                {"components", {{"schemas", std::move(schemas_)}}}}
        .dump();
  }

 private:
  static bool has(std::span<const std::string_view> verbs, std::string_view verb) {
    return std::ranges::find(verbs, verb) != verbs.end();
  }

  json parameters(const ResourceInfo& info, bool named) const {
    json out = json::array();
    if (named) out.push_back(path_parameter("name"));
    if (info.namespaced) out.push_back(path_parameter("namespace"));
    return out;
  }

  // "autoscaling/v1 Scale" names its own group version; a plain kind is of the resource's.
  static api::GroupVersionKind kind_of(const ResourceInfo& info, std::string_view kind) {
    const auto space = kind.find(' ');
    if (space == std::string_view::npos) return {std::string(info.group), std::string(info.version), std::string(kind)};
    return api::make_gvk(kind.substr(0, space), kind.substr(space + 1));
  }

  json operation(const ResourceInfo& info, std::string_view kind, const char* action, std::span<const char* const> params,
                 std::string_view answer) {
    const api::GroupVersionKind gvk = kind_of(info, kind);
    json out = {{"tags", json::array({(info.group.empty() ? "core" : std::string(info.group.substr(0, info.group.find('.')))) + "_" + version_})},
                {"x-kubernetes-action", action},
                {"x-kubernetes-group-version-kind", {{"group", gvk.group}, {"version", gvk.version}, {"kind", gvk.kind}}},
                {"parameters", query_parameters(params)},
                {"responses", {{"200", {{"description", "OK"}}}, {"401", {{"description", "Unauthorized"}}}}}};
    const api::GroupVersionKind answered = kind_of(info, answer);
    if (const Type* type = find_kind(answered.group, answered.version, answered.kind)) {
      need(type);
      out["responses"]["200"]["content"][kJsonType]["schema"] = {{"$ref", reference(*type)}};
    }
    return out;
  }

  json with_body(json operation, const ResourceInfo& info, std::string_view kind) {
    const api::GroupVersionKind gvk = kind_of(info, kind);
    if (const Type* type = find_kind(gvk.group, gvk.version, gvk.kind)) {
      need(type);
      operation["requestBody"] = {{"required", true}, {"content", {{"*/*", {{"schema", {{"$ref", reference(*type)}}}}}}}};
    }
    return operation;
  }

  static json with_patch_body(json operation) {
    json content;
    for (const char* type : {"application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json"}) {
      content[type] = {{"schema", {{"type", "object"}}}};
    }
    operation["requestBody"] = {{"required", true}, {"content", std::move(content)}};
    return operation;
  }

  void add_collection(const ResourceInfo& info, const std::string& path) {
    json item = json::object();
    if (has(info.verbs, "list")) item["get"] = operation(info, info.kind, "list", kListParams, info.list_kind);
    if (has(info.verbs, "create")) item["post"] = with_body(operation(info, info.kind, "post", kWriteParams, info.kind), info, info.kind);
    if (has(info.verbs, "deletecollection")) {
      item["delete"] = operation(info, info.kind, "deletecollection", kDeleteCollectionParams, "v1 Status");
    }
    if (item.empty()) return;
    item["parameters"] = parameters(info, false);
    paths_[path] = std::move(item);
  }

  void add_item(const ResourceInfo& info, const std::string& path, std::span<const std::string_view> verbs, std::string_view kind, bool sub) {
    json item = json::object();
    if (has(verbs, "get")) item["get"] = operation(info, kind, "get", kReadParams, kind);
    if (has(verbs, "update")) item["put"] = with_body(operation(info, kind, "put", kWriteParams, kind), info, kind);
    if (has(verbs, "patch")) item["patch"] = with_patch_body(operation(info, kind, "patch", kPatchParams, kind));
    if (has(verbs, "delete")) item["delete"] = operation(info, kind, "delete", kDeleteParams, "v1 Status");
    if (sub && has(verbs, "create")) item["post"] = with_body(operation(info, kind, "post", kWriteParams, kind), info, kind);
    if (item.empty()) return;
    item["parameters"] = parameters(info, true);
    paths_[path] = std::move(item);
  }

  void need(const Type* type) {
    if (type != nullptr && seen_.insert(type).second) pending_.push_back(type);
  }

  void define_needed() {
    while (!pending_.empty()) {
      const Type& type = *pending_.back();
      pending_.pop_back();
      schemas_[openapi_name(type)] = define(type);
    }
  }

  json define(const Type& type) {
    json properties = json::object();
    json required = json::array();
    add_fields(type, properties, required);
    json schema = {{"type", "object"}};
    if (!properties.empty()) schema["properties"] = std::move(properties);
    if (!required.empty()) schema["required"] = std::move(required);
    if (type.struct_atomic) schema["x-kubernetes-map-type"] = "atomic";
    if (type.root_kind) {
      schema["x-kubernetes-group-version-kind"] =
          json::array({json{{"group", type.group}, {"version", type.version}, {"kind", type.name}}});
    }
    return schema;
  }

  void add_fields(const Type& type, json& properties, json& required) {
    for (const Field& field : type.fields) {
      if (field.embedded && field.type != nullptr) {
        add_fields(*field.type, properties, required);
        continue;
      }
      if (field.json.empty()) continue;
      if (field.kind == Kind::Struct) need(field.type);
      properties[std::string(field.json)] = field_schema(field);
      if (field.required) required.push_back(field.json);
    }
  }

  const std::string group_;
  const std::string version_;
  json paths_ = json::object();
  json schemas_ = json::object();
  std::set<const Type*> seen_;
  std::vector<const Type*> pending_;
};

}  // namespace

std::string openapi_name(const Type& type) {
  std::string id(type.id);
  if (!id.starts_with("k8s.io.")) return id;
  id.replace(0, std::string_view("k8s.io.").size(), "io.k8s.");
  // A protobuf package cannot have the dash of "apiextensions-apiserver"; "custom_metrics" is spelled so everywhere.
  if (const auto at = id.find("_apiserver."); at != std::string::npos) id[at] = '-';
  return id;
}

std::string openapi_v3(std::string_view group, std::string_view version, const std::vector<const ResourceInfo*>& resources) {
  Document document(group, version);
  for (const ResourceInfo* info : resources) document.add(*info);
  return document.text();
}

}  // namespace kubernel::schema
