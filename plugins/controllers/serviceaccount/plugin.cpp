// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "serviceaccount.h"

KUBERNEL_PLUGIN("serviceaccount", "0.1.0", "Gives every namespace its default service account.",
                "controller/serviceaccount") {
  kubernel::plugin::provide(registrar, "serviceaccount",
                            kubernel::controller::Spec{.service_account = "service-account-controller",
                                                       .workers = 1,
                                                       .make = kubernel::plugins::serviceaccount::make_reconciler});
  return {};
}
