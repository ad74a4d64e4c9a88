// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <kubernel/auth/user.h>
#include <kubernel/net/http.h>

#include "pipeline/api.h"

namespace kubernel::apiserver {

/// The user the request's Impersonate- headers ask for, when `user` may act as them; `user` when there are none.
/// Errors: Forbidden; BadRequest for groups or extras without a user.
Result<auth::User> impersonate(const Api& api, const CallContext& ctx, const net::Request& request,
                               const auth::User& user);

}  // namespace kubernel::apiserver
