// SPDX-License-Identifier: Apache-2.0
#include "schema/table/layout.h"

#include <kubernel/api/selector.h>

namespace kubernel::schema::table {

using api::Value;

std::string map_text(Value map) {
  std::vector<std::string> entries;
  for (auto it = map.begin(); it != map.end(); ++it) {
    entries.push_back(std::string(it.key()) + "=" + std::string((*it).string()));
  }
  std::ranges::sort(entries);
  std::string out;
  for (const std::string& entry : entries) out += (out.empty() ? "" : ",") + entry;
  return out.empty() ? "<none>" : out;
}

std::string selector_text(Value selector, std::string_view when_invalid) {
  const auto parsed = api::LabelSelector::from_api(selector);
  if (!parsed) return std::string(when_invalid);
  const std::string text = parsed->to_string();
  return text.empty() ? "<none>" : text;
}

std::string since(Value time, api::WallTime now, std::string_view when_absent) {
  const auto at = api::read_time(time);
  return at ? api::human_duration(now - *at) : std::string(when_absent);
}

nlohmann::json name(const Row& row) {
  return row.object.name();
}

nlohmann::json age(const Row& row) {
  return since(row.body["metadata"]["creationTimestamp"], row.now, "<unknown>");
}

std::string container_fields(Value pod_spec, std::string_view field) {
  std::string out;
  bool first = true;
  for (const Value container : pod_spec["containers"]) {
    out += (first ? "" : ",") + std::string(container[field].string());
    first = false;
  }
  return out;
}

std::string first_three(const std::vector<std::string>& texts, std::string_view when_empty) {
  constexpr std::size_t kShown = 3;
  if (texts.empty()) return std::string(when_empty);
  std::string out;
  for (std::size_t i = 0; i < std::min(texts.size(), kShown); ++i) out += (i == 0 ? "" : ",") + texts[i];
  if (texts.size() > kShown) out += " + " + std::to_string(texts.size() - kShown) + " more...";
  return out;
}

Value condition(const Row& row, std::string_view type) {
  for (const Value candidate : row.body["status"]["conditions"]) {
    if (candidate["type"].string() == type) return candidate;
  }
  return {};
}

}  // namespace kubernel::schema::table
