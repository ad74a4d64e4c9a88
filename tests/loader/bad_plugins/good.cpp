// SPDX-License-Identifier: Apache-2.0
// Nothing is wrong with this one: the others differ from it in one way each.
#include "spec.h"

KUBERNEL_PLUGIN("good", "1.0.0", "Says hello.", "greeting/Hello greeting/Bye") {
  kubernel::plugin::provide(registrar, "Hello", Greeting{[] { return "hello"; }});
  kubernel::plugin::provide(registrar, "Bye", Greeting{[] { return "bye"; }});
  return {};
}
