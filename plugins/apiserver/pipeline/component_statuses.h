// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <vector>

#include <kubernel/plugin/component.h>

#include "pipeline/api.h"

namespace kubernel::apiserver {

/// Serves componentstatuses: the components of this process, as /readyz sees them. (Upstream, which deprecated the
/// kind, asks the health ports of a scheduler and a controller manager on its own machine.) Before Api::start().
void serve_component_statuses(Api& api, std::function<std::vector<plugin::Process::Check>()> readiness);

}  // namespace kubernel::apiserver
