// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>
#include <set>

#include <kubernel/api/names.h>
#include <kubernel/schema/codec.h>

#include "api/json_writer.h"
#include "schema/formats.h"

namespace kubernel::schema {
namespace {

using nlohmann::json;

bool is_unset(const json* value) {
  if (value == nullptr) return true;
  switch (value->type()) {
    case json::value_t::null: return true;
    case json::value_t::string: return value->get_ref<const std::string&>().empty();
    case json::value_t::array:
    case json::value_t::object: return value->empty();
    case json::value_t::number_integer:
    case json::value_t::number_unsigned: return value->get<std::int64_t>() == 0;
    case json::value_t::boolean: return !value->get<bool>();
    default: return false;
  }
}

const json* find(const json& object, std::string_view name) {
  const auto at = object.find(std::string(name));
  return at == object.end() || at->is_null() ? nullptr : &*at;
}

/// Characters of a UTF-8 text.
std::size_t count_characters(const std::string& text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

class Validator {
 public:
  explicit Validator(std::vector<Cause>& causes) : causes_(causes) {}

  void object(const Type& type, const json& value) {
    for (const Field* field : type.members) {
      // The status is what controllers saw; the markers of types it shares with the spec are not for it.
      if (type.root_kind && field->json == "status") continue;
      const std::size_t size = push(field->json);
      member(*field, find(value, field->json));
      path_.resize(size);
    }
    unions(type, value);
  }

 private:
  std::size_t push(std::string_view name) {
    const std::size_t size = path_.size();
    if (!path_.empty()) path_.push_back('.');
    path_ += name;
    return size;
  }

  void add(std::string reason, std::string message, const std::string& below = {}) {
    causes_.push_back({std::move(reason), std::move(message), path_ + below});
  }
  void invalid(const json& value, const std::string& why) {
    std::string text;
    api::detail::write_json(value, text);
    add("FieldValueInvalid", "Invalid value: " + text + ": " + why);
  }

  void member(const Field& field, const json* value) {
    if (is_missing(field, value)) {
      if (field.enforced) add("FieldValueRequired", "Required value");
      // A struct that Go holds by value is there; what it requires is missing too.
      if (field.kind == Kind::Struct && field.shape == Shape::Single && !field.pointer) {
        object(*field.type, json::object());
      }
      return;
    }
    if (field.shape == Shape::List) return list(field, *value);
    if (field.shape == Shape::Map) return map(field, *value);
    element(field, *value);
  }

  static bool is_missing(const Field& field, const json* value) {
    if (value == nullptr) return true;
    if (field.pointer || field.kind == Kind::Struct) return false;
    return is_unset(value);
  }

  void list(const Field& field, const json& value) {
    if (!value.is_array()) return;
    const FieldRules& rules = *field.rules;
    if (rules.max_items != 0 && value.size() > rules.max_items) {
      return add("FieldValueTooMany", "Too many: " + std::to_string(value.size()) + ": must have at most " +
                                          std::to_string(rules.max_items) + " items");
    }
    if (rules.min_items != 0 && value.size() < rules.min_items) {
      add("FieldValueInvalid", "Invalid value: " + std::to_string(value.size()) + ": must have at least " +
                                   std::to_string(rules.min_items) + " items");
    }
    for (std::size_t i = 0; i < value.size(); ++i) {
      const std::size_t size = path_.size();
      path_ += "[" + std::to_string(i) + "]";
      element(field, value[i]);
      path_.resize(size);
    }
    if (rules.unique_keys) unique_keys(field, value);
    if (rules.unique_items) unique_items(value);
  }

  void map(const Field& field, const json& value) {
    if (!value.is_object()) return;
    for (const auto& [key, item] : value.items()) {
      const std::size_t size = path_.size();
      if (!field.rules->key_format.empty()) {
        if (const std::string why = format_problem(field.rules->key_format, key); !why.empty()) invalid(key, why);
      }
      path_ += "[" + key + "]";
      element(field, item);
      path_.resize(size);
    }
  }

  void element(const Field& field, const json& value) {
    if (field.kind == Kind::Struct) {
      if (value.is_object()) object(*field.type, value);
    } else if (value.is_string()) {
      text(*field.rules, value.get_ref<const std::string&>());
    } else if (value.is_number_integer()) {
      number(*field.rules, value.get<std::int64_t>());
    }
  }

  void text(const FieldRules& rules, const std::string& value) {
    const auto allowed = rules.enum_values;
    if (!allowed.empty() && std::find(allowed.begin(), allowed.end(), value) == allowed.end()) {
      std::string message = "Unsupported value: ";
      api::detail::write_json_string(value, message);
      message += ": supported values: ";
      for (std::size_t i = 0; i < allowed.size(); ++i) {
        message += (i == 0 ? "\"" : ", \"") + std::string(allowed[i]) + "\"";
      }
      return add("FieldValueNotSupported", std::move(message));
    }
    if (rules.max_bytes != 0 && value.size() > rules.max_bytes) {
      add("FieldValueTooLong", "Too long: may not be more than " + std::to_string(rules.max_bytes) + " bytes");
    } else if (rules.max_length != 0 && count_characters(value) > rules.max_length) {
      add("FieldValueTooLong", "Too long: may not be more than " + std::to_string(rules.max_length) + " characters");
    }
    if (!rules.format.empty()) {
      if (const std::string why = format_problem(rules.format, value); !why.empty()) invalid(value, why);
    }
  }

  void number(const FieldRules& rules, std::int64_t value) {
    if (rules.min && value < *rules.min)
      invalid(value, "must be greater than or equal to " + std::to_string(*rules.min));
    if (rules.max && value > *rules.max) invalid(value, "must be less than or equal to " + std::to_string(*rules.max));
  }

  void unique_keys(const Field& field, const json& list) {
    const auto keys = field.list_map_keys();
    std::set<std::string> seen;
    for (std::size_t i = 0; i < list.size(); ++i) {
      if (!list[i].is_object()) continue;
      const json key = key_of(keys, list[i]);
      std::string text;
      api::detail::write_json(key, text);
      if (seen.insert(text).second) continue;
      std::string below = "[" + std::to_string(i) + "]";
      if (keys.size() == 1) below += "." + std::string(keys[0]);
      // Two mounts at one path are an invalid value upstream, not a duplicate.
      if (field.json == "volumeMounts" || field.json == "volumeDevices") {
        add("FieldValueInvalid", "Invalid value: " + text + ": must be unique", below);
      } else {
        add("FieldValueDuplicate", "Duplicate value: " + text, below);
      }
    }
  }

  static json key_of(std::span<const std::string_view> keys, const json& element) {
    json all = json::object();
    for (const std::string_view key : keys) {
      const json* part = find(element, key);
      all[std::string(key)] = part != nullptr ? *part : json();
    }
    return keys.size() == 1 ? all.begin().value() : all;
  }

  void unique_items(const json& list) {
    std::set<std::string> seen;
    for (std::size_t i = 0; i < list.size(); ++i) {
      std::string text;
      api::detail::write_json(list[i], text);
      if (!seen.insert(text).second) {
        add("FieldValueDuplicate", "Duplicate value: " + text, "[" + std::to_string(i) + "]");
      }
    }
  }

  /// Groups of fields of which exactly one, or at most one, may be set.
  void unions(const Type& type, const json& value) {
    std::map<std::string_view, std::vector<std::string>> exactly;
    std::map<std::string_view, std::vector<std::string>> at_most;
    std::map<std::string_view, std::vector<std::string>> members;
    for (const Field* field : type.members) {
      const FieldRules& rules = *field->rules;
      if (rules.one_of.empty() && rules.zero_or_one_of.empty()) continue;
      const json* member = find(value, field->json);
      const bool set = field->pointer || field->kind == Kind::Struct ? member != nullptr : !is_unset(member);
      auto& group = rules.one_of.empty() ? at_most[rules.zero_or_one_of] : exactly[rules.one_of];
      if (set) group.emplace_back(field->json);
      if (!rules.one_of.empty()) members[rules.one_of].emplace_back(field->json);
    }
    for (const auto& [name, set] : exactly) {
      if (set.empty()) add("FieldValueInvalid", "Invalid value: \"\": must specify one of: " + quoted(members[name]));
      if (set.size() > 1) too_many_set(set);
    }
    for (const auto& [name, set] : at_most) {
      if (set.size() > 1) too_many_set(set);
    }
  }

  void too_many_set(const std::vector<std::string>& set) {
    std::string names;
    for (const std::string& name : set) names += (names.empty() ? "" : ", ") + name;
    add("FieldValueInvalid", "Invalid value: \"{" + names + "}\": must specify exactly one of: " + quoted(set));
  }

  static std::string quoted(const std::vector<std::string>& names) {
    std::string text;
    for (const std::string& name : names) text += (text.empty() ? "`" : ", `") + name + "`";
    return text;
  }

  std::vector<Cause>& causes_;
  std::string path_;
};

}  // namespace

void validate(const Type& type, const json& document, std::vector<Cause>& causes) {
  if (document.is_object()) Validator(causes).object(type, document);
}

}  // namespace kubernel::schema
