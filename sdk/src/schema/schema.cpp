// SPDX-License-Identifier: Apache-2.0
#include <kubernel/schema/schema.h>

#include <algorithm>
#include <tuple>

#include "schema_tables.h"

namespace kubernel::schema {
namespace {

using Key = std::tuple<std::string_view, std::string_view, std::string_view>;

/// The row of an ascending table with that key, or null.
template <class Row, class KeyOf>
const Row* find_row(std::span<const Row> rows, const Key& key, KeyOf key_of) {
  const auto at = std::lower_bound(rows.begin(), rows.end(), key,
                                   [&](const Row& row, const Key& wanted) { return key_of(row) < wanted; });
  return at != rows.end() && key_of(*at) == key ? &*at : nullptr;
}

/// Kinds that upstream registers under every group version.
bool is_common_kind(std::string_view kind) {
  for (const std::string_view common :
       {"ListOptions", "GetOptions", "DeleteOptions", "CreateOptions", "PatchOptions", "UpdateOptions", "WatchEvent"}) {
    if (kind == common) return true;
  }
  return false;
}

const tables::KindRow* find_kind_row(const Key& key) {
  return find_row(tables::kKinds, key, [](const tables::KindRow& row) {
    return Key{row.group, row.version, row.kind};
  });
}

}  // namespace

const Field* Type::find(std::string_view json_name) const noexcept {
  const auto at =
      std::lower_bound(sorted.begin(), sorted.end(), json_name,
                       [&](std::uint8_t index, std::string_view wanted) { return members[index]->json < wanted; });
  if (at == sorted.end() || members[*at]->json != json_name) return nullptr;
  return members[*at];
}

std::span<const Type* const> types() noexcept {
  return tables::kTypes;
}
std::span<const ResourceInfo> resources() noexcept {
  return tables::kResources;
}
std::span<const GroupInfo> groups() noexcept {
  return tables::kGroups;
}

const Type* find_type(std::string_view id) noexcept {
  const auto all = tables::kTypes;
  const auto at = std::lower_bound(all.begin(), all.end(), id,
                                   [](const Type* type, std::string_view wanted) { return type->id < wanted; });
  return at != all.end() && (*at)->id == id ? *at : nullptr;
}

const Type* find_kind(std::string_view group, std::string_view version, std::string_view kind) noexcept {
  if (const auto* row = find_kind_row({group, version, kind})) return row->type;
  if (!is_common_kind(kind)) return nullptr;
  const auto* row = find_kind_row({"", "v1", kind});
  return row != nullptr ? row->type : nullptr;
}

const ResourceInfo* find_resource(std::string_view group, std::string_view version, std::string_view plural) noexcept {
  return find_row(tables::kResources, {group, version, plural}, [](const ResourceInfo& row) {
    return Key{row.group, row.version, row.plural};
  });
}

const ResourceInfo* find_resource_by_kind(std::string_view group, std::string_view version,
                                          std::string_view kind) noexcept {
  for (const ResourceInfo& row : tables::kResources) {
    if (row.kind == kind && row.group == group && row.version == version) return &row;
  }
  return nullptr;
}

}  // namespace kubernel::schema
