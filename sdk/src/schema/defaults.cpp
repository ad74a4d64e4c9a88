// SPDX-License-Identifier: Apache-2.0
#include "schema/defaults.h"

#include <kubernel/api/quantity.h>
#include <kubernel/schema/codec.h>

namespace kubernel::schema {
namespace {

using nlohmann::json;

bool is_empty_value(const json& value) {
  switch (value.type()) {
    case json::value_t::null: return true;
    case json::value_t::string: return value.get_ref<const std::string&>().empty();
    case json::value_t::boolean: return !value.get<bool>();
    case json::value_t::number_integer:
    case json::value_t::number_unsigned: return value.get<std::int64_t>() == 0;
    case json::value_t::array:
    case json::value_t::object: return value.empty();
    default: return false;
  }
}

void apply_rule(const Type& type, json& object, std::string_view path, const DefaultRule& rule);

void apply_below(const Field& field, json& value, std::string_view rest, const DefaultRule& rule) {
  if (value.is_object()) apply_rule(*field.type, value, rest, rule);
}

/// `path` is what is left of the rule's path. A struct on the way that Go holds by value is made; a pointer is not.
void apply_rule(const Type& type, json& object, std::string_view path, const DefaultRule& rule) {
  const std::size_t dot = path.find('.');
  std::string_view step = path.substr(0, dot);
  const bool each = step.size() > 3 && step.substr(step.size() - 3) == "[*]";
  if (each) step.remove_suffix(3);
  const std::string name(step);
  if (dot == std::string_view::npos) {
    const auto at = object.find(name);
    const bool applies =
        at == object.end() || at->is_null() || (rule.when == DefaultRule::When::Empty && is_empty_value(*at));
    if (applies) object[name] = json::parse(rule.value);
    return;
  }
  const Field* field = type.find(step);
  if (field == nullptr || field->type == nullptr) return;
  const std::string_view rest = path.substr(dot + 1);
  const auto at = object.find(name);
  const bool there = at != object.end() && !at->is_null();
  if (each) {
    if (!there || !at->is_array()) return;
    for (json& element : *at) apply_below(*field, element, rest, rule);
  } else if (there) {
    apply_below(*field, *at, rest, rule);
  } else if (!field->pointer) {
    apply_below(*field, object[name] = json::object(), rest, rule);
  }
}

/// The API keeps no finer amounts than thousandths of a resource.
void round_quantities(json& resources) {
  for (auto& [name, value] : resources.items()) {
    if (!value.is_string()) continue;
    const auto quantity = api::Quantity::parse(value.get_ref<const std::string&>());
    constexpr std::int64_t kLargest = INT64_MAX / 1000;  // Beyond that a thousandth does not matter, nor fit.
    if (!quantity || quantity->value() > kLargest || quantity->value() < -kLargest) continue;
    const auto rounded = api::Quantity::of_milli(quantity->milli_value(), quantity->format());
    if (!(rounded == *quantity)) value = rounded.to_string();
  }
}

void visit(const Type& type, json& object);

void visit_member(const Field& field, json& value) {
  if (field.kind == Kind::Quantity) {
    if (field.shape == Shape::Map && value.is_object() && !field.rules->named.empty()) round_quantities(value);
  } else if (field.kind == Kind::Struct && field.type->defaulting != nullptr) {
    if (field.shape == Shape::Single) {
      if (value.is_object()) visit(*field.type, value);
    } else if (value.is_structured()) {
      for (json& element : value) {
        if (element.is_object()) visit(*field.type, element);
      }
    }
  }
}

void visit(const Type& type, json& object) {
  for (const DefaultRule& rule : type.defaulting->rules) apply_rule(type, object, rule.path, rule);
  if (type.defaulting->function != nullptr) type.defaulting->function(object);
  for (const Field* field : type.members) {
    const std::string name(field->json);
    const auto at = object.find(name);
    if (at != object.end() && !at->is_null()) {
      visit_member(*field, *at);
      continue;
    }
    // A struct that Go holds by value is there even when JSON has none.
    if (field->kind != Kind::Struct || field->shape != Shape::Single || field->pointer) continue;
    if (field->type->defaulting == nullptr) continue;
    json value = json::object();
    visit(*field->type, value);
    if (!value.empty()) object[name] = std::move(value);
  }
}

}  // namespace

namespace defaults {

bool is_missing(const json& object, const char* name) {
  const auto at = object.find(name);
  return at == object.end() || at->is_null();
}

bool is_empty(const json& object, const char* name) {
  const auto at = object.find(name);
  return at == object.end() || is_empty_value(*at);
}

void set_missing(json& object, const char* name, json value) {
  if (is_missing(object, name)) object[name] = std::move(value);
}

void set_empty(json& object, const char* name, json value) {
  if (is_empty(object, name)) object[name] = std::move(value);
}

json& child(json& object, const char* name) {
  json& member = object[name];
  if (!member.is_object()) member = json::object();
  return member;
}

std::string_view text(const json& object, const char* name) {
  const auto at = object.find(name);
  return at != object.end() && at->is_string() ? std::string_view(at->get_ref<const std::string&>())
                                               : std::string_view();
}

}  // namespace defaults

void apply_defaults(const Type& type, json& document) {
  if (type.defaulting != nullptr && document.is_object()) visit(type, document);
}

}  // namespace kubernel::schema
