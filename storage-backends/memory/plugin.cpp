// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "memory_backend.h"

KUBERNEL_PLUGIN("storage-memory", "0.1.0", "Keeps cluster state in memory only; it is gone when the process ends.",
                "storage/memory") {
  kubernel::plugin::provide(registrar, "memory",
                            kubernel::storage::BackendSpec{.open = kubernel::storage_memory::open_memory});
  return {};
}
