// SPDX-License-Identifier: Apache-2.0
//
// The namespace controller: what is in a namespace goes before the namespace.

#pragma once

#include <memory>

#include <kubernel/controller/reconciler.h>

namespace kubernel::plugins::namespaces {

Result<std::unique_ptr<controller::Reconciler>> make_reconciler(const controller::ControllerContext& context);

}  // namespace kubernel::plugins::namespaces
