// SPDX-License-Identifier: Apache-2.0
//
// Table: what `kubectl get` shows (meta.k8s.io/v1 Table), by the layouts of printer_columns.jsonl.

#pragma once

#include <span>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include <kubernel/api/object.h>
#include <kubernel/api/time.h>
#include <kubernel/base/export.h>

namespace kubernel::schema {

struct Column {
  std::string_view name;
  std::string_view type;    ///< OpenAPI type: "string", "integer", "date", …
  std::string_view format;  ///< "name" for the first column.
  std::string_view description;
  int priority;  ///< 0: always shown; else only by `-o wide`.
};

/// The columns of a kind; Name and Created At when the kind has no layout of its own.
KUBERNEL_EXPORT std::span<const Column> columns(std::string_view group, std::string_view version,
                                                std::string_view kind);

/// The cells of one row, a JSON array as long as columns(). `now` is what ages count from.
KUBERNEL_EXPORT nlohmann::json cells(const api::Object& object, api::WallTime now);

}  // namespace kubernel::schema
