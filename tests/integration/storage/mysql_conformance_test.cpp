// SPDX-License-Identifier: Apache-2.0
#include "mysql_backend.h"
#include "server_instance.h"

namespace {

using kubernel::storage_server::testing::Kind;
using kubernel::storage_server::testing::make_instance;

std::unique_ptr<kubernel::testing::StorageInstance> make() {
  return make_instance(Kind::MariaDb, kubernel::storage_mysql::open_mysql);
}

std::unique_ptr<kubernel::testing::StorageInstance> make_shared() {
  return make_instance(Kind::MariaDb, kubernel::storage_mysql::open_mysql, true);
}

}  // namespace

KUBERNEL_STORAGE_CONFORMANCE(MariaDb, make);
KUBERNEL_STORAGE_DURABILITY(MariaDb, make);
KUBERNEL_STORAGE_SHARED(MariaDb, make_shared);
