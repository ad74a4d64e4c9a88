// SPDX-License-Identifier: Apache-2.0
//
// The service account controller: a "default" account in every namespace.

#pragma once

#include <memory>

#include <kubernel/controller/reconciler.h>

namespace kubernel::plugins::serviceaccount {

Result<std::unique_ptr<controller::Reconciler>> make_reconciler(const controller::ControllerContext& context);

}  // namespace kubernel::plugins::serviceaccount
