// SPDX-License-Identifier: Apache-2.0
//
// Field numbers are those of gnostic's OpenAPIv2.proto.
#include "schema/gnostic.h"

#include <array>
#include <utility>

#include <nlohmann/json.hpp>

namespace kubernel::schema {
namespace {

using nlohmann::json;

void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

void put_bytes(std::string& out, std::uint32_t number, std::string_view bytes) {
  put_varint(out, std::uint64_t{number} << 3 | 2);
  put_varint(out, bytes.size());
  out += bytes;
}

void put_true(std::string& out, std::uint32_t number) {
  put_varint(out, std::uint64_t{number} << 3);
  out += '\1';
}

// Members that are not there, and strings that are empty, are not written (proto3).
void put_text(std::string& out, std::uint32_t number, const json& from, const char* name) {
  const auto place = from.find(name);
  if (place != from.end() && place->is_string() && !place->get_ref<const std::string&>().empty()) {
    put_bytes(out, number, place->get_ref<const std::string&>());
  }
}

void put_flag(std::string& out, std::uint32_t number, const json& from, const char* name) {
  const auto place = from.find(name);
  if (place != from.end() && place->is_boolean() && place->get<bool>()) put_true(out, number);
}

void put_texts(std::string& out, std::uint32_t number, const json& from, const char* name) {
  const auto place = from.find(name);
  if (place == from.end()) return;
  for (const json& one : *place) put_bytes(out, number, one.get_ref<const std::string&>());
}

// Any: JSON is YAML too.
std::string any(const json& value) {
  std::string out;
  put_bytes(out, 2, value.dump() + "\n");
  return out;
}

// NamedSchema, NamedAny, NamedPathItem, …
std::string named(std::string_view name, std::string_view value) {
  std::string out;
  put_bytes(out, 1, name);
  put_bytes(out, 2, value);
  return out;
}

std::string wrapped(std::uint32_t number, std::string_view message) {
  std::string out;
  put_bytes(out, number, message);
  return out;
}

void put_extensions(std::string& out, std::uint32_t number, const json& from) {
  for (const auto& [name, value] : from.items()) {
    if (name.starts_with("x-")) put_bytes(out, number, named(name, any(value)));
  }
}

std::string schema_message(const json& schema) {
  std::string out;
  put_text(out, 1, schema, "$ref");
  put_text(out, 2, schema, "format");
  put_text(out, 4, schema, "description");
  if (const auto value = schema.find("default"); value != schema.end()) put_bytes(out, 5, any(*value));
  put_texts(out, 19, schema, "required");
  if (const auto values = schema.find("enum"); values != schema.end()) {
    for (const json& value : *values) put_bytes(out, 20, any(value));
  }
  if (const auto value = schema.find("additionalProperties"); value != schema.end()) {
    put_bytes(out, 21, wrapped(1, schema_message(*value)));
  }
  if (const auto type = schema.find("type"); type != schema.end())
    put_bytes(out, 22, wrapped(1, type->get_ref<const std::string&>()));
  if (const auto items = schema.find("items"); items != schema.end())
    put_bytes(out, 23, wrapped(1, schema_message(*items)));
  if (const auto properties = schema.find("properties"); properties != schema.end()) {
    std::string all;
    for (const auto& [name, property] : properties->items()) put_bytes(all, 1, named(name, schema_message(property)));
    put_bytes(out, 25, all);
  }
  put_extensions(out, 31, schema);
  return out;
}

// ParametersItem.
std::string parameter_message(const json& parameter) {
  std::string out;
  const std::string in = parameter.value("in", "");
  if (in == "body") {
    put_text(out, 2, parameter, "name");
    put_text(out, 3, parameter, "in");
    put_flag(out, 4, parameter, "required");
    put_bytes(out, 5, schema_message(parameter["schema"]));
    return wrapped(1, wrapped(1, out));
  }
  const bool query = in == "query";
  put_flag(out, 1, parameter, "required");
  put_text(out, 2, parameter, "in");
  put_text(out, 3, parameter, "description");
  put_text(out, 4, parameter, "name");
  // A query parameter has one field more, allow_empty_value, before its type.
  put_text(out, query ? 6 : 5, parameter, "type");
  put_flag(out, query ? 20 : 19, parameter, "uniqueItems");
  return wrapped(1, wrapped(2, wrapped(query ? 3 : 4, out)));
}

void put_parameters(std::string& out, std::uint32_t number, const json& from) {
  if (const auto place = from.find("parameters"); place != from.end()) {
    for (const json& parameter : *place) put_bytes(out, number, parameter_message(parameter));
  }
}

std::string responses_message(const json& responses) {
  std::string out;
  for (const auto& [code, response] : responses.items()) {
    std::string body;
    put_text(body, 1, response, "description");
    if (const auto schema = response.find("schema"); schema != response.end()) {
      put_bytes(body, 2, wrapped(1, schema_message(*schema)));
    }
    put_bytes(out, 1, named(code, wrapped(1, body)));
  }
  return out;
}

std::string operation_message(const json& operation) {
  std::string out;
  put_texts(out, 1, operation, "tags");
  put_text(out, 3, operation, "description");
  put_text(out, 5, operation, "operationId");
  put_texts(out, 6, operation, "produces");
  put_texts(out, 7, operation, "consumes");
  put_parameters(out, 8, operation);
  put_bytes(out, 9, responses_message(operation["responses"]));
  put_extensions(out, 13, operation);
  return out;
}

}  // namespace

void GnosticDocument::add_path(std::string_view path, const json& item) {
  constexpr std::array<std::pair<const char*, std::uint32_t>, 5> kMethods = {
      {{"get", 2}, {"put", 3}, {"post", 4}, {"delete", 5}, {"patch", 8}}};
  std::string message;
  for (const auto& [method, number] : kMethods) {
    if (const auto operation = item.find(method); operation != item.end())
      put_bytes(message, number, operation_message(*operation));
  }
  put_parameters(message, 9, item);
  put_bytes(paths_, 2, named(path, message));
}

void GnosticDocument::add_definition(std::string_view name, const json& schema) {
  put_bytes(definitions_, 1, named(name, schema_message(schema)));
}

std::string GnosticDocument::take(std::string_view title, std::string_view version) {
  std::string info;
  put_bytes(info, 1, title);
  put_bytes(info, 2, version);
  std::string key;
  put_bytes(key, 1, "apiKey");
  put_bytes(key, 2, "authorization");
  put_bytes(key, 3, "header");
  std::string out;
  put_bytes(out, 1, "2.0");
  put_bytes(out, 2, info);
  put_bytes(out, 8, std::exchange(paths_, {}));
  put_bytes(out, 9, std::exchange(definitions_, {}));
  put_bytes(out, 12, wrapped(1, named("BearerToken", "")));
  put_bytes(out, 13, wrapped(1, named("BearerToken", wrapped(2, key))));
  return out;
}

}  // namespace kubernel::schema
