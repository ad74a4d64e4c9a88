// SPDX-License-Identifier: Apache-2.0
// Declares a word that is not point/name.
#include "spec.h"

KUBERNEL_PLUGIN("bad-declaration", "0", "", "Hello") {
  return {};
}
