// SPDX-License-Identifier: Apache-2.0
//
// The resource quota controller: status.hard and status.used of every quota. Admission (in the API server) adds to
// status.used before it lets a write through; this counts what really is there.

#pragma once

#include <memory>

#include <kubernel/controller/reconciler.h>

namespace kubernel::plugins::resource_quota {

Result<std::unique_ptr<controller::Reconciler>> make_reconciler(const controller::ControllerContext& context);

}  // namespace kubernel::plugins::resource_quota
