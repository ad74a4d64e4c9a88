// SPDX-License-Identifier: Apache-2.0
//
// Field: a place in a document, with its path, that can report what is wrong there (apimachinery
// util/validation/field).
//
// The rules are functions over Fields. A field that is not there reads as null, so a rule need not ask first.

#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/api/quantity.h>

#include "registry/errors.h"
#include "registry/json_util.h"
#include "registry/names.h"

namespace kubernel::apiserver::validation {

/// Lifetime: refers to the document and to the causes. Threads: as the causes it adds to.
class Field {
 public:
  Field(const json& value, std::string path, Causes& causes)
      : value_(&value), causes_(&causes), path_(std::move(path)) {}

  Field operator[](const char* name) const;  ///< "path.name"
  Field at(std::size_t index) const;         ///< "path[index]"
  Field key(const std::string& name) const;  ///< "path[name]"
  /// Another value reported at this place.
  Field with(const json& value) const { return {value, path_, *causes_}; }
  /// This value, reported at another place.
  Field as_path(std::string path) const { return {*value_, std::move(path), *causes_}; }

  /// Calls `rule(Field element, std::size_t index)` for each element of a list; nothing for anything else.
  template <typename Rule>
  void each(Rule rule) const {
    if (!value_->is_array()) return;
    for (std::size_t i = 0; i < value_->size(); ++i) rule(at(i), i);
  }
  /// Calls `rule(const std::string& key, Field member)` for each member of a map.
  template <typename Rule>
  void each_member(Rule rule) const {
    if (!value_->is_object()) return;
    for (const auto& [name, member] : value_->items()) rule(name, Field(member, path_ + "[" + name + "]", *causes_));
  }

  const json& value() const noexcept { return *value_; }
  const std::string& path() const noexcept { return path_; }
  Causes& causes() const noexcept { return *causes_; }
  bool set() const noexcept { return !value_->is_null(); }
  /// Missing, or what Go takes for missing: "", 0, false, an empty list or map.
  bool zero() const;
  std::string text() const { return value_->is_string() ? value_->get<std::string>() : std::string(); }
  std::int64_t number(std::int64_t fallback = 0) const {
    return value_->is_number_integer() ? value_->get<std::int64_t>() : fallback;
  }
  bool flag(bool fallback = false) const { return value_->is_boolean() ? value_->get<bool>() : fallback; }
  std::size_t size() const { return value_->is_array() || value_->is_object() ? value_->size() : 0; }
  /// Zero when there is none.
  api::Quantity quantity() const;

  void required(std::string_view why = {}) const;
  void invalid(std::string_view why) const;
  void invalid(const std::vector<std::string>& why) const;
  /// `printed`: the value as Go prints it.
  void invalid_as(std::string_view printed, std::string_view why) const;
  void forbidden(std::string_view why) const;
  void duplicate() const;
  void duplicate_as(std::string_view printed) const;
  void not_found() const;
  void not_supported(const std::vector<std::string>& supported) const;
  void too_long(std::size_t bytes) const;
  void too_many(std::size_t count, std::size_t limit) const;

 private:
  std::string printed() const;

  const json* value_;
  Causes* causes_;
  std::string path_;
};

inline constexpr std::string_view kImmutable = "field is immutable";

// Rules that many kinds share. Each does nothing when the field is not set, unless it says so.

void check_not_negative(const Field& field);  ///< "must be greater than or equal to 0"
void check_between(const Field& field, std::int64_t low, std::int64_t high);
void check_name_rule(const Field& field, NameRule rule);
void check_label_name(const Field& field);  ///< A label key; "" is illegal too.
void check_labels(const Field& map);
void check_annotations(const Field& map);
/// metav1.LabelSelector.
void check_selector(const Field& selector);
/// True when `selector` (metav1.LabelSelector) selects `labels`.
bool selects(const json& selector, const json& labels);
bool is_empty_selector(const json& selector);

void check_port_number(const Field& field);  ///< Also when it is 0.
void check_port_name(const Field& field);    ///< IANA_SVC_NAME.
void check_port_number_or_name(const Field& field);
void check_config_key(const Field& field);
void check_config_key(const Field& field, const std::string& key);
void check_env_name(const Field& field);
void check_ip(const Field& field);
void check_cidr(const Field& field);
bool is_ip(const std::string& text);
bool is_ipv4(const std::string& text);
/// "50%" or a number; negative, other texts and, when `limit_100`, more than 100% are refused.
void check_int_or_percent(const Field& field, bool limit_100);
/// The number, or the percentage, of an IntOrString; 0 for anything else.
std::int64_t int_or_percent(const json& value);

void check_unchanged(const Field& field, const json& before);  ///< "field is immutable"
void check_quantity_not_negative(const Field& field);
/// A resource list: names and amounts. `container`: only what a container may ask for.
void check_resource_list(const Field& map, bool container);
/// requests and limits below `resources`.
void check_resource_requirements(const Field& resources, bool container);
void check_relative_path(const Field& field);  ///< No leading '/', no "..".
void check_no_backsteps(const Field& field);

std::string join(const std::vector<std::string>& parts, std::string_view separator);

}  // namespace kubernel::apiserver::validation
