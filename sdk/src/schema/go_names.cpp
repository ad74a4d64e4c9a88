// SPDX-License-Identifier: Apache-2.0
#include "schema/go_names.h"

namespace kubernel::schema {

std::string_view go_type_name(std::string_view id) {
  const std::size_t name = id.rfind('.');
  if (name == std::string_view::npos) return id;
  const std::size_t package = id.rfind('.', name - 1);
  return package == std::string_view::npos ? id : id.substr(package + 1);
}

std::string go_element_name(const Field& field) {
  if (field.kind == Kind::Struct) return std::string(go_type_name(field.type->id));
  if (field.kind == Kind::Quantity) return "resource.Quantity";  // `named` may be the name of a map of them.
  if (!field.rules->named.empty()) return std::string(go_type_name(field.rules->named));
  switch (field.kind) {
    case Kind::Bool: return "bool";
    case Kind::Int32:
    case Kind::IntOrString: return "int32";
    case Kind::Int64: return "int64";
    case Kind::Float64: return "float64";
    case Kind::Bytes: return "[]uint8";
    case Kind::StringList: return "[]string";
    default: return "string";
  }
}

std::string go_field_name(const Field& field) {
  if (field.kind == Kind::Quantity && !field.rules->named.empty()) return std::string(go_type_name(field.rules->named));
  switch (field.shape) {
    case Shape::Single: return go_element_name(field);
    case Shape::List: return "[]" + go_element_name(field);
    case Shape::Map: return "map[string]" + go_element_name(field);
  }
  return {};
}

}  // namespace kubernel::schema
