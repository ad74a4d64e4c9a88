// SPDX-License-Identifier: Apache-2.0
#include "schema/openapi_parts.h"

#include <algorithm>

#include <kubernel/schema/openapi.h>

namespace kubernel::schema {
namespace {

using nlohmann::json;

constexpr const char* kJsonType = "application/json";

// Query parameters by kind of operation (query_params.jsonl).
constexpr const char* kWriteParams[] = {"dryRun", "fieldManager", "fieldValidation", "pretty"};
constexpr const char* kPatchParams[] = {"dryRun", "fieldManager", "fieldValidation", "force", "pretty"};
constexpr const char* kDeleteParams[] = {
    "dryRun", "gracePeriodSeconds", "ignoreStoreReadErrorWithClusterBreakingPotential", "orphanDependents",
    "pretty", "propagationPolicy"};
constexpr const char* kListParams[] = {"allowWatchBookmarks",
                                       "continue",
                                       "fieldSelector",
                                       "labelSelector",
                                       "limit",
                                       "pretty",
                                       "resourceVersion",
                                       "resourceVersionMatch",
                                       "sendInitialEvents",
                                       "timeoutSeconds",
                                       "watch"};
constexpr const char* kDeleteCollectionParams[] = {
    "continue",          "dryRun",          "fieldSelector",        "gracePeriodSeconds",
    "labelSelector",     "limit",           "orphanDependents",     "pretty",
    "propagationPolicy", "resourceVersion", "resourceVersionMatch", "sendInitialEvents",
    "timeoutSeconds"};
constexpr const char* kReadParams[] = {"pretty"};

json parameter_type(std::string_view name) {
  static constexpr std::string_view kBooleans[] = {
      "allowWatchBookmarks", "force", "orphanDependents",
      "sendInitialEvents",   "watch", "ignoreStoreReadErrorWithClusterBreakingPotential"};
  static constexpr std::string_view kIntegers[] = {"gracePeriodSeconds", "limit", "timeoutSeconds"};
  if (std::ranges::find(kBooleans, name) != std::end(kBooleans)) return "boolean";
  return std::ranges::find(kIntegers, name) != std::end(kIntegers) ? "integer" : "string";
}

json query_parameters(std::span<const char* const> names) {
  json out = json::array();
  for (const char* name : names) {
    out.push_back(
        {{"name", name}, {"in", "query"}, {"schema", {{"type", parameter_type(name)}, {"uniqueItems", true}}}});
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
  if (const char* strategy = kStrategies[static_cast<std::size_t>(field.patch_strategy)])
    schema["x-kubernetes-patch-strategy"] = strategy;
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

bool has(std::span<const std::string_view> verbs, std::string_view verb) {
  return std::ranges::find(verbs, verb) != verbs.end();
}

json path_parameters(const ResourceInfo& info, bool named) {
  json out = json::array();
  if (named) out.push_back(path_parameter("name"));
  if (info.namespaced) out.push_back(path_parameter("namespace"));
  return out;
}

// "autoscaling/v1 Scale" names its own group version; a plain kind is of the resource's.
api::GroupVersionKind kind_of(const ResourceInfo& info, std::string_view kind) {
  const auto space = kind.find(' ');
  if (space == std::string_view::npos) return {std::string(info.group), std::string(info.version), std::string(kind)};
  return api::make_gvk(kind.substr(0, space), kind.substr(space + 1));
}

std::string capital(std::string_view word) {
  std::string out(word);
  if (!out.empty() && out[0] >= 'a' && out[0] <= 'z') out[0] = static_cast<char>(out[0] - 32);
  return out;
}

// "core", "rbacAuthorization": a group as operation ids and tags name it.
std::string group_word(std::string_view group) {
  if (group.empty()) return "core";
  if (group.ends_with(".k8s.io")) group.remove_suffix(std::string_view(".k8s.io").size());
  std::string out;
  for (;;) {
    const auto dot = group.find('.');
    out += out.empty() ? std::string(group.substr(0, dot)) : capital(group.substr(0, dot));
    if (dot == std::string_view::npos) return out;
    group.remove_prefix(dot + 1);
  }
}

}  // namespace

void OpenApiParts::add(const ResourceInfo& info) {
  const std::string base = (group_.empty() ? "/api/" : "/apis/" + group_ + "/") + version_;
  const std::string collection = base + (info.namespaced ? "/namespaces/{namespace}/" : "/") + std::string(info.plural);
  add_collection(info, collection);
  if (info.namespaced && has(info.verbs, "list")) {
    json& all = paths_[base + "/" + std::string(info.plural)];
    all["get"] = operation(info, info.kind, "list", kListParams, info.list_kind, {"list", "", true});
    all["parameters"] = json::array();
  }
  const std::string item = collection + "/{name}";
  add_item(info, item, info.verbs, info.kind, "");
  for (const Subresource& sub : info.subresources)
    add_item(info, item + "/" + std::string(sub.name), sub.verbs, sub.kind, sub.name);
  need(info.type);
  need(find_kind(info.group, info.version, info.list_kind));
  for (const char* id :
       {"k8s.io.apimachinery.pkg.apis.meta.v1.Status", "k8s.io.apimachinery.pkg.apis.meta.v1.DeleteOptions"}) {
    need(find_type(id));
  }
}

// "readCoreV1NamespacedPodStatus", "listCoreV1PodForAllNamespaces": client generators make function names of them.
std::string OpenApiParts::operation_id(const ResourceInfo& info, const Named& named) const {
  std::string out = std::string(named.verb == "deletecollection" ? "delete" : named.verb) +
                    capital(group_word(group_)) + capital(version_);
  if (named.verb == "deletecollection") out += "Collection";
  if (info.namespaced && !named.all_namespaces) out += "Namespaced";
  out += info.kind;
  out += capital(named.subresource);
  if (named.all_namespaces) out += "ForAllNamespaces";
  return out;
}

json OpenApiParts::operation(const ResourceInfo& info, std::string_view kind, const char* action,
                             std::span<const char* const> params, std::string_view answer, const Named& named) {
  const api::GroupVersionKind gvk = kind_of(info, kind);
  json out = {{"tags", json::array({group_word(group_) + "_" + version_})},
              {"operationId", operation_id(info, named)},
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

json OpenApiParts::with_body(json operation, const ResourceInfo& info, std::string_view kind) {
  const api::GroupVersionKind gvk = kind_of(info, kind);
  if (const Type* type = find_kind(gvk.group, gvk.version, gvk.kind)) {
    need(type);
    operation["requestBody"] = {{"required", true}, {"content", {{"*/*", {{"schema", {{"$ref", reference(*type)}}}}}}}};
  }
  return operation;
}

namespace {

json with_patch_body(json operation) {
  json content;
  for (const char* type :
       {"application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json"}) {
    content[type] = {{"schema", {{"type", "object"}}}};
  }
  operation["requestBody"] = {{"required", true}, {"content", std::move(content)}};
  return operation;
}

}  // namespace

void OpenApiParts::add_collection(const ResourceInfo& info, const std::string& path) {
  json item = json::object();
  if (has(info.verbs, "list"))
    item["get"] = operation(info, info.kind, "list", kListParams, info.list_kind, {"list", ""});
  if (has(info.verbs, "create")) {
    item["post"] =
        with_body(operation(info, info.kind, "post", kWriteParams, info.kind, {"create", ""}), info, info.kind);
  }
  if (has(info.verbs, "deletecollection")) {
    item["delete"] =
        operation(info, info.kind, "deletecollection", kDeleteCollectionParams, "v1 Status", {"deletecollection", ""});
  }
  if (item.empty()) return;
  item["parameters"] = path_parameters(info, false);
  paths_[path] = std::move(item);
}

void OpenApiParts::add_item(const ResourceInfo& info, const std::string& path, std::span<const std::string_view> verbs,
                            std::string_view kind, std::string_view subresource) {
  json item = json::object();
  if (has(verbs, "get")) item["get"] = operation(info, kind, "get", kReadParams, kind, {"read", subresource});
  if (has(verbs, "update")) {
    item["put"] = with_body(operation(info, kind, "put", kWriteParams, kind, {"replace", subresource}), info, kind);
  }
  if (has(verbs, "patch")) {
    item["patch"] = with_patch_body(operation(info, kind, "patch", kPatchParams, kind, {"patch", subresource}));
  }
  if (has(verbs, "delete")) {
    item["delete"] = operation(info, kind, "delete", kDeleteParams, "v1 Status", {"delete", subresource});
  }
  if (!subresource.empty() && has(verbs, "create")) {
    item["post"] = with_body(operation(info, kind, "post", kWriteParams, kind, {"create", subresource}), info, kind);
  }
  if (item.empty()) return;
  item["parameters"] = path_parameters(info, true);
  paths_[path] = std::move(item);
}

void OpenApiParts::need(const Type* type) {
  if (type != nullptr && seen_.insert(type).second) pending_.push_back(type);
}

void OpenApiParts::define(const std::function<void(const std::string&, json)>& use) {
  while (!pending_.empty()) {
    const Type& type = *pending_.back();
    pending_.pop_back();
    use(openapi_name(type), define(type));
  }
}

json OpenApiParts::define(const Type& type) {
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

void OpenApiParts::add_fields(const Type& type, json& properties, json& required) {
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

}  // namespace kubernel::schema
