// SPDX-License-Identifier: Apache-2.0
// Declares more than it registers.
#include "spec.h"

KUBERNEL_PLUGIN("unregistered", "0", "", "greeting/A greeting/B") {
  kubernel::plugin::provide(registrar, "A", Greeting{});
  return {};
}
