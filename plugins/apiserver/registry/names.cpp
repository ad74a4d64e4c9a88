// SPDX-License-Identifier: Apache-2.0
#include "registry/names.h"

#include <algorithm>
#include <cstddef>
#include <set>

#include <nlohmann/json.hpp>

namespace kubernel::apiserver {

namespace {

using nlohmann::json;

constexpr std::size_t kMaxAnnotationBytes = 256 * 1024;

bool lower_alnum(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}
bool alnum(char c) {
  return lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

// [a-z0-9]([-a-z0-9]*[a-z0-9])?
bool is_label(std::string_view text) {
  return !text.empty() && lower_alnum(text.front()) && lower_alnum(text.back()) &&
         std::all_of(text.begin(), text.end(), [](char c) { return lower_alnum(c) || c == '-'; });
}

bool is_subdomain(std::string_view text) {
  for (;;) {
    const std::size_t dot = text.find('.');
    if (!is_label(text.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    text.remove_prefix(dot + 1);
  }
}

// ([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]
bool is_qualified(std::string_view text) {
  return !text.empty() && alnum(text.front()) && alnum(text.back()) &&
         std::all_of(text.begin(), text.end(), [](char c) { return alnum(c) || c == '-' || c == '_' || c == '.'; });
}

std::string too_long(std::size_t limit) {
  return "must be no more than " + std::to_string(limit) + " bytes";
}

constexpr std::string_view kSubdomainMessage =
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
constexpr std::string_view kLabelMessage =
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
constexpr std::string_view kLabel1035Message =
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')";
constexpr std::string_view kQualifiedMessage =
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
constexpr std::string_view kLabelValueMessage =
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

std::vector<std::string> check_path_segment(std::string_view name) {
  std::vector<std::string> out;
  if (name == ".") return {"may not be '.'"};
  if (name == "..") return {"may not be '..'"};
  if (name.find('/') != std::string_view::npos) out.emplace_back("may not contain '/'");
  if (name.find('%') != std::string_view::npos) out.emplace_back("may not contain '%'");
  return out;
}

std::string text_of(const json& object, const char* key) {
  const auto place = object.find(key);
  return place != object.end() && place->is_string() ? place->get<std::string>() : std::string();
}

const json& metadata_of(const json& document) {
  static const json kNone = json::object();
  const auto place = document.find("metadata");
  return place != document.end() && place->is_object() ? *place : kNone;
}

void validate_owners(const json& owners, Causes& causes) {
  std::string controller;
  for (std::size_t i = 0; i < owners.size(); ++i) {
    const json& owner = owners[i];
    const std::string path = "metadata.ownerReferences[" + std::to_string(i) + "]";
    for (const auto& [field, why] : {std::pair("apiVersion", "version must not be empty"),
                                     {"kind", "must not be empty"},
                                     {"name", "must not be empty"},
                                     {"uid", "must not be empty"}}) {
      if (text_of(owner, field).empty()) causes.push_back(invalid_value(path + "." + field, "\"\"", why));
    }
    if (text_of(owner, "apiVersion") == "v1" && text_of(owner, "kind") == "Event") {
      causes.push_back(invalid_value(path, owner.dump(), "/v1, Kind=Event is disallowed from being an owner"));
    }
    const auto flag = owner.find("controller");
    if (flag == owner.end() || !flag->is_boolean() || !flag->get<bool>()) continue;
    const std::string name = text_of(owner, "name");
    if (!controller.empty()) {
      causes.push_back(
          invalid_value("metadata.ownerReferences", owners.dump(),
                        "Only one reference can have Controller set to true. Found \"true\" in references for " +
                            controller + " and " + name));
    }
    controller = name;
  }
}

void validate_finalizers(const json& finalizers, Causes& causes) {
  const std::string path = "metadata.finalizers";
  const auto has = [&](const char* name) {
    return std::find(finalizers.begin(), finalizers.end(), name) != finalizers.end();
  };
  for (const json& one : finalizers) {
    const std::string name = one.is_string() ? one.get<std::string>() : "";
    const std::vector<std::string> problems = check_label_key(name);
    for (const std::string& why : problems) causes.push_back(invalid_value(path, quote(name), why));
    // Names without a domain are the system's own.
    if (problems.empty() && name.find('/') == std::string::npos && name != "orphan" && name != "foregroundDeletion" &&
        name != "kubernetes") {
      causes.push_back(
          invalid_value(path, quote(name), "name is neither a standard finalizer name nor is it fully qualified"));
    }
  }
  if (has("orphan") && has("foregroundDeletion")) {
    causes.push_back(
        invalid_value(path, finalizers.dump(), "finalizer orphan and foregroundDeletion cannot be both set"));
  }
}

}  // namespace

std::vector<std::string> check_name(NameRule rule, std::string_view name, bool prefix) {
  if (rule == NameRule::PathSegment) return check_path_segment(name);
  std::string masked(name);
  if (prefix && masked.size() > 1 && masked.back() == '-') masked.back() = 'a';
  std::vector<std::string> out;
  const std::size_t limit = rule == NameRule::Subdomain ? 253 : 63;
  if (masked.size() > limit) out.push_back(too_long(limit));
  if (rule == NameRule::Subdomain && !is_subdomain(masked)) out.emplace_back(kSubdomainMessage);
  if (rule == NameRule::Label && !is_label(masked)) out.emplace_back(kLabelMessage);
  if (rule == NameRule::Label1035 && !(is_label(masked) && !(masked[0] >= '0' && masked[0] <= '9'))) {
    out.emplace_back(kLabel1035Message);
  }
  return out;
}

std::vector<std::string> check_label_key(std::string_view key) {
  std::vector<std::string> out;
  std::string_view name = key;
  if (const std::size_t slash = key.find('/'); slash != std::string_view::npos) {
    const std::string_view prefix = key.substr(0, slash);
    name = key.substr(slash + 1);
    if (name.find('/') != std::string_view::npos) {
      return {"a qualified name " + std::string(kQualifiedMessage.substr(10)) +
              " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"};
    }
    if (prefix.empty()) {
      out.emplace_back("prefix part must be non-empty");
    } else {
      if (prefix.size() > 253) out.push_back("prefix part " + too_long(253));
      if (!is_subdomain(prefix)) out.push_back("prefix part " + std::string(kSubdomainMessage));
    }
  }
  if (name.empty()) {
    out.emplace_back("name part must be non-empty");
  } else if (name.size() > 63) {
    out.push_back("name part " + too_long(63));
  }
  if (!is_qualified(name)) out.emplace_back(kQualifiedMessage);
  return out;
}

std::vector<std::string> check_label_value(std::string_view value) {
  std::vector<std::string> out;
  if (value.size() > 63) out.push_back(too_long(63));
  if (!value.empty() && !is_qualified(value)) out.emplace_back(kLabelValueMessage);
  return out;
}

void validate_labels(const json& labels, const std::string& path, Causes& causes) {
  if (!labels.is_object()) return;
  for (const auto& [key, value] : labels.items()) {
    for (const std::string& why : check_label_key(key)) causes.push_back(invalid_value(path, quote(key), why));
    const std::string text = value.is_string() ? value.get<std::string>() : "";
    for (const std::string& why : check_label_value(text)) causes.push_back(invalid_value(path, quote(text), why));
  }
}

void validate_annotations(const json& annotations, const std::string& path, Causes& causes) {
  if (!annotations.is_object()) return;
  std::size_t bytes = 0;
  for (const auto& [key, value] : annotations.items()) {
    std::string lower = key;
    std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) {
      return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : static_cast<char>(c);
    });
    for (const std::string& why : check_label_key(lower)) {
      causes.push_back(invalid_value(path, quote(key), why));
    }
    bytes += key.size() + (value.is_string() ? value.get_ref<const std::string&>().size() : 0);
  }
  if (bytes > kMaxAnnotationBytes) {
    causes.push_back({"FieldValueTooLong", "Too long: may not be more than 262144 bytes", path});
  }
}

void validate_meta(const json& document, bool namespaced, NameRule rule, Causes& causes) {
  const json& meta = metadata_of(document);
  const std::string generate = text_of(meta, "generateName");
  if (!generate.empty()) {
    for (const std::string& why : check_name(rule, generate, true)) {
      causes.push_back(invalid_value("metadata.generateName", quote(generate), why));
    }
  }
  const std::string name = text_of(meta, "name");
  if (name.empty()) {
    causes.push_back(required("metadata.name", "name or generateName is required"));
  } else {
    for (const std::string& why : check_name(rule, name, false)) {
      causes.push_back(invalid_value("metadata.name", quote(name), why));
    }
  }
  const std::string ns = text_of(meta, "namespace");
  if (namespaced && ns.empty()) causes.push_back(required("metadata.namespace", ""));
  if (namespaced && !ns.empty()) {
    for (const std::string& why : check_name(NameRule::Label, ns, false)) {
      causes.push_back(invalid_value("metadata.namespace", quote(ns), why));
    }
  }
  if (!namespaced && !ns.empty()) causes.push_back(forbidden_field("metadata.namespace", "not allowed on this type"));
  if (const auto labels = meta.find("labels"); labels != meta.end())
    validate_labels(*labels, "metadata.labels", causes);
  if (const auto notes = meta.find("annotations"); notes != meta.end())
    validate_annotations(*notes, "metadata.annotations", causes);
  if (const auto owners = meta.find("ownerReferences"); owners != meta.end() && owners->is_array())
    validate_owners(*owners, causes);
  if (const auto finalizers = meta.find("finalizers"); finalizers != meta.end() && finalizers->is_array()) {
    validate_finalizers(*finalizers, causes);
  }
}

void validate_meta_update(const json& document, const json& old, Causes& causes) {
  const json& meta = metadata_of(document);
  const json& before = metadata_of(old);
  for (const char* field :
       {"name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"}) {
    const json now = meta.contains(field) ? meta[field] : json();
    const json then = before.contains(field) ? before[field] : json();
    if (now != then) {
      causes.push_back(
          invalid_value(std::string("metadata.") + field, now.is_null() ? "null" : now.dump(), "field is immutable"));
    }
  }
  // A deleting object may lose finalizers, not gain them.
  if (!before.contains("deletionTimestamp") || !meta.contains("finalizers") || !meta["finalizers"].is_array()) return;
  std::set<std::string> allowed;
  if (const auto was = before.find("finalizers"); was != before.end() && was->is_array()) {
    for (const json& one : *was) allowed.insert(one.is_string() ? one.get<std::string>() : "");
  }
  std::string added;
  for (const json& one : meta["finalizers"]) {
    if (!one.is_string() || allowed.contains(one.get<std::string>())) continue;
    added += (added.empty() ? "" : ", ") + quote(one.get<std::string>());
  }
  if (!added.empty()) {
    causes.push_back(forbidden_field(
        "metadata.finalizers",
        "no new finalizers can be added if the object is being deleted, found new finalizers []string{" + added + "}"));
  }
}

}  // namespace kubernel::apiserver
