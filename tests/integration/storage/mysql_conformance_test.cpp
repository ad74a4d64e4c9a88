// SPDX-License-Identifier: Apache-2.0
#include "mysql_backend.h"
#include "server_instance.h"

namespace {

std::unique_ptr<kubernel::testing::StorageInstance> make() {
  return kubernel::storage_server::testing::make_instance(kubernel::storage_server::testing::Kind::MariaDb,
                                                          kubernel::storage_mysql::open_mysql);
}

}  // namespace

KUBERNEL_STORAGE_CONFORMANCE(MariaDb, make);
KUBERNEL_STORAGE_DURABILITY(MariaDb, make);
