// SPDX-License-Identifier: Apache-2.0
//
// Questions about rights: SubjectAccessReview and its relatives, SelfSubjectRulesReview, SelfSubjectReview.

#pragma once

#include "auth/rbac.h"
#include "pipeline/api.h"

namespace kubernel::apiserver {

/// Answers with `api`'s authorizer, and lists rules as `rbac` knows them. Before Api::start().
void serve_reviews(Api& api, std::shared_ptr<Rbac> rbac);

}  // namespace kubernel::apiserver
