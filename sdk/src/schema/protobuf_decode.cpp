// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <bit>

#include <kubernel/api/quantity.h>
#include <kubernel/api/time.h>
#include <kubernel/schema/codec.h>

#include "api/json_scanner.h"
#include "schema/any_json.h"
#include "schema/base64.h"
#include "schema/protobuf.h"

namespace kubernel::schema {
namespace {

using nlohmann::json;
using wire::FieldHead;

Error malformed(std::string_view where) {
  return Error(Reason::BadRequest, "proto: malformed message " + std::string(where));
}

Error wrong_wire_type(const FieldHead& head, std::string_view where) {
  return Error(Reason::BadRequest, "proto: wrong wireType = " + std::to_string(static_cast<int>(head.type)) +
                                       " for field " + std::string(where));
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = api::detail::utf8_sequence(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

wire::Type wire_type(Kind kind) {
  switch (kind) {
    case Kind::Bool:
    case Kind::Int32:
    case Kind::Int64: return wire::Type::Varint;
    case Kind::Float64: return wire::Type::Fixed64;
    default: return wire::Type::Length;
  }
}

const Field* find_number(const Type& type, std::uint32_t number) {
  const auto at =
      std::lower_bound(type.proto_order.begin(), type.proto_order.end(), number,
                       [&](std::uint8_t index, std::uint32_t n) { return type.fields[index].proto_number < n; });
  if (at == type.proto_order.end() || type.fields[*at].proto_number != number) return nullptr;
  return &type.fields[*at];
}

/// The numbered fields of a small message of known form.
struct Parts {
  std::int64_t number[4] = {};
  std::string_view bytes[4] = {};
  bool has[4] = {};
};

Result<Parts> read_parts(std::string_view message, std::string_view where) {
  Parts parts;
  wire::Reader reader(message);
  while (!reader.at_end()) {
    FieldHead head;
    if (!reader.next(head)) return malformed(where);
    if (head.number > 3) continue;
    parts.has[head.number] = true;
    if (head.type == wire::Type::Length) {
      parts.bytes[head.number] = head.bytes;
    } else {
      parts.number[head.number] = static_cast<std::int64_t>(head.value);
    }
  }
  return parts;
}

Result<void> read_message(const Type& type, std::string_view message, json& out, int depth);
Result<json> read_value(const Field& field, const FieldHead& head, int depth);

Result<json> read_time(const Field& field, std::string_view message) {
  KUBERNEL_TRY(const Parts parts, read_parts(message, field.json));
  // Go's zero time is an empty message; JSON has null for it.
  if (!parts.has[1] && !parts.has[2]) return Result<json>(json());
  constexpr std::int64_t kLargest = INT64_MAX / 1'000'000'000;
  if (parts.number[1] > kLargest || parts.number[1] < -kLargest) return malformed(field.json);
  const api::WallTime time{std::chrono::duration_cast<api::WallTime::duration>(
      std::chrono::seconds(parts.number[1]) + std::chrono::nanoseconds(static_cast<std::int32_t>(parts.number[2])))};
  return Result<json>(json(field.kind == Kind::Time ? api::format_time(time) : api::format_micro_time(time)));
}

Result<json> read_raw(std::string_view message, std::string_view where) {
  KUBERNEL_TRY(const Parts parts, read_parts(message, where));
  if (parts.bytes[1].empty()) return Result<json>(json());
  return parse_any_json(parts.bytes[1]);
}

Result<json> read_strings(std::string_view message, std::uint32_t number, std::string_view where) {
  json list = json::array();
  wire::Reader reader(message);
  while (!reader.at_end()) {
    FieldHead head;
    if (!reader.next(head)) return malformed(where);
    if (head.number != number || head.type != wire::Type::Length) continue;
    if (!is_utf8(head.bytes)) return malformed(where);
    list.push_back(std::string(head.bytes));
  }
  return Result<json>(std::move(list));
}

Result<json> read_schemas(const Field& field, std::string_view message, int depth) {
  json list = json::array();
  wire::Reader reader(message);
  while (!reader.at_end()) {
    FieldHead head;
    if (!reader.next(head)) return malformed(field.json);
    if (head.number != 2 || head.type != wire::Type::Length) continue;
    json& schema = list.emplace_back(json::object());
    KUBERNEL_CHECK_OK(read_message(*field.type, head.bytes, schema, depth + 1));
  }
  return Result<json>(std::move(list));
}

Result<json> read_schema_or(const Field& field, std::string_view message, int depth) {
  KUBERNEL_TRY(const Parts parts, read_parts(message, field.json));
  const int schema_number = field.kind == Kind::SchemaOrBool ? 2 : 1;
  if (parts.has[schema_number]) {
    json schema = json::object();
    KUBERNEL_CHECK_OK(read_message(*field.type, parts.bytes[schema_number], schema, depth + 1));
    return Result<json>(std::move(schema));
  }
  if (field.kind == Kind::SchemaOrBool) return Result<json>(json(parts.number[1] != 0));
  if (field.kind == Kind::SchemaOrStringArray) return read_strings(message, 2, field.json);
  return read_schemas(field, message, depth);
}

Result<json> read_quantity(const Field& field, std::string_view message) {
  KUBERNEL_TRY(const Parts parts, read_parts(message, field.json));
  if (parts.bytes[1].empty()) return Result<json>(json("0"));
  const auto quantity = api::Quantity::parse(parts.bytes[1]);
  if (!quantity) return Error(Reason::BadRequest, quantity.error().message());
  return Result<json>(json(quantity->to_string()));
}

Result<json> read_int_or_string(const Field& field, std::string_view message) {
  KUBERNEL_TRY(const Parts parts, read_parts(message, field.json));
  if (parts.number[1] == 0) return Result<json>(json(static_cast<std::int32_t>(parts.number[2])));
  if (!is_utf8(parts.bytes[3])) return malformed(field.json);
  return Result<json>(json(std::string(parts.bytes[3])));
}

/// What is a message in protobuf.
Result<json> read_body(const Field& field, std::string_view message, int depth) {
  switch (field.kind) {
    case Kind::Struct: {
      json object = json::object();
      KUBERNEL_CHECK_OK(read_message(*field.type, message, object, depth + 1));
      return Result<json>(std::move(object));
    }
    case Kind::Quantity: return read_quantity(field, message);
    case Kind::Time:
    case Kind::MicroTime: return read_time(field, message);
    case Kind::Duration: {
      KUBERNEL_TRY(const Parts parts, read_parts(message, field.json));
      return Result<json>(json(api::format_duration(std::chrono::nanoseconds(parts.number[1]))));
    }
    case Kind::IntOrString: return read_int_or_string(field, message);
    case Kind::RawExtension:
    case Kind::FieldsV1:
    case Kind::Json: return read_raw(message, field.json);
    case Kind::StringList: return read_strings(message, 1, field.json);
    default: return read_schema_or(field, message, depth);
  }
}

Result<json> read_value(const Field& field, const FieldHead& head, int depth) {
  if (head.type != wire_type(field.kind)) return wrong_wire_type(head, field.json);
  switch (field.kind) {
    case Kind::String:
      if (!is_utf8(head.bytes)) return malformed(field.json);
      return Result<json>(json(std::string(head.bytes)));
    case Kind::Bool: return Result<json>(json(head.value != 0));
    case Kind::Int32: return Result<json>(json(static_cast<std::int32_t>(head.value)));
    case Kind::Int64: return Result<json>(json(static_cast<std::int64_t>(head.value)));
    case Kind::Float64: return Result<json>(json(std::bit_cast<double>(head.value)));
    case Kind::Bytes: return Result<json>(json(base64_encode(head.bytes)));
    default: return read_body(field, head.bytes, depth);
  }
}

Result<void> read_map_entry(const Field& field, std::string_view message, json& map, int depth) {
  std::string key;
  json value;
  wire::Reader reader(message);
  while (!reader.at_end()) {
    FieldHead head;
    if (!reader.next(head)) return malformed(field.json);
    if (head.number == 1 && head.type == wire::Type::Length) {
      if (!is_utf8(head.bytes)) return malformed(field.json);
      key = head.bytes;
    } else if (head.number == 2) {
      KUBERNEL_TRY(value, read_value(field, head, depth));
    }
  }
  map[key] = std::move(value);
  return {};
}

/// Repeated numbers may also come packed, as every reader of protobuf takes them.
Result<void> read_packed(const Field& field, const FieldHead& head, json& list, int depth) {
  if (wire_type(field.kind) != wire::Type::Varint) return wrong_wire_type(head, field.json);
  // Each number gets a tag in front, which makes it a message the reader knows.
  for (std::size_t at = 0; at < head.bytes.size();) {
    std::size_t end = at;
    while (end < head.bytes.size() && (static_cast<unsigned char>(head.bytes[end]) & 0x80) != 0) ++end;
    if (end == head.bytes.size()) return malformed(field.json);
    const std::string message = "\x08" + std::string(head.bytes.substr(at, end + 1 - at));
    wire::Reader reader(message);
    FieldHead number;
    if (!reader.next(number)) return malformed(field.json);
    KUBERNEL_TRY(json value, read_value(field, number, depth));
    list.push_back(std::move(value));
    at = end + 1;
  }
  return {};
}

bool is_zero(const json& value) {
  if (value.is_string()) return value.get_ref<const std::string&>().empty();
  if (value.is_boolean()) return !value.get<bool>();
  return value.is_number() && value == 0;
}

Result<void> read_field(const Field& field, const FieldHead& head, json& out, int depth) {
  const std::string name(field.json);
  if (field.embedded) {
    if (head.type != wire::Type::Length) return wrong_wire_type(head, field.type->name);
    return read_message(*field.type, head.bytes, out, depth);
  }
  if (name.empty()) return {};
  if (field.shape == Shape::Map) {
    if (head.type != wire::Type::Length) return wrong_wire_type(head, field.json);
    json& map = out[name];
    if (map.is_null()) map = json::object();
    return read_map_entry(field, head.bytes, map, depth);
  }
  if (field.shape == Shape::List) {
    json& list = out[name];
    if (list.is_null()) list = json::array();
    if (head.type == wire::Type::Length && wire_type(field.kind) != wire::Type::Length) {
      return read_packed(field, head, list, depth);
    }
    KUBERNEL_TRY(json value, read_value(field, head, depth));
    list.push_back(std::move(value));
    return {};
  }
  KUBERNEL_TRY(json value, read_value(field, head, depth));
  // JSON has neither null nor, with omitempty, a zero that is no pointer.
  const bool scalar = field.kind <= Kind::Bytes;
  if (value.is_null() || (scalar && field.omitempty && !field.pointer && is_zero(value))) {
    out.erase(name);
  } else {
    out[name] = std::move(value);
  }
  return {};
}

Result<void> read_message(const Type& type, std::string_view message, json& out, int depth) {
  if (depth > api::detail::kMaxJsonDepth) return Error(Reason::BadRequest, "exceeded max depth");
  wire::Reader reader(message);
  while (!reader.at_end()) {
    FieldHead head;
    if (!reader.next(head)) return malformed(type.name);
    const Field* field = find_number(type, head.number);
    if (field == nullptr) continue;  // A newer client's.
    KUBERNEL_CHECK_OK(read_field(*field, head, out, depth));
  }
  return {};
}

/// runtime.Unknown.
struct Envelope {
  std::string_view api_version, kind, message, content_encoding, content_type;
};

Result<Envelope> open_envelope(std::string_view bytes) {
  if (bytes.substr(0, wire::kMagic.size()) != wire::kMagic) {
    return Error(Reason::BadRequest,
                 "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]");
  }
  Envelope envelope;
  wire::Reader reader(bytes.substr(wire::kMagic.size()));
  while (!reader.at_end()) {
    FieldHead head;
    if (!reader.next(head)) return malformed("Unknown");
    if (head.type != wire::Type::Length) continue;
    if (head.number == 1) {
      KUBERNEL_TRY(const Parts parts, read_parts(head.bytes, "TypeMeta"));
      envelope.api_version = parts.bytes[1];
      envelope.kind = parts.bytes[2];
    }
    if (head.number == 2) envelope.message = head.bytes;
    if (head.number == 3) envelope.content_encoding = head.bytes;
    if (head.number == 4) envelope.content_type = head.bytes;
  }
  return envelope;
}

}  // namespace

Result<std::string_view> protobuf_message(std::string_view bytes) {
  KUBERNEL_TRY(const Envelope envelope, open_envelope(bytes));
  return envelope.message;
}

Result<json> decode_message(const Type& type, std::string_view message) {
  json document = json::object();
  KUBERNEL_CHECK_OK(read_message(type, message, document, 0));
  return Result<json>(std::move(document));
}

Result<Decoded> decode_protobuf(std::string_view bytes) {
  KUBERNEL_TRY(const Envelope envelope, open_envelope(bytes));
  if (!envelope.content_encoding.empty() || !envelope.content_type.empty()) {
    return Error(Reason::BadRequest, "the protobuf envelope has content type \"" + std::string(envelope.content_type) +
                                         "\" and encoding \"" + std::string(envelope.content_encoding) +
                                         "\", which cannot be decoded");
  }
  const api::GroupVersionKind gvk = api::make_gvk(envelope.api_version, envelope.kind);
  const Type* type = find_kind(gvk.group, gvk.version, gvk.kind);
  if (type == nullptr || !type->has_proto) {
    return Error(Reason::BadRequest,
                 "no kind \"" + gvk.kind + "\" is registered for version \"" + gvk.api_version() + "\"");
  }
  Decoded decoded;
  KUBERNEL_TRY(decoded.document, decode_message(*type, envelope.message));
  decoded.document["apiVersion"] = gvk.api_version();
  decoded.document["kind"] = gvk.kind;
  return decoded;
}

}  // namespace kubernel::schema
