// SPDX-License-Identifier: Apache-2.0
//
// The admission steps that are part of the server itself, in the order they run.

#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include <kubernel/admission/admission.h>

#include "pipeline/api.h"

namespace kubernel::apiserver {

/// What steps after NamespaceLifecycle read with: it has brought the caches up to the moment a request for a namespaced
/// object came.
inline constexpr std::string_view kCached = "0";

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

/// LimitRanger: defaults and bounds of a namespace's limit ranges.
std::unique_ptr<admission::Admission> make_limit_ranger(const Api& api);
/// RuntimeClass: the overhead and placement of a pod's runtime class.
std::unique_ptr<admission::Admission> make_runtime_class(const Api& api);
/// Certificate signing requests name who made them; CertificateApproval and CertificateSigning.
std::unique_ptr<admission::Admission> make_signing_requests(const Api& api);
/// DefaultStorageClass and DefaultIngressClass: the class an annotation makes the default.
std::unique_ptr<admission::Admission> make_default_storage_class(const Api& api);
std::unique_ptr<admission::Admission> make_default_ingress_class(const Api& api);
/// PersistentVolumeClaimResize: a bound claim grows when its class allows it.
std::unique_ptr<admission::Admission> make_claim_resize(const Api& api);
/// ResourceQuota: nothing exceeds a quota of its namespace.
std::unique_ptr<admission::Admission> make_resource_quota(const Api& api);

/// All of the above, added to `api`; `plugins` (those of other shared objects) come before ResourceQuota, which must
/// see what is stored.
void add_admission(Api& api, std::vector<std::unique_ptr<admission::Admission>> plugins);

}  // namespace kubernel::apiserver
