// SPDX-License-Identifier: Apache-2.0
//
// Everything the server needs to know who asks and what they may do, put together.

#pragma once

#include <memory>
#include <vector>

#include <kubernel/auth/authenticator.h>

#include "auth/rbac.h"
#include "auth/service_account_tokens.h"
#include "http/front.h"

namespace kubernel::apiserver {

/// Lifetime: `api` outlives it.
class Auth {
 public:
  /// Before Api::start(): sets the authorizer, adds the admission steps that belong to it, serves tokens and reviews.
  Auth(Api& api, TokenOptions tokens);

  /// Client certificates, then tokens.
  std::vector<std::shared_ptr<auth::Authenticator>> authenticators() const;
  /// Serves the OIDC discovery documents. Errors: Internal when the key cannot be shown.
  Result<void> serve_documents(Front& front) const;

 private:
  std::shared_ptr<Rbac> rbac_;
  std::shared_ptr<const ServiceAccountTokens> tokens_;
};

}  // namespace kubernel::apiserver
