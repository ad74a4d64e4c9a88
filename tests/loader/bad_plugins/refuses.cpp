// SPDX-License-Identifier: Apache-2.0
// Reports an Error from its registration function.
#include "spec.h"

KUBERNEL_PLUGIN("refuses", "0", "", "") {
  return kubernel::Error(kubernel::Reason::Invalid, "not on a tuesday");
}
