// SPDX-License-Identifier: Apache-2.0
#include "postgres_backend.h"
#include "server_instance.h"

namespace {

std::unique_ptr<kubernel::testing::StorageInstance> make() {
  return kubernel::storage_server::testing::make_instance(kubernel::storage_server::testing::Kind::Postgres,
                                                          kubernel::storage_postgres::open_postgres);
}

}  // namespace

KUBERNEL_STORAGE_CONFORMANCE(Postgres, make);
KUBERNEL_STORAGE_DURABILITY(Postgres, make);
