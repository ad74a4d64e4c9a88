// SPDX-License-Identifier: Apache-2.0
#include "core/config/config_schema.h"

#include <array>
#include <charconv>
#include <optional>
#include <regex>

#include <nlohmann/json.hpp>

#include "core/base/suggestion.h"

namespace kubernel::config {
namespace {

using nlohmann::json;

constexpr std::array<std::string_view, 7> kTypes = {"string", "integer", "number", "boolean",
                                                    "object", "array",   "null"};
// std::regex recurses once per character, and nobody configures with longer strings.
constexpr std::size_t kLongestMatched = 8192;

std::string_view type_of(const json& value) {
  switch (value.type()) {
    case json::value_t::string: return "string";
    case json::value_t::number_integer:
    case json::value_t::number_unsigned: return "integer";
    case json::value_t::number_float: return "number";
    case json::value_t::boolean: return "boolean";
    case json::value_t::object: return "object";
    case json::value_t::array: return "array";
    default: return "null";
  }
}

bool is_type(const json& value, std::string_view type) {
  return type == type_of(value) || (type == "number" && value.is_number());
}

bool fits_type(const json& value, const json& type) {
  if (type.is_string()) return is_type(value, type.get_ref<const std::string&>());
  for (const json& one : type) {
    if (is_type(value, one.get_ref<const std::string&>())) return true;
  }
  return false;
}

std::string listed(const json& values, bool quoted) {
  if (!values.is_array()) return quoted ? values.dump() : values.get<std::string>();
  std::string out;
  for (const json& value : values) {
    out.append(out.empty() ? "" : ", ").append(quoted ? value.dump() : value.get<std::string>());
  }
  return out;
}

std::string number(double value) {
  std::array<char, 32> text{};
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), value).ptr};
}

std::size_t code_points(std::string_view text) {
  std::size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0U) != 0x80U ? 1 : 0;
  return count;
}

class Checker {
 public:
  void check(const json& schema, json& value, const std::string& path);
  std::vector<Problem> problems;

 private:
  void add(const std::string& path, std::string message) { problems.push_back({path, std::move(message)}); }
  void check_object(const json& schema, json& object, const std::string& path);
  void check_array(const json& schema, json& array, const std::string& path);
  void check_string(const json& schema, const std::string& text, const std::string& path);
  void check_number(const json& schema, double value, const std::string& path);
};

void Checker::check(const json& schema, json& value, const std::string& path) {
  if (const auto type = schema.find("type"); type != schema.end() && !fits_type(value, *type)) {
    add(path, "expected " + listed(*type, false) + ", got " + std::string(type_of(value)));
    return;
  }
  if (const auto constant = schema.find("const"); constant != schema.end() && *constant != value) {
    add(path, "must be " + constant->dump() + ", is " + value.dump());
  }
  if (const auto allowed = schema.find("enum"); allowed != schema.end()) {
    if (std::find(allowed->begin(), allowed->end(), value) == allowed->end()) {
      std::vector<std::string> words;
      for (const json& one : *allowed) words.push_back(one.is_string() ? one.get<std::string>() : one.dump());
      const std::string near = value.is_string() ? core::did_you_mean(value.get<std::string>(), words) : "";
      add(path, "must be one of " + listed(*allowed, true) + ", is " + value.dump() + near);
    }
  }
  if (value.is_object()) check_object(schema, value, path);
  if (value.is_array()) check_array(schema, value, path);
  if (value.is_string()) check_string(schema, value.get_ref<const std::string&>(), path);
  if (value.is_number()) check_number(schema, value.get<double>(), path);
}

void Checker::check_object(const json& schema, json& object, const std::string& path) {
  static const json kNone = json::object();
  const auto found = schema.find("properties");
  const json& properties = found == schema.end() ? kNone : *found;
  std::vector<std::string> known;
  for (const auto& [key, property] : properties.items()) {
    known.push_back(key);
    if (const auto standard = property.find("default"); standard != property.end() && !object.contains(key)) {
      object[key] = *standard;
    }
  }
  if (const auto required = schema.find("required"); required != schema.end()) {
    for (const json& key : *required) {
      if (!object.contains(key.get_ref<const std::string&>())) add(path, "missing " + key.dump());
    }
  }
  const auto others = schema.find("additionalProperties");
  for (auto& [key, value] : object.items()) {
    const std::string at = path_of_key(path, key);
    if (const auto property = properties.find(key); property != properties.end()) {
      check(*property, value, at);
    } else if (others != schema.end() && others->is_object()) {
      check(*others, value, at);
    } else if (others != schema.end() && !others->get<bool>()) {
      add(at, "unknown key" + core::did_you_mean(key, known));
    }
  }
}

void Checker::check_array(const json& schema, json& array, const std::string& path) {
  if (const auto least = schema.find("minItems"); least != schema.end() && array.size() < least->get<std::size_t>()) {
    add(path, "needs at least " + least->dump() + " items, has " + std::to_string(array.size()));
  }
  if (const auto most = schema.find("maxItems"); most != schema.end() && array.size() > most->get<std::size_t>()) {
    add(path, "takes at most " + most->dump() + " items, has " + std::to_string(array.size()));
  }
  const auto items = schema.find("items");
  if (items == schema.end()) return;
  for (std::size_t i = 0; i < array.size(); ++i) check(*items, array[i], path + "[" + std::to_string(i) + "]");
}

