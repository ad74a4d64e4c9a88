// SPDX-License-Identifier: Apache-2.0
#include "live_surroundings.h"

#ifdef KUBERNEL_TEST_POSTGRES
#include "postgres_backend.h"
#endif
#ifdef KUBERNEL_TEST_MYSQL
#include "mysql_backend.h"
#endif

namespace kubernel::storage_server::testing {

std::vector<Flavor> flavors() {
  return {
#ifdef KUBERNEL_TEST_POSTGRES
      {"Postgres", Kind::Postgres, storage_postgres::open_postgres},
#endif
#ifdef KUBERNEL_TEST_MYSQL
      {"MariaDb", Kind::MariaDb, storage_mysql::open_mysql},
#endif
  };
}

}  // namespace kubernel::storage_server::testing
