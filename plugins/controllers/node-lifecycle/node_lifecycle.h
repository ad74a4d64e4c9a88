// SPDX-License-Identifier: Apache-2.0
//
// The node lifecycle controller and the taint eviction that goes with it.

#pragma once

#include <memory>

#include <kubernel/controller/reconciler.h>

namespace kubernel::plugins::node_lifecycle {

Result<std::unique_ptr<controller::Reconciler>> make_reconciler(const controller::ControllerContext& context);

}  // namespace kubernel::plugins::node_lifecycle
