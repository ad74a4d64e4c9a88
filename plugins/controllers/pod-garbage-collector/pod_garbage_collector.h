// SPDX-License-Identifier: Apache-2.0
//
// The pod garbage collector.

#pragma once

#include <memory>

#include <kubernel/controller/reconciler.h>

namespace kubernel::plugins::pod_garbage_collector {

Result<std::unique_ptr<controller::Reconciler>> make_reconciler(const controller::ControllerContext& context);

}  // namespace kubernel::plugins::pod_garbage_collector
