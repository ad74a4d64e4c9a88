// SPDX-License-Identifier: Apache-2.0
#include "sqlite_backend.h"

#include <kubernel/testing/storage_conformance.h>

#include "scratch_store.h"

namespace kubernel::storage_sqlite {
namespace {

class SqliteInstance final : public testing::StorageInstance {
 public:
  explicit SqliteInstance(std::string synchronous) : synchronous_(std::move(synchronous)) {}

  Result<std::unique_ptr<storage::Backend>> open(storage::BackendContext context) override {
    context.config_json =
        R"({"path":")" + directory_.file("state.db") + R"(","synchronous":")" + synchronous_ + R"("})";
    return open_sqlite(context);
  }

 private:
  std::string synchronous_;
  ScratchDirectory directory_;
};

}  // namespace
}  // namespace kubernel::storage_sqlite

// What the first suite asks is the same without a sync for each of its thousands of writes.
KUBERNEL_STORAGE_CONFORMANCE(Sqlite,
                             [] { return std::make_unique<kubernel::storage_sqlite::SqliteInstance>("normal"); });
KUBERNEL_STORAGE_DURABILITY(Sqlite, [] { return std::make_unique<kubernel::storage_sqlite::SqliteInstance>("full"); });
