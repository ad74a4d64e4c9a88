// SPDX-License-Identifier: Apache-2.0
#include <kubernel/schema/table.h>

#include <array>
#include <map>
#include <string_view>

#include "schema/table/layout.h"

namespace kubernel::schema {
namespace {

using table::ColumnRule;
using table::Layout;

nlohmann::json created_at(const table::Row& row) {
  return std::string(row.body["metadata"]["creationTimestamp"].string());
}

constexpr std::array kDefaultColumns = {table::kName, ColumnRule{"Created At", "date", 0, created_at}};
constexpr Layout kDefault{"", "", "", kDefaultColumns};

const Layout& find_layout(std::string_view group, std::string_view version, std::string_view kind) {
  for (const auto& layouts :
       {table::core_layouts(), table::workload_layouts(), table::network_layouts(), table::policy_layouts()}) {
    for (const Layout& layout : layouts) {
      const bool same_version = layout.version.empty() || layout.version == version;
      if (layout.kind == kind && layout.group == group && same_version) return layout;
    }
  }
  return kDefault;
}

std::vector<Column> columns_of(const Layout& layout) {
  std::vector<Column> out;
  for (const ColumnRule& rule : layout.columns) {
    out.push_back({rule.name, rule.type, rule.name == "Name" ? std::string_view("name") : std::string_view(), rule.name,
                   rule.priority});
  }
  return out;
}

}  // namespace

std::span<const Column> columns(std::string_view group, std::string_view version, std::string_view kind) {
  // Built once for all layouts; the layouts themselves are constants.
  static const std::map<const Layout*, std::vector<Column>> kColumns = [] {
    std::map<const Layout*, std::vector<Column>> out;
    for (const auto& layouts :
         {table::core_layouts(), table::workload_layouts(), table::network_layouts(), table::policy_layouts()}) {
      for (const Layout& layout : layouts) out.emplace(&layout, columns_of(layout));
    }
    out.emplace(&kDefault, columns_of(kDefault));
    return out;
  }();
  return kColumns.at(&find_layout(group, version, kind));
}

nlohmann::json cells(const api::Object& object, api::WallTime now) {
  const api::GroupVersionKind& gvk = object.head().gvk;
  const table::Row row{object, object.body(), now};
  nlohmann::json out = nlohmann::json::array();
  for (const ColumnRule& column : find_layout(gvk.group, gvk.version, gvk.kind).columns) {
    out.push_back(column.rule(row));
  }
  return out;
}

}  // namespace kubernel::schema
