// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "mysql_backend.h"

KUBERNEL_PLUGIN("storage-mysql", "0.1.0", "Keeps cluster state in a MySQL or MariaDB database.", "storage/mysql") {
  kubernel::plugin::provide(registrar, "mysql",
                            kubernel::storage::BackendSpec{.open = kubernel::storage_mysql::open_mysql});
  return {};
}
