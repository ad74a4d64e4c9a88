// SPDX-License-Identifier: Apache-2.0
#include "registry/errors.h"

#include <algorithm>
#include <utility>

#include <kubernel/api/resource.h>

namespace kubernel::apiserver {

namespace {

std::string group_resource(const schema::ResourceInfo& info) {
  return api::to_string(info.resource());
}

ErrorDetails details_of(const schema::ResourceInfo& info, std::string_view name) {
  ErrorDetails details;
  details.name = name;
  details.group = info.group;
  details.kind = info.plural;
  return details;
}

Cause make_cause(std::string_view reason, std::string field, std::string message) {
  return Cause{std::string(reason), std::move(message), std::move(field)};
}

std::string with_detail(std::string text, std::string_view detail) {
  if (!detail.empty()) text.append(": ").append(detail);
  return text;
}

}  // namespace

Error not_found(const schema::ResourceInfo& info, std::string_view name) {
  return Error(Reason::NotFound, group_resource(info) + " " + quote(name) + " not found", details_of(info, name));
}

Error already_exists(const schema::ResourceInfo& info, std::string_view name) {
  return Error(Reason::AlreadyExists, group_resource(info) + " " + quote(name) + " already exists",
               details_of(info, name));
}

Error conflict(const schema::ResourceInfo& info, std::string_view name, std::string_view why) {
  return Error(Reason::Conflict,
               "Operation cannot be fulfilled on " + group_resource(info) + " " + quote(name) + ": " + std::string(why),
               details_of(info, name));
}

Error forbidden(const schema::ResourceInfo& info, std::string_view name, std::string_view why) {
  const std::string subject = group_resource(info) + (name.empty() ? "" : " " + quote(name));
  return Error(Reason::Forbidden, subject + " is forbidden: " + std::string(why), details_of(info, name));
}

Error invalid(const schema::ResourceInfo& info, std::string_view name, std::vector<Cause> causes) {
  // The same complaint twice helps nobody; upstream's aggregate drops repeats as well.
  std::vector<std::string> seen;
  for (const Cause& cause : causes) {
    std::string text = cause.field + ": " + cause.message;
    if (std::find(seen.begin(), seen.end(), text) == seen.end()) seen.push_back(std::move(text));
  }
  std::string joined;
  for (const std::string& text : seen) joined += (joined.empty() ? "" : ", ") + text;
  if (seen.size() > 1) joined = "[" + joined + "]";
  ErrorDetails details = details_of(info, name);
  details.kind = info.kind;
  details.causes = std::move(causes);
  const std::string kind =
      info.group.empty() ? std::string(info.kind) : std::string(info.kind) + "." + std::string(info.group);
  return Error(Reason::Invalid, kind + " " + quote(name) + " is invalid: " + joined, std::move(details));
}

Error bad_request(std::string message) {
  return Error(Reason::BadRequest, std::move(message));
}

Error method_not_supported(const schema::ResourceInfo& info, std::string_view verb) {
  return Error(Reason::MethodNotAllowed,
               std::string(verb) + " is not supported on resources of kind " + quote(group_resource(info)),
               details_of(info, ""));
}

Cause required(std::string field, std::string_view detail) {
  return make_cause("FieldValueRequired", std::move(field), with_detail("Required value", detail));
}

Cause invalid_value(std::string field, std::string_view value, std::string_view detail) {
  return make_cause("FieldValueInvalid", std::move(field), with_detail("Invalid value: " + std::string(value), detail));
}

Cause not_supported(std::string field, std::string_view value, const std::vector<std::string>& supported) {
  std::string list;
  for (const std::string& one : supported) list += (list.empty() ? "" : ", ") + quote(one);
  return make_cause("FieldValueNotSupported", std::move(field),
                    "Unsupported value: " + std::string(value) + ": supported values: " + list);
}

Cause forbidden_field(std::string field, std::string_view detail) {
  return make_cause("FieldValueForbidden", std::move(field), with_detail("Forbidden", detail));
}

Cause duplicate(std::string field, std::string_view value) {
  return make_cause("FieldValueDuplicate", std::move(field), "Duplicate value: " + std::string(value));
}

Cause field_not_found(std::string field, std::string_view value) {
  return make_cause("FieldValueNotFound", std::move(field), "Not found: " + std::string(value));
}

std::string quote(std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\r') {
      out += "\\r";
    } else if (byte < 0x20 || byte == 0x7f) {
      out += "\\x";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  return out + '"';
}

}  // namespace kubernel::apiserver
