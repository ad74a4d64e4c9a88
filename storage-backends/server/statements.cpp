// SPDX-License-Identifier: Apache-2.0
#include "statements.h"

#include <utility>

#include "checksum.h"

namespace kubernel::storage_server {

using storage_common::damaged;
using storage_common::Row;

Result<storage_common::Marks> read_marks(Rows& rows) {
  if (!rows.next()) return Error(Reason::ServiceUnavailable, "the table kubernel_meta is empty");
  return storage_common::Marks{.head = rows.number(0), .compacted = rows.number(1), .swept = rows.number(2)};
}

storage_common::LeaseRecord read_lease(const Rows& rows) {
  return {.id = rows.number(0), .ttl = std::chrono::seconds(rows.number(1)), .renewals = rows.number(2)};
}

Result<Row> read_row(Rows& rows, std::size_t first, std::string_view key, bool with_value) {
  auto kv = std::make_shared<storage::KeyValue>();
  kv->key = std::string(key);
  kv->created = rows.number(first + 1);
  kv->version = rows.number(first + 2);
  kv->lease = rows.number(first + 3);
  Row row{
      .kv = kv, .id = rows.number(first), .previous = rows.number(first + 4), .deleted = rows.number(first + 5) != 0};
  kv->modified = storage_common::revision_of(row.id);
  if (with_value) {
    kv->value = rows.take(first + kValueColumn);
    if (rows.number(first + 6) != std::int64_t{storage_common::row_checksum(row)}) {
      return damaged(key, kv->modified, "its checksum does not fit");
    }
  }
  return row;
}

Result<Row> read_joined(Rows& rows, bool with_value) {
  if (rows.is_null(0))
    return damaged(rows.bytes(kKeyColumn), storage_common::revision_of(rows.number(kNamedColumn)),
                   "its row is missing");
  return read_row(rows, 0, rows.bytes(kKeyColumn), with_value);
}

}  // namespace kubernel::storage_server
