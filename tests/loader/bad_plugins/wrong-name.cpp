// SPDX-License-Identifier: Apache-2.0
// Its file has another name than its text.
#include "spec.h"

KUBERNEL_PLUGIN("right-name", "0", "", "") {
  return {};
}
