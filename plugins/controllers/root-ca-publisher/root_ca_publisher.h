// SPDX-License-Identifier: Apache-2.0
//
// The root CA publisher: config map kube-root-ca.crt in every namespace.

#pragma once

#include <memory>

#include <kubernel/controller/reconciler.h>

namespace kubernel::plugins::root_ca_publisher {

// Errors: BadRequest when the file cannot be read or holds no certificate.
Result<std::unique_ptr<controller::Reconciler>> make_reconciler(const controller::ControllerContext& context);

}  // namespace kubernel::plugins::root_ca_publisher
