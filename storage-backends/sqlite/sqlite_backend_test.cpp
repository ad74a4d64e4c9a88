// SPDX-License-Identifier: Apache-2.0
#include "sqlite_backend.h"

#include <kubernel/testing/storage_conformance.h>

#include "sqlite_instance.h"

KUBERNEL_STORAGE_CONFORMANCE(Sqlite, [] { return std::make_unique<kubernel::storage_sqlite::SqliteInstance>(); });
KUBERNEL_STORAGE_DURABILITY(Sqlite, [] { return std::make_unique<kubernel::storage_sqlite::SqliteInstance>(); });
