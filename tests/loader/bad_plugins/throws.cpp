// SPDX-License-Identifier: Apache-2.0
// Throws out of its registration function.
#include <stdexcept>

#include "spec.h"

KUBERNEL_PLUGIN("throws", "0", "", "") {
  throw std::runtime_error("boom");
}
