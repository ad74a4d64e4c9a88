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
#l ".id, " #l ".created, " #l ".version, " #l ".lease, " #l ".previous, " #l ".deleted, " #l ".checksum"
#define KUBERNEL_KEYS_AND_LOG " FROM kubernel_keys k LEFT JOIN kubernel_log l ON l.id = k.id "

/// Rows one statement returns; longer reads take several, in one transaction.
constexpr std::size_t kRowsAtOnce = 1000;

/// Where the value, the id the key's row names, and the key are, in all statements that return rows of the log.
constexpr std::size_t kValueColumn = 7;
constexpr std::size_t kNamedColumn = 8;
constexpr std::size_t kKeyColumn = 9;

inline constexpr char kMarks[] = "SELECT head, compacted, swept FROM kubernel_meta WHERE id = 1";
inline constexpr char kNewest[] =
    "SELECT " KUBERNEL_ROW(l) ", l.value, k.id, k.name" KUBERNEL_KEYS_AND_LOG "WHERE k.name IN ?";

/// head, compacted, swept. Errors: ServiceUnavailable when there is no row.
Result<storage_common::Marks> read_marks(Rows& rows);

/// id, ttl, renewals.
storage_common::LeaseRecord read_lease(const Rows& rows);

/// Live keys in [start, end), as of now.
Result<std::int64_t> read_count(Session& session, std::string_view start, std::string_view end);

/// Adds what `options` asks for, as of now, to `page`.
Result<void> read_range(Session& session, const storage::RangeOptions& options, storage::Page& page);

/// The same as of page.revision, in a store compacted up to `compacted`.
Result<void> read_range_then(Session& session, const storage::RangeOptions& options, storage::Revision compacted,
                             storage::Page& page);

/// The log's row at column `first` on. The checksum is looked at when the value is there.
Result<storage_common::Row> read_row(Rows& rows, std::size_t first, std::string_view key, bool with_value);

/// The same for a join in which the log's row may be missing; that is damage.
Result<storage_common::Row> read_joined(Rows& rows, bool with_value);

}  // namespace kubernel::storage_server
