// SPDX-License-Identifier: Apache-2.0
#include <kubernel/schema/codec.h>

#include <algorithm>
#include <bitset>
#include <utility>

#include <kubernel/api/quantity.h>
#include <kubernel/api/time.h>

#include "api/json_scanner.h"
#include "schema/any_json.h"
#include "schema/base64.h"
#include "schema/go_names.h"

namespace kubernel::schema {
namespace {

using api::detail::JsonScanner;
using api::detail::ScannedNumber;
using api::detail::ScannedString;
using nlohmann::json;

constexpr std::size_t kMaxWarnings = 100;  // As upstream.

std::string_view token_name(char first) {
  switch (first) {
    case '"': return "string";
    case '{': return "object";
    case '[': return "array";
    case 't':
    case 'f': return "bool";
    default: return "number";
  }
}

bool starts_number(char c) {
  return c == '-' || (c >= '0' && c <= '9');
}

json zero_element(Kind kind) {
  switch (kind) {
    case Kind::String:
    case Kind::Bytes: return "";
    case Kind::Bool: return false;
    case Kind::Int32:
    case Kind::Int64:
    case Kind::Float64:
    case Kind::IntOrString: return 0;
    case Kind::Quantity: return "0";
    case Kind::Duration: return "0s";
    case Kind::Struct: return json::object();
    default: return nullptr;
  }
}

/// Reads one text by its schema. A value of the wrong type is noted (the first one counts) and skipped, so that a
/// syntax error further on is still found: Go, too, reports that first.
class Decoder {
 public:
  Decoder(std::string_view text, Strictness strictness) : in_(text), strict_(strictness != Strictness::Ignore) {}

  bool root(const Type& type, json& out);
  bool root_of_any(json& out) {
    return any(out, 0) && (in_.at_end() || in_.fail_at_character("after top-level value"));
  }
  JsonScanner& scanner() { return in_; }
  const std::string& value_error() const { return value_error_; }
  std::vector<std::string>& warnings() { return warnings_; }

 private:
  bool object(const Type& type, json& out, int depth);
  bool member(const Type& type, std::size_t& hint, std::bitset<256>& seen, json& out, int depth);
  bool known_member(const Type& type, const Field& field, const std::string& name, bool again, json& out, int depth);
  bool field_value(const Field& field, json& out, int depth);
  bool list(const Field& field, json& out, int depth);
  bool map(const Field& field, json& out, int depth);
  bool element(const Field& field, json& out, int depth);
  bool scalar(const Field& field, json& out);
  bool integer(const Field& field, std::int64_t low, std::int64_t high, json& out);
  bool text(const Field& field, json& out);
  bool quantity(const Field& field, json& out);
  bool any_array(json& out, int depth);
  bool any_object(json& out, int depth);
  bool schema_or(const Field& field, json& out, int depth);
  bool any(json& out, int depth);

  bool read_string(std::string& out);
  bool read_name(std::string& out);
  bool separator(char close, bool object, bool& more);
  bool enter(int depth) { return depth < api::detail::kMaxJsonDepth || in_.fail("exceeded max depth"); }
  bool wrong_type(std::string_view value, std::string_view go_type);
  bool skip_wrong(const std::string& go_type);
  void note(std::string error) {
    if (value_error_.empty()) value_error_ = std::move(error);
  }
  void warn(std::string_view what, std::string_view name);

