// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "resource_quota.h"

KUBERNEL_PLUGIN("resource-quota", "0.1.0", "Counts what namespaces use of their quotas.", "controller/resource-quota") {
  kubernel::plugin::provide(registrar, "resource-quota",
                            kubernel::controller::Spec{.service_account = "resourcequota-controller",
                                                       .workers = 2,
                                                       .make = kubernel::plugins::resource_quota::make_reconciler});
  return {};
}
