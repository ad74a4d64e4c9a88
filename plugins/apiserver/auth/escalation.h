// SPDX-License-Identifier: Apache-2.0
//
// Nobody grants by RBAC what they do not have themselves, unless they may "escalate" the role or "bind" it.

#pragma once

#include <memory>

#include <kubernel/admission/admission.h>

#include "auth/rbac.h"

namespace kubernel::apiserver {

/// Checks writes of (cluster) roles and (cluster) role bindings. `api` outlives it.
std::unique_ptr<admission::Admission> make_escalation_check(const Api& api, std::shared_ptr<Rbac> rbac);

}  // namespace kubernel::apiserver
