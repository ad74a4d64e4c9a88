// SPDX-License-Identifier: Apache-2.0
// Registers more than it declares.
#include "spec.h"

KUBERNEL_PLUGIN("undeclared", "0", "", "greeting/A") {
  kubernel::plugin::provide(registrar, "A", Greeting{});
  kubernel::plugin::provide(registrar, "B", Greeting{});
  return {};
}
