// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <vector>

#include <kubernel/api/time.h>
#include <kubernel/schema/codec.h>

#include "schema/base64.h"
#include "schema/protobuf.h"

namespace kubernel::schema {
namespace {

using api::Value;
using wire::ReverseWriter;

std::uint64_t bits(std::int64_t value) {
  return static_cast<std::uint64_t>(value);
}

bool is_there(Value value) {
  return value && !value.is_null();
}

/// Writes messages; everything back to front.
class Encoder {
 public:
  ReverseWriter& out() { return out_; }

  void message(const Type& type, Value value) {
    for (auto index = type.proto_order.rbegin(); index != type.proto_order.rend(); ++index) {
      const Field& field = type.fields[*index];
      if (field.embedded) {
        const std::size_t before = out_.size();
        message(*field.type, value);
        out_.close(field.proto_number, before);
      } else {
        member(field, value[field.json]);
      }
    }
  }

 private:
  void member(const Field& field, Value value) {
    switch (field.shape) {
      case Shape::List:
        for (std::size_t i = value.size(); i-- > 0;) element(field, field.proto_number, value.at(i));
        return;
      case Shape::Map: return map(field, value);
      case Shape::Single: break;
    }
    // What Go holds as a pointer or as bytes may be absent; all else is written even when it is zero.
    if (!is_there(value) && (field.pointer || field.kind == Kind::Bytes)) return;
    element(field, field.proto_number, value);
  }

  void map(const Field& field, Value value) {
    std::vector<std::pair<std::string_view, Value>> entries;
    for (auto it = value.begin(); it != value.end(); ++it) entries.emplace_back(it.key(), *it);
    std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
    for (const auto& [key, item] : entries) {
      const std::size_t before = out_.size();
      element(field, 2, item);
      out_.bytes_field(1, key);
      out_.close(field.proto_number, before);
    }
  }

  void element(const Field& field, std::uint32_t number, Value value) {
    switch (field.kind) {
      case Kind::String: return out_.bytes_field(number, value.string());
      case Kind::Bool: return out_.varint_field(number, value.boolean() ? 1 : 0);
      case Kind::Int32:
      case Kind::Int64: return out_.varint_field(number, bits(value.integer()));
      case Kind::Float64: return out_.double_field(number, value.number());
      case Kind::Bytes: return bytes(number, value);
      default: break;
    }
    const std::size_t before = out_.size();
    body(field, value);
    out_.close(number, before);
  }

  void bytes(std::uint32_t number, Value value) {
    std::string raw;
    base64_decode(value.string(), raw);  // What is no base64 was refused when the object came in.
    out_.bytes_field(number, raw);
  }

  /// What is a message in protobuf.
  void body(const Field& field, Value value) {
    switch (field.kind) {
      case Kind::Struct: return message(*field.type, value);
      case Kind::Quantity: return quantity(value);
      case Kind::Time:
      case Kind::MicroTime: return time(value);
      case Kind::Duration: return duration(value);
      case Kind::IntOrString: return int_or_string(value);
      case Kind::RawExtension:
      case Kind::FieldsV1:
      case Kind::Json:
        if (is_there(value)) out_.bytes_field(1, value.dump());
        return;
      case Kind::StringList:
        for (std::size_t i = value.size(); i-- > 0;) out_.bytes_field(1, value.at(i).string());
        return;
      default: return schema_or(field, value);
    }
  }

  void quantity(Value value) {
    if (value.is_string()) return out_.bytes_field(1, value.string());
    out_.bytes_field(1, is_there(value) ? value.dump() : "0");
  }

  void time(Value value) {
    const auto time = api::read_time(value);
    if (!time) return;
    const auto seconds = std::chrono::floor<std::chrono::seconds>(*time);
    out_.varint_field(2, bits(std::chrono::duration_cast<std::chrono::nanoseconds>(*time - seconds).count()));
    out_.varint_field(1, bits(seconds.time_since_epoch().count()));
  }

  void duration(Value value) {
    const auto duration = api::parse_duration(value.string("0s"));
    out_.varint_field(1, duration ? bits(duration->count()) : 0);
  }

  void int_or_string(Value value) {
    out_.bytes_field(3, value.string());
    out_.varint_field(2, bits(value.integer()));
    out_.varint_field(1, value.is_string() ? 1 : 0);
  }

  void schema_or(const Field& field, Value value) {
    const bool is_schema = value.is_object();
    const std::uint32_t schema_number = field.kind == Kind::SchemaOrBool ? 2 : 1;
    for (std::size_t i = value.size(); i-- > 0 && value.is_array();) {
      if (field.kind == Kind::SchemaOrStringArray) {
        out_.bytes_field(2, value.at(i).string());
      } else {
        schema(field, 2, value.at(i));
      }
    }
    if (is_schema) schema(field, schema_number, value);
    if (field.kind == Kind::SchemaOrBool) out_.varint_field(1, is_schema || value.boolean() ? 1 : 0);
  }

  void schema(const Field& field, std::uint32_t number, Value value) {
    const std::size_t before = out_.size();
    message(*field.type, value);
    out_.close(number, before);
  }

  ReverseWriter out_;
};

Error no_protobuf(std::string_view name) {
  return Error(Reason::NotAcceptable, "object " + std::string(name) +
                                          " does not implement the protobuf marshalling interface "
                                          "and cannot be encoded to a protobuf message");
}

/// The message, which `write` writes, inside runtime.Unknown behind "k8s\0".
template <class Write>
std::string enveloped(ReverseWriter& out, std::string_view api_version, std::string_view kind, Write write) {
  out.bytes_field(4, {});
  out.bytes_field(3, {});
  const std::size_t message = out.size();
  write();
  out.close(2, message);
  const std::size_t type_meta = out.size();
  out.bytes_field(2, kind);
  out.bytes_field(1, api_version);
  out.close(1, type_meta);
  out.bytes(wire::kMagic);
  return out.take();
}

}  // namespace

Result<std::string> encode_message(const Type& type, Value value) {
  if (!type.has_proto) return no_protobuf(type.id);
  Encoder encoder;
  encoder.message(type, value);
  return encoder.out().take();
}

Result<std::string> encode_protobuf(Value value) {
  const api::GroupVersionKind gvk = api::make_gvk(value["apiVersion"].string(), value["kind"].string());
  const Type* type = find_kind(gvk.group, gvk.version, gvk.kind);
  if (type == nullptr || !type->has_proto) return no_protobuf(gvk.api_version() + " " + gvk.kind);
  Encoder encoder;
  return enveloped(encoder.out(), gvk.api_version(), gvk.kind, [&] { encoder.message(*type, value); });
}

std::string encode_protobuf_list(std::string_view api_version, std::string_view kind, Value metadata,
                                 std::span<const std::string_view> items) {
  static const Type* const kListMeta = find_type("k8s.io.apimachinery.pkg.apis.meta.v1.ListMeta");
  Encoder encoder;
  ReverseWriter& out = encoder.out();
  return enveloped(out, api_version, kind, [&] {
    for (std::size_t i = items.size(); i-- > 0;) out.bytes_field(2, items[i]);
    const std::size_t before = out.size();
    encoder.message(*kListMeta, metadata);
    out.close(1, before);
  });
}

std::string encode_watch_event(std::string_view event_type, std::string_view object) {
  ReverseWriter out;
  out.bytes_field(1, object);
  out.close(2, 0);
  out.bytes_field(1, event_type);
  return out.take();
}

}  // namespace kubernel::schema
