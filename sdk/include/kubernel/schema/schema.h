// SPDX-License-Identifier: Apache-2.0
//
// The Kubernetes API as data: types, fields, resources, defaults.
//
// The tables are generated from the API facts by sdk/schema/generate.py. Everything that depends on what a field is
// (decoding, validation, defaults, protobuf, patches, table columns, OpenAPI) reads these tables; nothing repeats them
// by hand.

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <kubernel/api/resource.h>
#include <kubernel/base/export.h>

namespace kubernel::schema {

struct Type;
struct Defaulting;  // What apply_defaults() uses.

enum class Kind : std::uint8_t {
  String,
  Bool,
  Int32,
  Int64,
  Float64,
  Bytes,
  Any,
  Struct,
  Quantity,
  Time,
  MicroTime,
  Duration,
  IntOrString,
  RawExtension,
  FieldsV1,
  Json,        // own JSON and protobuf forms
  StringList,  // a named list of strings (ExtraValue, Verbs)
  SchemaOrArray,
  SchemaOrBool,
  SchemaOrStringArray,  // `type` is JSONSchemaProps
};
enum class Shape : std::uint8_t { Single, List, Map };  // Map keys are strings.
enum class ListType : std::uint8_t { None, Atomic, Set, Map };
enum class PatchStrategy : std::uint8_t { None, Merge, Replace, RetainKeys, MergeRetainKeys };

/// What few fields have; shared by fields that have the same.
struct FieldRules {
  std::span<const std::string_view> list_map_keys;
  std::span<const std::string_view> enum_values;  ///< Sorted. Empty: not an enum.
  std::string_view default_json;                  ///< JSON text of the +default marker; empty: none.
  std::optional<std::int64_t> min, max;           ///< Numeric bounds of the declarative markers.
  std::uint32_t min_items = 0, max_items = 0;     ///< 0: no bound.
  std::uint32_t max_length = 0, max_bytes = 0;    ///< 0: no bound.
  std::string_view format;                        ///< "k8s-short-name", … as in the markers; empty: none.
  std::string_view key_format;                    ///< The same for a map's keys.
  std::string_view named;  ///< Id of the named scalar type (of a list: of its elements), "k8s.io.api.core.v1.PodPhase".
  std::string_view one_of;          ///< Exactly one of the fields with the same word here is set.
  std::string_view zero_or_one_of;  ///< At most one of them is.
  bool unique_keys = false;         ///< Of a list with list_map_keys: two elements with the same keys are refused.
  bool unique_items = false;        ///< Equal elements are refused.
};

struct Field {
  std::string_view json;    ///< Empty for members that JSON does not have.
  const Type* type;         ///< For Struct and Schema…; else null.
  const FieldRules* rules;  ///< Never null.
  std::string_view patch_merge_key;
  std::uint16_t proto_number;  ///< 0: not in protobuf.
  Kind kind;
  Shape shape;
  ListType list_type;
  PatchStrategy patch_strategy;
  bool pointer;
  bool omitempty;
  bool omitzero;  ///< A struct that is left out when it is zero.
  bool required;  ///< OpenAPI "required".
  bool enforced;  ///< The API server refuses an object without it.
  bool embedded;  ///< Members are spliced into the parent's JSON.
  bool nullable;
  bool map_atomic;     ///< Server-side apply treats the value as one field.
  bool immutable;      ///< Declarative: may not change once set.
  bool discriminator;  ///< Of a union.

  std::span<const std::string_view> list_map_keys() const noexcept { return rules->list_map_keys; }
  std::span<const std::string_view> enum_values() const noexcept { return rules->enum_values; }
  std::string_view default_json() const noexcept { return rules->default_json; }
};

/// A type's members as JSON has them: embedded structs are spliced in.
struct Type {
  std::string_view id;  ///< = protobuf full name, "k8s.io.api.core.v1.PodSpec".
  std::string_view group, version, name;
  std::span<const Field> fields;              ///< In the order of the Go struct.
  std::span<const std::uint8_t> proto_order;  ///< Indexes into `fields`, ascending by protobuf number.
  std::span<const Field* const> members;      ///< What is in its JSON object, in the order Go writes it.
  std::span<const std::uint8_t> sorted;       ///< Indexes into `members`, ascending by name.
  bool has_proto;
  bool root_kind;
  bool struct_atomic;
  const Defaulting* defaulting;  ///< Null: there is nothing to default in it or below.

  /// The field with that JSON name, embedded structs included; null when there is none.
  KUBERNEL_EXPORT const Field* find(std::string_view json_name) const noexcept;
};

struct Subresource {
  std::string_view name;
  std::string_view kind;  ///< "Scale"; may carry a group version: "autoscaling/v1 Scale".
  std::span<const std::string_view> verbs;
};

struct ResourceInfo {
  std::string_view group, version, kind, list_kind, plural, singular;
  std::span<const std::string_view> short_names, categories, verbs;
  std::span<const Subresource> subresources;
  bool namespaced;
  bool ga;
  bool stored;                       ///< False for those that only answer (TokenReview, …).
  std::string_view storage_version;  ///< "apps/v1".
  std::string_view storage_version_hash;
  std::string_view etcd_prefix;  ///< "/registry/deployments".
  const Type* type;
  api::Resource resource() const { return {std::string(group), std::string(version), std::string(plural)}; }
};

struct GroupVersionInfo {
  std::string_view version;
  bool ga;
  bool enabled_by_default;
  int version_priority;
};
struct GroupInfo {
  std::string_view group;
  std::string_view preferred_version;
  int priority;
  std::span<const GroupVersionInfo> versions;
};

KUBERNEL_EXPORT std::span<const Type* const> types() noexcept;  ///< Ascending by id.
KUBERNEL_EXPORT std::span<const ResourceInfo> resources() noexcept;
KUBERNEL_EXPORT std::span<const GroupInfo> groups() noexcept;  ///< In discovery order.

KUBERNEL_EXPORT const Type* find_type(std::string_view id) noexcept;
/// The type of a registered kind. Options kinds (DeleteOptions, …) and WatchEvent are found under every group version,
/// as upstream.
KUBERNEL_EXPORT const Type* find_kind(std::string_view group, std::string_view version, std::string_view kind) noexcept;
KUBERNEL_EXPORT const ResourceInfo* find_resource(std::string_view group, std::string_view version,
                                                  std::string_view plural) noexcept;
KUBERNEL_EXPORT const ResourceInfo* find_resource_by_kind(std::string_view group, std::string_view version,
                                                          std::string_view kind) noexcept;

}  // namespace kubernel::schema