void Checker::check_string(const json& schema, const std::string& text, const std::string& path) {
  if (const auto least = schema.find("minLength"); least != schema.end()) {
    const auto length = least->get<std::size_t>();
    if (code_points(text) < length) add(path, length == 1 ? "must not be empty" : "is shorter than " + least->dump());
  }
  if (const auto most = schema.find("maxLength"); most != schema.end()) {
    if (code_points(text) > most->get<std::size_t>()) add(path, "is longer than " + most->dump());
  }
  const auto pattern = schema.find("pattern");
  if (pattern == schema.end()) return;
  if (text.size() > kLongestMatched) {
    add(path, "is longer than " + std::to_string(kLongestMatched) + " bytes");
  } else if (!std::regex_search(text, std::regex(pattern->get<std::string>()))) {
    add(path, json(text).dump() + " does not match the pattern " + pattern->get<std::string>());
  }
}

void Checker::check_number(const json& schema, double value, const std::string& path) {
  if (const auto least = schema.find("minimum"); least != schema.end() && value < least->get<double>()) {
    add(path, "must be at least " + number(least->get<double>()) + ", is " + number(value));
  }
  if (const auto most = schema.find("maximum"); most != schema.end() && value > most->get<double>()) {
    add(path, "must be at most " + number(most->get<double>()) + ", is " + number(value));
  }
}

// ---- The schema's own rules.

Error bad(const std::string& path, const std::string& message) {
  return Error(Reason::Invalid, (path.empty() ? "" : path + ": ") + message);
}

Result<void> check_schema(const json& schema, const std::string& path);

bool is_known_type(const json& type) {
  return type.is_string() &&
         std::find(kTypes.begin(), kTypes.end(), type.get_ref<const std::string&>()) != kTypes.end();
}

bool all_strings(const json& list) {
  return list.is_array() && std::all_of(list.begin(), list.end(), [](const json& one) { return one.is_string(); });
}

bool fits_keyword(const std::string& keyword, const json& value) {
  if (keyword == "type") {
    return is_known_type(value) ||
           (value.is_array() && !value.empty() && std::all_of(value.begin(), value.end(), is_known_type));
  }
  if (keyword == "properties") return value.is_object();
  if (keyword == "required") return all_strings(value);
  if (keyword == "additionalProperties") return value.is_boolean() || value.is_object();
  if (keyword == "items") return value.is_object();
  if (keyword == "enum") return value.is_array() && !value.empty();
  if (keyword == "minimum" || keyword == "maximum") return value.is_number();
  if (keyword == "pattern") return value.is_string();
  if (keyword.starts_with("min") || keyword.starts_with("max")) return value.is_number_unsigned();
  return true;
}

Result<void> check_keyword(const std::string& keyword, const json& value, const std::string& path) {
  static const std::vector<std::string> kKeywords = {"type",     "properties", "required",  "additionalProperties",
                                                     "items",    "enum",       "const",     "minimum",
                                                     "maximum",  "minLength",  "maxLength", "pattern",
                                                     "minItems", "maxItems",   "default",   "title",
                                                     "examples", "$schema",    "$id",       "description"};
  if (std::find(kKeywords.begin(), kKeywords.end(), keyword) == kKeywords.end()) {
    return bad(path, "keyword \"" + keyword + "\" is not supported" + core::did_you_mean(keyword, kKeywords));
  }
  if (!fits_keyword(keyword, value)) return bad(path, "\"" + keyword + "\" cannot be " + value.dump());
  if (keyword == "pattern") {
    KUBERNEL_CHECK_OK(catch_as_error(path_of_key(path, keyword), [&]() -> Result<void> {
      const std::regex compiled(value.get<std::string>());
      return {};
    }));
  }
  if (keyword == "properties") {
    for (const auto& [key, property] : value.items()) {
      KUBERNEL_CHECK_OK(check_schema(property, path_of_key(path_of_key(path, keyword), key)));
    }
  }
  if (value.is_object() && (keyword == "items" || keyword == "additionalProperties")) {
    return check_schema(value, path_of_key(path, keyword));
  }
  return {};
}

Result<void> check_schema(const json& schema, const std::string& path) {
  if (!schema.is_object()) return bad(path, "a schema must be an object");
  for (const auto& [keyword, value] : schema.items()) KUBERNEL_CHECK_OK(check_keyword(keyword, value, path));
  if (const auto standard = schema.find("default"); standard != schema.end()) {
    Checker checker;
    json copy = *standard;
    checker.check(schema, copy, path_of_key(path, "default"));
    if (!checker.problems.empty()) return bad(checker.problems.front().path, checker.problems.front().message);
  }
  return {};
}

}  // namespace

std::string join_path(std::string_view parent, std::string_view child) {
  std::string out(parent);
  if (!parent.empty() && !child.empty() && child.front() != '[') out += '.';
  return out.append(child);
}

std::string path_of_key(std::string_view parent, std::string_view key) {
  if (!key.empty() && key.find_first_of(".[]\"") == std::string_view::npos) return join_path(parent, key);
  return std::string(parent) + "[" + json(std::string(key)).dump(-1, ' ', false, json::error_handler_t::replace) + "]";
}

Result<ConfigSchema> ConfigSchema::parse(std::string_view text) {
  return catch_as_error("schema", [&]() -> Result<ConfigSchema> {
    auto root = std::make_shared<const json>(json::parse(text, nullptr, /*allow_exceptions=*/false));
    if (root->is_discarded()) return Error(Reason::Invalid, "schema is not JSON");
    if (auto checked = check_schema(*root, ""); !checked) return std::move(checked).error().wrap("schema");
    return ConfigSchema(std::move(root));
  });
}

std::vector<Problem> ConfigSchema::check(json& value) const {
  Checker checker;
  checker.check(*root_, value, "");
  return std::move(checker.problems);
}

}  // namespace kubernel::config
