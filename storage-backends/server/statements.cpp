// SPDX-License-Identifier: Apache-2.0
#include "statements.h"

#include <utility>

#include "checksum.h"

namespace kubernel::storage_server {

using storage_common::damaged;
using storage_common::Row;

Result<Row> read_row(Rows& rows, std::size_t first, std::string_view key, bool with_value) {
  auto kv = std::make_shared<storage::KeyValue>();
  kv->key = std::string(key);
  kv->modified = rows.number(first);
  kv->created = rows.number(first + 1);
  kv->version = rows.number(first + 2);
  kv->lease = rows.number(first + 3);
  Row row{.kv = kv, .previous = rows.number(first + 4), .deleted = rows.number(first + 5) != 0};
  if (with_value) {
    kv->value = rows.take(first + kValueColumn);
    if (rows.number(first + 6) != std::int64_t{checksum_of(row)}) {
      return damaged(key, kv->modified, "its checksum does not fit");
    }
  }
  return row;
}

Result<Row> read_joined(Rows& rows, bool with_value) {
  if (rows.is_null(0)) return damaged(rows.bytes(kKeyColumn), rows.number(kNamedColumn), "its row is missing");
  return read_row(rows, 0, rows.bytes(kKeyColumn), with_value);
}

}  // namespace kubernel::storage_server
