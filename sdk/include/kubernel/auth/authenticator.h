// SPDX-License-Identifier: Apache-2.0
//
// Authenticator: finds out who makes a request.
//
// An API server (and a kubelet's own endpoint) asks its authenticators in order; the first with an opinion decides.
// When none has one, the request is anonymous or refused, as the server is configured.

#pragma once

#include <optional>

#include <kubernel/auth/user.h>
#include <kubernel/base/context.h>
#include <kubernel/base/result.h>
#include <kubernel/net/http.h>

namespace kubernel::auth {

/// Threads: all members may be called concurrently. May block (a token's service account is looked up).
class Authenticator {
 public:
  virtual ~Authenticator() = default;

  /// The user the request's credentials prove; absent when it carries none of the kind this authenticator knows.
  /// The user's groups are complete: with "system:authenticated".
  ///
  /// Errors: Unauthorized when there are such credentials and they are wrong; the request is then refused without
  /// asking others.
  virtual Result<std::optional<User>> authenticate(const CallContext& ctx, const net::Request& request) = 0;
};

}  // namespace kubernel::auth
