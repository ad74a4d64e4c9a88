// SPDX-License-Identifier: Apache-2.0
#include "postgres_backend.h"
#include "server_instance.h"

namespace {

using kubernel::storage_server::testing::Kind;
using kubernel::storage_server::testing::make_instance;

std::unique_ptr<kubernel::testing::StorageInstance> make() {
  return make_instance(Kind::Postgres, kubernel::storage_postgres::open_postgres);
}

std::unique_ptr<kubernel::testing::StorageInstance> make_shared() {
  return make_instance(Kind::Postgres, kubernel::storage_postgres::open_postgres, true);
}

}  // namespace

KUBERNEL_STORAGE_CONFORMANCE(Postgres, make);
KUBERNEL_STORAGE_DURABILITY(Postgres, make);
KUBERNEL_STORAGE_SHARED(Postgres, make_shared);
