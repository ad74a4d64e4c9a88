// SPDX-License-Identifier: Apache-2.0
//
// NodeRestriction: a kubelet writes its own Node, lease and CSINode, the status of pods bound to it, and mirror pods.

#pragma once

#include <memory>

#include <kubernel/admission/admission.h>

#include "pipeline/api.h"

namespace kubernel::apiserver {

/// `api` outlives it.
std::unique_ptr<admission::Admission> make_node_restriction(const Api& api);

}  // namespace kubernel::apiserver
