// SPDX-License-Identifier: Apache-2.0
//
// The kubelet component: opens runtime and network, registers the node and runs the pods bound to it.

#pragma once

#include <memory>

#include <kubernel/base/result.h>
#include <kubernel/plugin/component.h>

namespace kubernel::kubelet {

// Errors: Invalid for an unusable configuration, naming the member.
Result<std::unique_ptr<plugin::Component>> make_kubelet(const plugin::ComponentContext& context);

}  // namespace kubernel::kubelet
