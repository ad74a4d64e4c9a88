// SPDX-License-Identifier: Apache-2.0
#include "client/http_paths.h"

#include <algorithm>
#include <charconv>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include <kubernel/client/http.h>

namespace kubernel::client {

using nlohmann::json;

namespace {

Reason reason_of_code(int code) {
  switch (code) {
    case 400: return Reason::BadRequest;
    case 401: return Reason::Unauthorized;
    case 403: return Reason::Forbidden;
    case 404: return Reason::NotFound;
    case 405: return Reason::MethodNotAllowed;
    case 406: return Reason::NotAcceptable;
    case 409: return Reason::Conflict;
    case 410: return Reason::Expired;
    case 413: return Reason::RequestEntityTooLarge;
    case 415: return Reason::UnsupportedMediaType;
    case 422: return Reason::Invalid;
    case 429: return Reason::TooManyRequests;
    case 503: return Reason::ServiceUnavailable;
    case 504: return Reason::Timeout;
    default: return code >= 500 ? Reason::Internal : Reason::BadRequest;
  }
}

}  // namespace

Error read_status_error(int http_status, std::string_view body) {
  const auto fallback = [&] {
    return Error(reason_of_code(http_status),
                 "the server answered " + std::to_string(http_status) + " without a Status");
  };
  const auto document = api::Document::parse(std::string(body));
  if (!document || (*document)->root()["kind"].string() != "Status") return fallback();
  const api::Value status = (*document)->root();
  const auto word = status["reason"].string();
  Reason reason = parse_reason(word);
  // A reason this client does not know still has its code.
  if (word.empty() || to_string(reason) != word)
    reason = reason_of_code(static_cast<int>(status["code"].integer(http_status)));
  ErrorDetails details;
  const api::Value told = status["details"];
  details.name = told["name"].string();
  details.group = told["group"].string();
  details.kind = told["kind"].string();
  details.uid = told["uid"].string();
  details.retry_after_seconds = static_cast<int>(told["retryAfterSeconds"].integer());
  for (const api::Value cause : told["causes"]) {
    details.causes.push_back({std::string(cause["reason"].string()), std::string(cause["message"].string()),
                              std::string(cause["field"].string())});
  }
  return Error(reason, std::string(status["message"].string()), std::move(details));
}

namespace http {

using api::Object;
using api::Value;

std::string percent_encode(std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '.' || c == '_' || c == '~';
    if (plain) {
      out += c;
    } else {
      out += '%';
      out += kHex[byte >> 4U];
      out += kHex[byte & 15U];
    }
  }
  return out;
}

std::string path(const api::Resource& resource, std::string_view ns, std::string_view name,
                 std::string_view subresource) {
  std::string out =
      resource.group.empty() ? "/api/" + resource.version : "/apis/" + resource.group + "/" + resource.version;
  // The namespaces themselves are cluster-scoped.
  if (!ns.empty()) out += "/namespaces/" + percent_encode(ns);
  out += "/" + resource.plural;
  if (!name.empty()) out += "/" + percent_encode(name);
  if (!subresource.empty()) out += "/" + std::string(subresource);
  return out;
}

Query& Query::add(std::string_view name, std::string_view value) {
  if (value.empty()) return *this;
  text_ += text_.empty() ? '?' : '&';
  text_ += std::string(name) + "=" + percent_encode(value);
  return *this;
}

json delete_options(const DeleteOptions& options) {
  json out = {{"apiVersion", "v1"}, {"kind", "DeleteOptions"}};
  if (options.grace_period_seconds) out["gracePeriodSeconds"] = *options.grace_period_seconds;
  if (!options.precondition_uid.empty()) out["preconditions"]["uid"] = options.precondition_uid;
  if (!options.precondition_resource_version.empty())
    out["preconditions"]["resourceVersion"] = options.precondition_resource_version;
  switch (options.propagation) {
    case Propagation::Default: break;
    case Propagation::Background: out["propagationPolicy"] = "Background"; break;
    case Propagation::Foreground: out["propagationPolicy"] = "Foreground"; break;
    case Propagation::Orphan: out["propagationPolicy"] = "Orphan"; break;
  }
  if (options.dry_run) out["dryRun"] = json::array({"All"});
  return out;
}

namespace {

std::int64_t revision(Value text) {
  const auto string = text.string();
  std::int64_t out = 0;
  std::from_chars(string.data(), string.data() + string.size(), out);
  return out;
}

}  // namespace

Result<ObjectList> read_list(std::string body) {
  KUBERNEL_TRY(const auto document, api::Document::parse(std::move(body)));
  const Value list = document->root();
  const auto list_kind = list["kind"].string();
  if (!list_kind.ends_with("List"))
    return Error(Reason::BadRequest, "expected a list, got kind \"" + std::string(list_kind) + "\"");
  const std::string head = "{\"apiVersion\":\"" + std::string(list["apiVersion"].string()) + "\",\"kind\":\"" +
                           std::string(list_kind.substr(0, list_kind.size() - 4)) + "\",";
  ObjectList out;
  out.resource_version = revision(list["metadata"]["resourceVersion"]);
  out.continue_token = list["metadata"]["continue"].string();
  out.items.reserve(list["items"].size());
  for (const Value item : list["items"]) {
    std::string text = item.dump();
    // An item is never empty: it has metadata.
    if (!item["kind"] && text.size() > 2) text = head + text.substr(1);
    KUBERNEL_TRY(Object object, Object::parse(std::move(text)));
    out.items.push_back(std::move(object));
  }
  return out;
}

Result<WatchEvent> read_event(std::string_view line) {
  KUBERNEL_TRY(const auto document, api::Document::parse(std::string(line)));
  const Value event = document->root();
  const auto type = event["type"].string();
  if (type == "ERROR") return read_status_error(500, event["object"].dump());
  WatchEvent out;
  if (type == "ADDED") {
    out.type = EventType::Added;
  } else if (type == "MODIFIED") {
    out.type = EventType::Modified;
  } else if (type == "DELETED") {
    out.type = EventType::Deleted;
  } else if (type == "BOOKMARK") {
    out.type = EventType::Bookmark;
  } else {
    return Error(Reason::BadRequest, "unknown watch event type \"" + std::string(type) + "\"");
  }
  KUBERNEL_TRY(out.object, Object::parse(event["object"].dump()));
  return out;
}

Result<std::vector<ApiClient::DiscoveredResource>> read_discovery(const std::vector<std::string>& documents) {
  std::vector<ApiClient::DiscoveredResource> out;
  for (const std::string& text : documents) {
    KUBERNEL_TRY(const auto document, api::Document::parse(text));
    const Value root = document->root();
    if (root["kind"].string() != "APIGroupDiscoveryList") {
      return Error(Reason::NotAcceptable, "the server has no aggregated discovery");
    }
    for (const Value group : root["items"]) {
      std::set<std::string> seen;  // Versions come in order of preference: the first that has a resource is its own.
      for (const Value version : group["versions"]) {
        for (const Value resource : version["resources"]) {
          const std::string plural(resource["resource"].string());
          if (!seen.insert(plural).second) continue;
          ApiClient::DiscoveredResource found;
          found.resource = {std::string(group["metadata"]["name"].string()), std::string(version["version"].string()),
                            plural};
          found.kind = resource["responseKind"]["kind"].string();
          found.namespaced = resource["scope"].string() == "Namespaced";
          for (const Value verb : resource["verbs"]) found.verbs.emplace_back(verb.string());
          out.push_back(std::move(found));
        }
      }
    }
  }
  return out;
}

}  // namespace http
}  // namespace kubernel::client
