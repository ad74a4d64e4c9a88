// SPDX-License-Identifier: Apache-2.0
#include "sqlite_backend.h"

#include <kubernel/testing/storage_conformance.h>

#include "scratch_store.h"

namespace kubernel::storage_sqlite {
namespace {

class SqliteInstance final : public testing::StorageInstance {
 public:
  Result<std::unique_ptr<storage::Backend>> open(storage::BackendContext context) override {
    context.config_json = R"({"path":")" + directory_.file("state.db") + R"("})";
    return open_sqlite(context);
  }

 private:
  ScratchDirectory directory_;
};

}  // namespace
}  // namespace kubernel::storage_sqlite

KUBERNEL_STORAGE_CONFORMANCE(Sqlite, [] { return std::make_unique<kubernel::storage_sqlite::SqliteInstance>(); });
KUBERNEL_STORAGE_DURABILITY(Sqlite, [] { return std::make_unique<kubernel::storage_sqlite::SqliteInstance>(); });
