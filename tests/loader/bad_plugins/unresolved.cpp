// SPDX-License-Identifier: Apache-2.0
// Linked without -z defs, it needs a symbol nobody has.
#include "spec.h"

void nobody_defines_this();

KUBERNEL_PLUGIN("unresolved", "0", "", "") {
  nobody_defines_this();
  return {};
}
