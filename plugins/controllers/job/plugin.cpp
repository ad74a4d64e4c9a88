// SPDX-License-Identifier: Apache-2.0
#include <kubernel/plugin/plugin.h>

#include "job.h"

KUBERNEL_PLUGIN("job", "0.1.0", "Runs pods until enough of them have succeeded.", "controller/job") {
  kubernel::plugin::provide(
      registrar, "job",
      kubernel::controller::Spec{
          .service_account = "job-controller", .workers = 5, .make = kubernel::plugins::job::make_reconciler});
  return {};
}
