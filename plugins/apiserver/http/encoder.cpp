// SPDX-License-Identifier: Apache-2.0
#include "http/encoder.h"

#include <utility>
#include <vector>

#include <kubernel/schema/codec.h>
#include <kubernel/schema/table.h>

#include "pipeline/conversion.h"
#include "registry/errors.h"
#include "watch_cache/splice.h"

namespace kubernel::apiserver {

namespace {

std::string indent(const std::string& text) {
  const auto document = nlohmann::ordered_json::parse(text, nullptr, false);
  return document.is_discarded() ? text : document.dump(2) + "\n";
}

std::string list_meta(Revision revision, const std::string& token, const std::optional<std::int64_t>& remaining) {
  json meta = {{"resourceVersion", std::to_string(revision)}};
  if (!token.empty()) meta["continue"] = token;
  if (remaining) meta["remainingItemCount"] = *remaining;
  return meta.dump();
}

// Encoded from a parsed copy: the shared object in the cache keeps only its text.
Result<std::string> to_protobuf(const std::string& text_in) {
  KUBERNEL_TRY(const auto document, api::Document::parse(text_in));
  return schema::encode_protobuf(document->root());
}

// A frame of a protobuf stream begins with its length, four bytes, the highest first.
std::string framed(std::string_view event) {
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(event.size() >> shift & 255);
  return out.append(event);
}

// Typed lists carry kind and apiVersion once, not in each item.
void append_item(std::string& out, const std::string& text, const std::string& prefix) {
  if (text.starts_with(prefix)) {
    out += '{';
    out.append(text, prefix.size());
  } else {
    out += text;
  }
}

}  // namespace

json make_status(const Error& error) {
  json status = {{"kind", "Status"},           {"apiVersion", "v1"},         {"metadata", json::object()},
                 {"status", "Failure"},        {"message", error.message()}, {"reason", to_string(error.reason())},
                 {"code", error.http_status()}};
  // Upstream's internal errors have their own wording and no other reason.
  if (error.reason() == Reason::Internal) {
    status["reason"] = "InternalError";
    status["message"] = "Internal error occurred: " + error.message();
  }
  if (error.reason() == Reason::Cancelled) status["reason"] = "ServiceUnavailable";
  const ErrorDetails* details = error.details();
  if (details == nullptr) return status;
  json out = json::object();
  if (!details->name.empty()) out["name"] = details->name;
  if (!details->group.empty()) out["group"] = details->group;
  if (!details->kind.empty()) out["kind"] = details->kind;
  if (!details->uid.empty()) out["uid"] = details->uid;
  for (const Cause& cause : details->causes) {
    json one = {{"reason", cause.reason}, {"message", cause.message}};
    if (!cause.field.empty()) one["field"] = cause.field;
    out["causes"].push_back(std::move(one));
  }
  if (details->retry_after_seconds != 0) out["retryAfterSeconds"] = details->retry_after_seconds;
  status["details"] = std::move(out);
  return status;
}

net::Response json_response(int status, const json& document, bool pretty) {
  net::Response out;
  out.status = status;
  out.headers.set("content-type", "application/json");
  out.body = pretty ? document.dump(2) + "\n" : document.dump() + "\n";
  return out;
}

net::Response status_response(const Error& error) {
  net::Response out = json_response(error.http_status(), make_status(error), false);
  if (const ErrorDetails* details = error.details(); details != nullptr && details->retry_after_seconds != 0) {
    out.headers.set("retry-after", std::to_string(details->retry_after_seconds));
  }
  return out;
}

net::Response text_response(int status, std::string text) {
  net::Response out;
  out.status = status;
  out.headers.set("content-type", "text/plain; charset=utf-8");
  out.headers.set("x-content-type-options", "nosniff");
  out.body = std::move(text);
  return out;
}

std::string Encoder::content_type() const {
  return accepted_.encoding == Encoding::Protobuf ? "application/vnd.kubernetes.protobuf" : "application/json";
}

std::string Encoder::finish(std::string json_text) const {
  if (accepted_.pretty) return indent(json_text);
  json_text += '\n';
  return json_text;
}

std::string Encoder::table_head(bool columns) const {
  std::string out = R"({"kind":"Table","apiVersion":"meta.k8s.io/)" + accepted_.form_version + "\"";
  json definitions = json::array();
  if (columns) {
    for (const schema::Column& column : schema::columns(info_.group, info_.version, info_.kind)) {
      definitions.push_back({{"name", column.name},
                             {"type", column.type},
                             {"format", column.format},
                             {"description", column.description},
                             {"priority", column.priority}});
    }
  }
  return out + ",\"columnDefinitions\":" + (columns ? definitions.dump() : "null");
}

std::string Encoder::partial(const api::Object& object) const {
  return R"({"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/)" + accepted_.form_version + R"(","metadata":)" +
         std::string(raw_metadata(object.json())) + "}";
}

