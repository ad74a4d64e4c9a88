// SPDX-License-Identifier: Apache-2.0
#include <kubernel/net/http.h>

#include <algorithm>

#include "net/http_text.h"

namespace kubernel::net {

void Headers::add(std::string_view name, std::string_view value) {
  fields_.emplace_back(lower(name), std::string(value));
}

void Headers::set(std::string_view name, std::string_view value) {
  remove(name);
  add(name, value);
}

void Headers::remove(std::string_view name) {
  std::erase_if(fields_, [&](const auto& field) { return equal_ignoring_case(field.first, name); });
}

std::string_view Headers::get(std::string_view name) const noexcept {
  for (const auto& [key, value] : fields_) {
    if (equal_ignoring_case(key, name)) return value;
  }
  return {};
}

std::vector<std::string_view> Headers::all(std::string_view name) const {
  std::vector<std::string_view> values;
  for (const auto& [key, value] : fields_) {
    if (equal_ignoring_case(key, name)) values.emplace_back(value);
  }
  return values;
}

std::optional<std::string_view> Request::param(std::string_view name) const noexcept {
  for (const auto& [key, value] : query) {
    if (key == name) return value;
  }
  return std::nullopt;
}

std::vector<std::string_view> Request::params(std::string_view name) const {
  std::vector<std::string_view> values;
  for (const auto& [key, value] : query) {
    if (key == name) values.emplace_back(value);
  }
  return values;
}

}  // namespace kubernel::net
