// SPDX-License-Identifier: Apache-2.0
//
// The order in which authorizers are asked.

#pragma once

#include <memory>
#include <vector>

#include <kubernel/auth/authorizer.h>

namespace kubernel::apiserver {

/// Allows members of system:masters everything, as upstream's privileged group; has no opinion on others.
std::shared_ptr<auth::Authorizer> make_masters_authorizer();

/// Asks one after the other. The first that allows or denies decides; when none does, the reasons of all are told.
std::shared_ptr<auth::Authorizer> make_authorizer_chain(std::vector<std::shared_ptr<auth::Authorizer>> authorizers);

}  // namespace kubernel::apiserver
