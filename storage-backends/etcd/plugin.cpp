// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "etcd_backend.h"

KUBERNEL_PLUGIN("storage-etcd", "0.1.0", "Keeps cluster state in an etcd cluster.", "storage/etcd") {
  kubernel::plugin::provide(registrar, "etcd",
                            kubernel::storage::BackendSpec{.open = kubernel::storage_etcd::open_etcd});
  return {};
}
