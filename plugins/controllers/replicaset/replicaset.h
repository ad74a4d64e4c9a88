// SPDX-License-Identifier: Apache-2.0
//
// The ReplicaSet controller: as many active pods as spec.replicas asks for, and a status that says how many there are.

#pragma once

#include <memory>

#include <kubernel/controller/reconciler.h>

namespace kubernel::plugins::replicaset {

Result<std::unique_ptr<controller::Reconciler>> make_reconciler(const controller::ControllerContext& context);

}  // namespace kubernel::plugins::replicaset
