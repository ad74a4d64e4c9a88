// SPDX-License-Identifier: Apache-2.0
//
// Secrets and config maps: immutability, key names, sizes.
#include <algorithm>
#include <map>
#include <string_view>

#include <kubernel/crypto/pki.h>

#include "strategies/strategy.h"

namespace kubernel::apiserver {

namespace {

constexpr std::size_t kMaxBytes = 1024 * 1024;

bool is_config_key(std::string_view key) {
  return !key.empty() && key.size() <= 253 && key != "." && key != ".." && !key.starts_with("..") &&
         std::all_of(key.begin(), key.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
         });
}

constexpr std::string_view kKeyMessage =
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or "
    "'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

class SecretStrategy final : public Strategy {
 public:
  using Strategy::Strategy;

  void prepare_create(json& document) const override {
    Strategy::prepare_create(document);
    fold_string_data(document);
  }
  void prepare_update(json& document, const json& old) const override {
    Strategy::prepare_update(document, old);
    fold_string_data(document);
    if (secret() && text(document, {"type"}).empty()) copy_member(document, old, "type");
  }

  void validate(const json& document, Causes& causes) const override {
    std::size_t total = 0;
    for (const char* field : {"data", "binaryData"}) {
      const json& data = member(document, {field});
      if (!data.is_object()) continue;
      for (const auto& [key, value] : data.items()) {
        if (!is_config_key(key)) causes.push_back(invalid_value(std::string(field) + "[" + key + "]", quote(key), kKeyMessage));
        if (value.is_string()) total += value.get_ref<const std::string&>().size();
      }
    }
    // A secret's values are base64, a third longer than what they stand for.
    const std::size_t limit = secret() ? kMaxBytes / 3 * 4 + 4096 : kMaxBytes;
    if (total > limit) causes.push_back({"FieldValueTooLong", "Too long: may not be more than 1048576 bytes", secret() ? "data" : ""});
    if (!secret()) return;
    static const std::map<std::string, std::vector<const char*>> kNeeds = {
        {"kubernetes.io/dockercfg", {".dockercfg"}},
        {"kubernetes.io/dockerconfigjson", {".dockerconfigjson"}},
        {"kubernetes.io/ssh-auth", {"ssh-privatekey"}},
        {"kubernetes.io/tls", {"tls.crt", "tls.key"}}};
    if (const auto needs = kNeeds.find(text(document, {"type"})); needs != kNeeds.end()) {
      for (const char* key : needs->second) {
        if (member(document, {"data", key}).is_null()) causes.push_back(required("data[" + std::string(key) + "]", ""));
      }
    }
  }

  void validate_update(const json& document, const json& old, Causes& causes) const override {
    if (secret() && text(document, {"type"}) != text(old, {"type"})) {
      causes.push_back(invalid_value("type", quote(text(document, {"type"})), "field is immutable"));
    }
    if (!flag(old, {"immutable"})) return;
    if (!flag(document, {"immutable"})) causes.push_back(forbidden_field("immutable", "field is immutable when `immutable` is set"));
    for (const char* field : {"data", "binaryData"}) {
      if (member(document, {field}) != member(old, {field})) {
        causes.push_back(forbidden_field(field, "field is immutable when `immutable` is set"));
      }
    }
  }

 private:
  bool secret() const { return info().plural == "secrets"; }

  void fold_string_data(json& document) const;
};

// stringData is a way to write data, never stored.
void SecretStrategy::fold_string_data(json& document) const {
  if (!secret()) return;
  const json plain = member(document, {"stringData"});
  document.erase("stringData");
  if (!plain.is_object() || plain.empty()) return;
  json& data = make_member(document, {"data"});
  if (!data.is_object()) data = json::object();
  for (const auto& [key, value] : plain.items()) data[key] = crypto::base64_encode(value.is_string() ? value.get<std::string>() : "");
}

}  // namespace

std::unique_ptr<Strategy> make_secret_strategy(const schema::ResourceInfo& info, Traits traits) {
  return std::make_unique<SecretStrategy>(info, std::move(traits));
}

}  // namespace kubernel::apiserver
