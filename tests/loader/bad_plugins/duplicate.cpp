// SPDX-License-Identifier: Apache-2.0
// Provides a name that the plugin "good" already provides.
#include "spec.h"

KUBERNEL_PLUGIN("duplicate", "0", "", "greeting/Hello") {
  kubernel::plugin::provide(registrar, "Hello", Greeting{});
  return {};
}
