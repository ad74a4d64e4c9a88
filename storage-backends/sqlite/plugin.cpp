// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "sqlite_backend.h"

KUBERNEL_PLUGIN("storage-sqlite", "0.1.0", "Keeps cluster state in one SQLite file.", "storage/sqlite") {
  kubernel::plugin::provide(registrar, "sqlite",
                            kubernel::storage::BackendSpec{.open = kubernel::storage_sqlite::open_sqlite});
  return {};
}
