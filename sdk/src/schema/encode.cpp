// SPDX-License-Identifier: Apache-2.0
#include <kubernel/schema/codec.h>

#include "api/json_writer.h"

namespace kubernel::schema {
namespace {

using nlohmann::json;

const json kAbsent;  // Null reads the same as absent everywhere here.

/// Structs in Go, though not structs in JSON: `omitempty` does not leave them out.
bool is_go_struct(Kind kind) {
  switch (kind) {
    case Kind::Struct:
    case Kind::Quantity:
    case Kind::Time:
    case Kind::MicroTime:
    case Kind::Duration:
    case Kind::IntOrString:
    case Kind::RawExtension:
    case Kind::FieldsV1:
    case Kind::Json:
    case Kind::SchemaOrArray:
    case Kind::SchemaOrBool:
    case Kind::SchemaOrStringArray: return true;
    default: return false;
  }
}

bool is_zero_scalar(const json& value) {
  switch (value.type()) {
    case json::value_t::string: return value.get_ref<const std::string&>().empty();
    case json::value_t::boolean: return !value.get<bool>();
    case json::value_t::number_integer:
    case json::value_t::number_unsigned: return value.get<std::int64_t>() == 0;
    case json::value_t::number_float: return value.get<double>() == 0;
    case json::value_t::array:
    case json::value_t::object: return value.empty();
    default: return true;
  }
}

bool is_left_out(const Field& field, const json& value) {
  if (!field.omitempty && !field.omitzero) return false;
  if (field.shape != Shape::Single) return field.pointer ? value.is_null() : value.empty();
  if (field.pointer) return value.is_null();
  if (is_go_struct(field.kind)) return field.omitzero && value.empty();
  return is_zero_scalar(value);
}

class Encoder {
 public:
  explicit Encoder(std::string& out) : out_(out) {}

  void object(const Type& type, const json& value) {
    char separator = '{';
    for (const Field* field : type.members) {
      const json& member = find(value, field->json);
      if (is_left_out(*field, member)) continue;
      out_.push_back(separator);
      separator = ',';
      api::detail::write_json_string(field->json, out_);
      out_.push_back(':');
      this->member(*field, member);
    }
    if (separator == '{') out_.push_back('{');
    out_.push_back('}');
  }

 private:
  const json& find(const json& object, std::string_view name) {
    if (!object.is_object()) return kAbsent;
    name_.assign(name);
    const auto at = object.find(name_);
    return at == object.end() ? kAbsent : *at;
  }

  void member(const Field& field, const json& value) {
    if (field.shape == Shape::List && value.is_array()) {
      list(field, value);
    } else if (field.shape == Shape::Map && value.is_object()) {
      map(field, value);
    } else if (field.shape != Shape::Single || (field.pointer && value.is_null())) {
      api::detail::write_json(value, out_);
    } else {
      element(field, value);
    }
  }

  void list(const Field& field, const json& value) {
    char separator = '[';
    for (const json& item : value) {
      out_.push_back(separator);
      separator = ',';
      element(field, item);
    }
    if (separator == '[') out_.push_back('[');
    out_.push_back(']');
  }

  void map(const Field& field, const json& value) {
    char separator = '{';
    for (const auto& [key, item] : value.get_ref<const json::object_t&>()) {
      out_.push_back(separator);
      separator = ',';
      api::detail::write_json_string(key, out_);
      out_.push_back(':');
      element(field, item);
    }
    if (separator == '{') out_.push_back('{');
    out_.push_back('}');
  }

  void element(const Field& field, const json& value) {
    const bool is_schema = field.kind >= Kind::SchemaOrArray;
    if (field.kind == Kind::Struct || (is_schema && value.is_object())) return object(*field.type, value);
    if (is_schema && value.is_array() && field.kind == Kind::SchemaOrArray) return schemas(field, value);
    if (value.is_null()) return zero(field.kind);
    api::detail::write_json(value, out_);
  }

  void schemas(const Field& field, const json& value) {
    Field alternative = field;
    alternative.kind = Kind::Struct;
    list(alternative, value);
  }

  void zero(Kind kind) {
    switch (kind) {
      case Kind::String: out_ += "\"\""; return;
      case Kind::Bool: out_ += "false"; return;
      case Kind::Int32:
      case Kind::Int64:
      case Kind::Float64:
      case Kind::IntOrString: out_ += '0'; return;
      case Kind::Quantity: out_ += "\"0\""; return;
      case Kind::Duration: out_ += "\"0s\""; return;
      case Kind::SchemaOrBool: out_ += "false"; return;
      default: out_ += "null"; return;
    }
  }

  std::string& out_;
  std::string name_;
};

}  // namespace

std::string encode_json(const Type& type, const json& document) {
  std::string out;
  Encoder(out).object(type, document);
  return out;
}

}  // namespace kubernel::schema
