// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "postgres_backend.h"

KUBERNEL_PLUGIN("storage-postgres", "0.1.0", "Keeps cluster state in a PostgreSQL database.", "storage/postgres") {
  kubernel::plugin::provide(registrar, "postgres",
                            kubernel::storage::BackendSpec{.open = kubernel::storage_postgres::open_postgres});
  return {};
}
