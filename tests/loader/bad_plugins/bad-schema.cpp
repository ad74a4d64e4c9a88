// SPDX-License-Identifier: Apache-2.0
// Its schema has a rule that nobody would check.
#define KUBERNEL_PLUGIN_SCHEMA R"({"type": "object", "propertys": {}})"
#include "spec.h"

KUBERNEL_PLUGIN("bad-schema", "0", "", "") {
  return {};
}
