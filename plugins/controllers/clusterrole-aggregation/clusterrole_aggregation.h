// SPDX-License-Identifier: Apache-2.0
//
// Cluster role aggregation: a role with an aggregationRule has the rules of all roles its selectors choose.

#pragma once

#include <memory>

#include <kubernel/controller/reconciler.h>

namespace kubernel::plugins::clusterrole_aggregation {

Result<std::unique_ptr<controller::Reconciler>> make_reconciler(const controller::ControllerContext& context);

}  // namespace kubernel::plugins::clusterrole_aggregation