std::string Encoder::row(const api::Object& object) const {
  // Cells read the parsed body. A copy is parsed, so that the shared object in the cache does not keep one.
  const auto copy = api::Object::parse(object.json());
  std::string out = "{\"cells\":" + (copy ? schema::cells(*copy, now_).dump() : "[]") + ",\"object\":";
  if (include_object_ == "Object") {
    out += object.json();
  } else if (include_object_ == "None") {
    out += "null";
  } else {
    out += partial(object);
  }
  return out + "}";
}

Result<std::string> Encoder::object(const api::Object& object) const {
  // A Status (of a binding, say) is written as it is, whatever form was asked for.
  const bool own = object.head().gvk.kind != "Status";
  if (own && accepted_.form == Form::Table) {
    return finish(table_head(true) + R"(,"metadata":{"resourceVersion":")" +
                  std::to_string(object.head().resource_version) + R"("},"rows":[)" + row(object) + "]}");
  }
  if (own && accepted_.form == Form::Metadata) return finish(partial(object));
  if (accepted_.encoding == Encoding::Protobuf) return to_protobuf(object.json());
  return finish(object.json());
}

Result<std::string> Encoder::list(const ListResult& list) const {
  const std::string meta = list_meta(list.revision, list.continue_token, list.remaining);
  std::string out;
  std::size_t bytes = 256;
  for (const api::Object& item : list.items) bytes += item.json().size() + 1;
  out.reserve(bytes);
  if (accepted_.form == Form::Table) {
    out = table_head(true) + ",\"metadata\":" + meta + ",\"rows\":[";
    for (std::size_t i = 0; i < list.items.size(); ++i) out.append(i == 0 ? "" : ",").append(row(list.items[i]));
    return finish(out + "]}");
  }
  if (accepted_.form == Form::Metadata) {
    out = R"({"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/)" + accepted_.form_version +
          "\",\"metadata\":" + meta + ",\"items\":[";
    for (std::size_t i = 0; i < list.items.size(); ++i) out.append(i == 0 ? "" : ",").append(partial(list.items[i]));
    return finish(out + "]}");
  }
  const std::string api_version =
      info_.group.empty() ? std::string(info_.version) : std::string(info_.group) + "/" + std::string(info_.version);
  if (accepted_.encoding == Encoding::Protobuf) {
    std::vector<std::string> items;
    std::vector<std::string_view> messages;
    items.reserve(list.items.size());
    for (const api::Object& item : list.items) {
      KUBERNEL_TRY(std::string encoded, to_protobuf(item.json()));
      items.push_back(std::move(encoded));
      KUBERNEL_TRY(const std::string_view message, schema::protobuf_message(items.back()));
      messages.push_back(message);
    }
    KUBERNEL_TRY(const auto list_metadata, api::Document::parse(meta));
    return schema::encode_protobuf_list(api_version, info_.list_kind, list_metadata->root(), messages);
  }
  const std::string prefix = "{\"kind\":\"" + std::string(info_.kind) + "\",\"apiVersion\":\"" + api_version + "\",";
  out += "{\"kind\":\"" + std::string(info_.list_kind) + "\",\"apiVersion\":\"" + api_version +
         "\",\"metadata\":" + meta + ",\"items\":[";
  for (std::size_t i = 0; i < list.items.size(); ++i) {
    if (i != 0) out += ',';
    append_item(out, list.items[i].json(), prefix);
  }
  out += "]}";
  return finish(std::move(out));
}

Result<std::string> Encoder::event(const client::WatchEvent& stored, bool first) const {
  client::WatchEvent event = stored;
  KUBERNEL_TRY(event.object, convert_out(info_, stored.object));
  constexpr std::string_view kNames[] = {"ADDED", "MODIFIED", "DELETED", "BOOKMARK"};
  if (accepted_.encoding == Encoding::Protobuf) {
    KUBERNEL_TRY(const std::string object, to_protobuf(event.object.json()));
    return framed(schema::encode_watch_event(kNames[static_cast<std::size_t>(event.type)], object));
  }
  std::string out;
  out.reserve(event.object.json().size() + 64);
  out.append("{\"type\":\"").append(kNames[static_cast<std::size_t>(event.type)]).append("\",\"object\":");
  if (accepted_.form == Form::Table) {
    out += table_head(first) + R"(,"metadata":{"resourceVersion":")" +
           std::to_string(event.object.head().resource_version) + R"("},"rows":[)" + row(event.object) + "]}";
  } else if (accepted_.form == Form::Metadata) {
    out += partial(event.object);
  } else {
    out += event.object.json();
  }
  out += "}\n";
  return out;
}

std::string Encoder::error_event(const Error& error) const {
  if (accepted_.encoding == Encoding::Protobuf) {
    const auto status = to_protobuf(make_status(error).dump());
    return status ? framed(schema::encode_watch_event("ERROR", *status)) : std::string();
  }
  return json{{"type", "ERROR"}, {"object", make_status(error)}}.dump() + "\n";
}

}  // namespace kubernel::apiserver