  JsonScanner in_;
  bool strict_;
  bool quiet_ = false;                    ///< Inside a type that reads itself in Go; there nothing is reported.
  std::string path_;                      ///< "spec.containers[0]", kept only when strict.
  std::vector<std::string_view> fields_;  ///< Names of the fields on the way, as Go's errors list them.
  std::string_view struct_;               ///< The innermost struct.
  std::string value_error_;
  std::vector<std::string> warnings_;
};

bool Decoder::wrong_type(std::string_view value, std::string_view go_type) {
  if (!value_error_.empty()) return true;
  std::string message = "json: cannot unmarshal " + std::string(value) + " into Go ";
  if (fields_.empty()) {
    message += "value";
  } else {
    message += "struct field " + std::string(struct_);
    for (const std::string_view name : fields_) message += "." + std::string(name);
  }
  note(message + " of type " + std::string(go_type));
  return true;
}

bool Decoder::skip_wrong(const std::string& go_type) {
  const char first = in_.peek();
  if (starts_number(first)) {
    // Go names the number only where a number of another form was wanted.
    ScannedNumber number;
    if (!in_.number(number)) return false;
    return wrong_type("number", go_type);
  }
  const std::string_view name = token_name(first);
  if (!in_.skip_value(0)) return false;
  return wrong_type(name, go_type);
}

void Decoder::warn(std::string_view what, std::string_view name) {
  if (!strict_ || quiet_ || warnings_.size() >= kMaxWarnings) return;
  std::string warning = std::string(what) + " field \"" + path_ + (path_.empty() ? "" : ".") + std::string(name) + "\"";
  if (std::find(warnings_.begin(), warnings_.end(), warning) == warnings_.end())
    warnings_.push_back(std::move(warning));
}

bool Decoder::read_string(std::string& out) {
  ScannedString scanned;
  if (!in_.string(scanned)) return false;
  out.clear();
  if (scanned.escaped) {
    api::detail::unescape(scanned.raw, out);
  } else {
    out.assign(scanned.raw);
  }
  return true;
}

bool Decoder::read_name(std::string& out) {
  if (in_.peek() != '"') return in_.fail_at_character("looking for beginning of object key string");
  if (!read_string(out)) return false;
  if (in_.peek() != ':') return in_.fail_at_character("after object key");
  in_.advance();
  return true;
}

/// After a member or element: takes the comma (more = true) or the closing character.
bool Decoder::separator(char close, bool object, bool& more) {
  const char next = in_.peek();
  if (next != ',' && next != close) {
    return in_.fail_at_character(object ? "after object key:value pair" : "after array element");
  }
  in_.advance();
  more = next == ',';
  return true;
}

bool Decoder::root(const Type& type, json& out) {
  struct_ = type.name;
  bool good = true;
  if (in_.peek() == '{') {
    good = object(type, out, 0);
  } else if (in_.peek() == 'n') {
    out = json::object();
    good = in_.literal("null");
  } else {
    good = skip_wrong(std::string(go_type_name(type.id)));
  }
  if (good && !in_.at_end()) good = in_.fail_at_character("after top-level value");
  return good;
}

bool Decoder::object(const Type& type, json& out, int depth) {
  if (!enter(depth)) return false;
  out = json::object();
  in_.advance();
  if (in_.peek() == '}') {
    in_.advance();
    return true;
  }
  std::bitset<256> seen;
  std::size_t hint = 0;
  for (bool more = true; more;) {
    if (!member(type, hint, seen, out, depth)) return false;
    if (!separator('}', true, more)) return false;
  }
  return true;
}

bool Decoder::member(const Type& type, std::size_t& hint, std::bitset<256>& seen, json& out, int depth) {
  std::string name;
  if (!read_name(name)) return false;
  // Members usually come in the struct's order, so the next one is tried before the search.
  const auto members = type.members;
  std::size_t index = hint;
  if (index >= members.size() || members[index]->json != name) {
    const Field* found = type.find(name);
    if (found == nullptr) {
      warn("unknown", name);
      return in_.skip_value(depth + 1);
    }
    index = static_cast<std::size_t>(std::find(members.begin(), members.end(), found) - members.begin());
  }
  hint = index + 1;
  const bool again = seen[index];
  seen[index] = true;
  return known_member(type, *members[index], name, again, out, depth);
}

bool Decoder::known_member(const Type& type, const Field& field, const std::string& name, bool again, json& out,
                           int depth) {
  if (again) warn("duplicate", name);
  const std::size_t path_size = path_.size();
  if (strict_) {
    if (!path_.empty()) path_.push_back('.');
    path_ += name;
  }
  const std::string_view outer = struct_;
  struct_ = type.name;
  fields_.push_back(field.json);
  json value;
  const bool good = field_value(field, value, depth + 1);
  fields_.pop_back();
  struct_ = outer;
  path_.resize(path_size);
  if (good && !value.is_null()) out[name] = std::move(value);
  return good;
}

bool Decoder::field_value(const Field& field, json& out, int depth) {
  const char first = in_.peek();
  if (first == 'n') return in_.literal("null");
  switch (field.shape) {
    case Shape::Single: return element(field, out, depth);
    case Shape::List: return first == '[' ? list(field, out, depth) : skip_wrong(go_field_name(field));
    case Shape::Map: return first == '{' ? map(field, out, depth) : skip_wrong(go_field_name(field));
  }
  return true;
}

bool Decoder::list(const Field& field, json& out, int depth) {
  if (!enter(depth)) return false;
  out = json::array();
  in_.advance();
  if (in_.peek() == ']') {
    in_.advance();
    return true;
  }
  const std::size_t path_size = path_.size();
  for (bool more = true; more;) {
    if (strict_) path_ += "[" + std::to_string(out.size()) + "]";
    json& value = out.emplace_back();
    if (in_.peek() == 'n') {
      if (!in_.literal("null")) return false;
      value = zero_element(field.kind);
    } else if (!element(field, value, depth + 1)) {
      return false;
    }
    path_.resize(path_size);
    if (!separator(']', false, more)) return false;
  }
  return true;
}

bool Decoder::map(const Field& field, json& out, int depth) {
  if (!enter(depth)) return false;
  out = json::object();
  in_.advance();
  if (in_.peek() == '}') {
    in_.advance();
    return true;
  }
  const std::size_t path_size = path_.size();
  std::string name;
  for (bool more = true; more;) {
    if (!read_name(name)) return false;
    if (out.contains(name)) warn("duplicate", name);
    if (strict_) path_ += "." + name;
    json value;
    if (in_.peek() == 'n') {
      if (!in_.literal("null")) return false;
      value = zero_element(field.kind);
    } else if (!element(field, value, depth + 1)) {
      return false;
    }
    out[name] = std::move(value);
    path_.resize(path_size);
    if (!separator('}', true, more)) return false;
  }
  return true;
}

bool Decoder::element(const Field& field, json& out, int depth) {
  switch (field.kind) {
    case Kind::Struct: return in_.peek() == '{' ? object(*field.type, out, depth) : skip_wrong(go_element_name(field));
    case Kind::StringList: {
      if (in_.peek() != '[') return skip_wrong(go_element_name(field));
      Field strings = field;
      strings.kind = Kind::String;
      return list(strings, out, depth);
    }
    case Kind::RawExtension:
    case Kind::FieldsV1:
    case Kind::Json:
    case Kind::Any: return any(out, depth);
    case Kind::SchemaOrArray:
    case Kind::SchemaOrBool:
    case Kind::SchemaOrStringArray: return schema_or(field, out, depth);
    default: return scalar(field, out);
  }
}

bool Decoder::scalar(const Field& field, json& out) {
  const char first = in_.peek();
  switch (field.kind) {
    case Kind::Bool:
      if (first != 't' && first != 'f') return skip_wrong(go_element_name(field));
      out = first == 't';
      return in_.literal(first == 't' ? "true" : "false");
    case Kind::Int32: return integer(field, INT32_MIN, INT32_MAX, out);
    case Kind::Int64: return integer(field, INT64_MIN, INT64_MAX, out);
    case Kind::Float64: {
      ScannedNumber number;
      if (!starts_number(first)) return skip_wrong(go_element_name(field));
      if (!in_.number(number)) return false;
      out = number.number;
      return true;
    }
    case Kind::IntOrString: return first == '"' ? text(field, out) : integer(field, INT32_MIN, INT32_MAX, out);
    case Kind::Quantity: return quantity(field, out);
    default: return text(field, out);
  }
}

bool Decoder::integer(const Field& field, std::int64_t low, std::int64_t high, json& out) {
  if (!starts_number(in_.peek())) return skip_wrong(go_element_name(field));
  ScannedNumber number;
  if (!in_.number(number)) return false;
  if (!number.integral || number.integer < low || number.integer > high) {
    return wrong_type("number " + std::string(number.raw), go_element_name(field));
  }
  out = number.integer;
  return true;
}

bool Decoder::quantity(const Field& field, json& out) {
  std::string value;
  if (in_.peek() == '"') {
    if (!read_string(value)) return false;
  } else if (starts_number(in_.peek())) {
    ScannedNumber number;
    if (!in_.number(number)) return false;
    value = number.raw;
  } else {
    return skip_wrong(go_element_name(field));
  }
  const auto parsed = api::Quantity::parse(value);
  if (parsed) {
    out = parsed->to_string();
  } else {
    note(parsed.error().message());
  }
  return true;
}

/// Strings, and what is written as a string.
bool Decoder::text(const Field& field, json& out) {
  const char first = in_.peek();
  if (first != '"') return skip_wrong(go_element_name(field));
  std::string value;
  if (!read_string(value)) return false;
  if (field.kind == Kind::Time || field.kind == Kind::MicroTime) {
    const auto time = api::parse_time(value);
    if (!time) {
      note(time.error().message());
      return true;
    }
    value = field.kind == Kind::Time ? api::format_time(*time) : api::format_micro_time(*time);
  } else if (field.kind == Kind::Duration) {
    const auto duration = api::parse_duration(value);
    if (!duration) {
      note(duration.error().message());
      return true;
    }
    value = api::format_duration(*duration);
  } else if (field.kind == Kind::Bytes) {
    // Go takes line breaks in base64, and writes none.
    std::string bytes;
    if (std::string problem = base64_decode(value, bytes); !problem.empty()) {
      note(std::move(problem));
      return true;
    }
    value = base64_encode(bytes);
  }
  out = std::move(value);
  return true;
}

bool Decoder::schema_or(const Field& field, json& out, int depth) {
  const bool outer_quiet = std::exchange(quiet_, true);
  const char first = in_.peek();
  Field alternative = field;
  bool good = true;
  if (first == '{') {
    good = object(*field.type, out, depth);
  } else if (first == '[' && field.kind == Kind::SchemaOrArray) {
    alternative.kind = Kind::Struct;
    good = list(alternative, out, depth);
  } else if (first == '[' && field.kind == Kind::SchemaOrStringArray) {
    alternative.kind = Kind::String;
    good = list(alternative, out, depth);
  } else if ((first == 't' || first == 'f') && field.kind == Kind::SchemaOrBool) {
    out = first == 't';
    good = in_.literal(first == 't' ? "true" : "false");
  } else {
    if (field.kind == Kind::SchemaOrBool) note("boolean or JSON schema expected");
    good = in_.skip_value(depth);
  }
  quiet_ = outer_quiet;
  return good;
}

bool Decoder::any(json& out, int depth) {
  const char first = in_.peek();
  switch (first) {
    case '{': return any_object(out, depth);
    case '[': return any_array(out, depth);
    case 't': out = true; return in_.literal("true");
    case 'f': out = false; return in_.literal("false");
    case 'n': out = nullptr; return in_.literal("null");
    case '"': {
      std::string value;
      if (!read_string(value)) return false;
      out = std::move(value);
      return true;
    }
    default: break;
  }
  if (!starts_number(first)) return in_.fail_at_character("looking for beginning of value");
  ScannedNumber number;
  if (!in_.number(number)) return false;
  out = number.integral ? json(number.integer) : json(number.number);
  return true;
}

bool Decoder::any_array(json& out, int depth) {
  if (!enter(depth)) return false;
  out = json::array();
  in_.advance();
  if (in_.peek() == ']') {
    in_.advance();
    return true;
  }
  for (bool more = true; more;) {
    if (!any(out.emplace_back(), depth + 1)) return false;
    if (!separator(']', false, more)) return false;
  }
  return true;
}

bool Decoder::any_object(json& out, int depth) {
  if (!enter(depth)) return false;
  out = json::object();
  in_.advance();
  if (in_.peek() == '}') {
    in_.advance();
    return true;
  }
  std::string name;
  for (bool more = true; more;) {
    if (!read_name(name)) return false;
    if (!any(out[name], depth + 1)) return false;
    if (!separator('}', true, more)) return false;
  }
  return true;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

}  // namespace

Result<json> parse_any_json(std::string_view text) {
  Decoder decoder(text, Strictness::Ignore);
  json document;
  if (!decoder.root_of_any(document)) return Error(Reason::BadRequest, decoder.scanner().error());
  return Result<json>(std::move(document));
}

Result<Decoded> decode_json(const Type& type, std::string_view text, Strictness strictness) {
  Decoder decoder(text, strictness);
  Decoded decoded;
  if (!decoder.root(type, decoded.document)) return Error(Reason::BadRequest, decoder.scanner().error());
  if (!decoder.value_error().empty()) return Error(Reason::BadRequest, decoder.value_error());
  decoded.warnings = std::move(decoder.warnings());
  if (strictness == Strictness::Strict && !decoded.warnings.empty()) {
    return Error(Reason::BadRequest, "strict decoding error: " + joined(decoded.warnings));
  }
  return decoded;
}

}  // namespace kubernel::schema
