// SPDX-License-Identifier: Apache-2.0
// Provides one name twice.
#include "spec.h"

KUBERNEL_PLUGIN("twice", "0", "", "greeting/A greeting/A") {
  kubernel::plugin::provide(registrar, "A", Greeting{});
  kubernel::plugin::provide(registrar, "A", Greeting{});
  return {};
}
