// SPDX-License-Identifier: Apache-2.0
//
// The admission steps that are part of the server itself, in the order they run.

#pragma once

#include <memory>
#include <vector>

#include <kubernel/admission/admission.h>

#include "pipeline/api.h"

namespace kubernel::apiserver {

/// NamespaceLifecycle: nothing is created in a namespace that is missing or terminating; default and kube-* stay.
std::unique_ptr<admission::Admission> make_namespace_lifecycle(const Api& api);
/// TaintNodesByCondition: a new node takes no pods before it is known to be ready.
std::unique_ptr<admission::Admission> make_node_taint();
/// ServiceAccount: every pod runs under an account of its namespace and gets its token.
std::unique_ptr<admission::Admission> make_service_account_admission(const Api& api);
/// DefaultTolerationSeconds: five minutes of grace when a node fails.
std::unique_ptr<admission::Admission> make_default_tolerations();
/// Priority: the number behind priorityClassName.
std::unique_ptr<admission::Admission> make_priority(const Api& api);

/// All of the above, added to `api`.
void add_builtin_admission(Api& api);

}  // namespace kubernel::apiserver
