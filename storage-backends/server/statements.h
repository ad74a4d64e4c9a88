// SPDX-License-Identifier: Apache-2.0
//
// The statements both kinds of server understand, and how their rows are read.

#pragma once

#include <string>
#include <string_view>

#include "database.h"
#include "session.h"

namespace kubernel::storage_server {

// What read_row() reads, from a row of the log.
#define KUBERNEL_ROW(l) \
  #l ".revision, " #l ".created, " #l ".version, " #l ".lease, " #l ".previous, " #l ".deleted, " #l ".checksum"
#define KUBERNEL_KEYS_AND_LOG " FROM kubernel_keys k LEFT JOIN kubernel_log l ON l.revision = k.revision "

/// Where the value, the revision the key's row names, and the key are, in all statements that return rows of the log.
constexpr std::size_t kValueColumn = 7;
constexpr std::size_t kNamedColumn = 8;
constexpr std::size_t kKeyColumn = 9;

inline constexpr char kNewest[] =
    "SELECT " KUBERNEL_ROW(l) ", l.value, k.revision, k.name" KUBERNEL_KEYS_AND_LOG "WHERE k.name IN ?";

/// The log's row at column `first` on. The checksum is looked at when the value is there.
Result<storage_common::Row> read_row(Rows& rows, std::size_t first, std::string_view key, bool with_value);

/// The same for a join in which the log's row may be missing; that is damage.
Result<storage_common::Row> read_joined(Rows& rows, bool with_value);

}  // namespace kubernel::storage_server
