// SPDX-License-Identifier: Apache-2.0
//
// The vocabulary the table layouts are written in: a layout is a list of columns, a column has a rule that makes its
// cell. Rules come from printer_columns.jsonl (kubernetes pkg/printers/internalversion).
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include <kubernel/api/object.h>
#include <kubernel/api/time.h>
#include <kubernel/schema/table.h>

namespace kubernel::schema::table {

/// One row being printed.
struct Row {
  const api::Object& object;
  api::Value body;
  api::WallTime now;
};

using Rule = nlohmann::json (*)(const Row& row);

struct ColumnRule {
  std::string_view name;
  std::string_view type;
  int priority;
  Rule rule;
};

struct Layout {
  std::string_view group;
  std::string_view version;  ///< Empty: any version of the group.
  std::string_view kind;
  std::span<const ColumnRule> columns;
};

/// A string literal as a template argument, so that a rule can be written where the column is.
template <std::size_t N>
struct Literal {
  // NOLINTNEXTLINE(google-explicit-constructor): a string literal is what is written.
  constexpr Literal(const char (&text)[N]) { std::copy_n(text, N, value); }
  char value[N];
  constexpr std::string_view view() const { return {value, N - 1}; }
};

/// The string at a path, or the fallback when it is absent or empty.
template <Literal Path, Literal Fallback = "">
nlohmann::json text(const Row& row) {
  const std::string_view found = row.body.pointer(Path.view()).string();
  return std::string(found.empty() ? Fallback.view() : found);
}

template <Literal Path>
nlohmann::json integer(const Row& row) {
  return row.body.pointer(Path.view()).integer();
}

/// A number or string as text, or the fallback when it is absent (IntOrString and optional integers).
template <Literal Path, Literal Fallback>
nlohmann::json scalar(const Row& row) {
  const api::Value found = row.body.pointer(Path.view());
  if (found.is_string()) return std::string(found.string());
  if (found.kind() == api::Value::Kind::Integer) return std::to_string(found.integer());
  return std::string(Fallback.view());
}

template <Literal Path, bool Fallback = false>
nlohmann::json boolean(const Row& row) {
  return row.body.pointer(Path.view()).boolean(Fallback);
}

/// How many elements or members there are.
template <Literal Path>
nlohmann::json size(const Row& row) {
  return row.body.pointer(Path.view()).size();
}

/// Strings joined by ",", or the fallback when there are none.
template <Literal Path, Literal Fallback = "">
nlohmann::json joined(const Row& row) {
  std::string out;
  for (const api::Value element : row.body.pointer(Path.view())) {
    out += (out.empty() ? "" : ",") + std::string(element.string());
  }
  return out.empty() ? std::string(Fallback.view()) : out;
}

/// "k=v,k=v" of a map of strings, sorted; "<none>" when empty.
std::string map_text(api::Value map);
template <Literal Path>
nlohmann::json pairs(const Row& row) {
  return map_text(row.body.pointer(Path.view()));
}

/// The text of a metav1.LabelSelector.
std::string selector_text(api::Value selector, std::string_view when_invalid);
template <Literal Path, Literal Invalid = "<error>">
nlohmann::json selector(const Row& row) {
  return selector_text(row.body.pointer(Path.view()), Invalid.view());
}

/// Time since the RFC 3339 time at a path, as kubectl shows it.
std::string since(api::Value time, api::WallTime now, std::string_view when_absent);
template <Literal Path, Literal Fallback>
nlohmann::json age_of(const Row& row) {
  return since(row.body.pointer(Path.view()), row.now, Fallback.view());
}

nlohmann::json name(const Row& row);
nlohmann::json age(const Row& row);

/// Names or images of the containers of a pod spec, joined by ",".
std::string container_fields(api::Value pod_spec, std::string_view field);
template <Literal PodSpec>
nlohmann::json containers(const Row& row) {
  return container_fields(row.body.pointer(PodSpec.view()), "name");
}
template <Literal PodSpec>
nlohmann::json images(const Row& row) {
  return container_fields(row.body.pointer(PodSpec.view()), "image");
}

/// "a,b,c + N more..." of at most three texts; the fallback when there are none.
std::string first_three(const std::vector<std::string>& texts, std::string_view when_empty);

/// The condition of that type in /status/conditions; missing when there is none.
api::Value condition(const Row& row, std::string_view type);

inline constexpr ColumnRule kName{"Name", "string", 0, name};
inline constexpr ColumnRule kAge{"Age", "string", 0, age};

// One function per file of layouts.
std::span<const Layout> core_layouts();
std::span<const Layout> workload_layouts();
std::span<const Layout> network_layouts();
std::span<const Layout> policy_layouts();

}  // namespace kubernel::schema::table
