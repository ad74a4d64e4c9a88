// SPDX-License-Identifier: Apache-2.0
//
// Service account tokens: signed here, and proved here.

#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include <kubernel/auth/authenticator.h>

#include "pipeline/api.h"

namespace kubernel::apiserver {

struct TokenOptions {
  std::string issuer;           ///< A URL; also the audience of tokens that ask for none.
  std::string private_key_pem;  ///< sa.key.
  std::string public_key_pem;   ///< sa.pub.
};

/// A user that a token proves, and the audiences it proves it to.
struct TokenUser {
  auth::User user;
  std::vector<std::string> audiences;
};

/// Threads: all members may be called concurrently, after Api::start().
/// Lifetime: `api` outlives it.
class ServiceAccountTokens {
 public:
  ServiceAccountTokens(const Api& api, TokenOptions options) : api_(api), options_(std::move(options)) {}

  const std::string& issuer() const noexcept { return options_.issuer; }

  /// Answers a TokenRequest for a service account.
  Result<json> issue(const Caller& caller, const api::ObjectKey& account, json request) const;

  /// Who presents `token`, when it is for one of `audiences` (empty: the API itself) and it, its account and what it is
  /// bound to are all alive. Errors: Unauthorized otherwise; the message says why, never what.
  Result<TokenUser> authenticate(const CallContext& ctx, std::string_view token,
                                 const std::vector<std::string>& audiences) const;

  /// The documents of OIDC discovery: /openid/v1/jwks and /.well-known/openid-configuration.
  Result<std::string> keys_document() const;
  std::string configuration_document() const;

 private:
  struct Bound;
  Result<Bound> bound_objects(const Caller& caller, const api::ObjectKey& account, const json& request) const;
  Result<api::Object> find(const CallContext& ctx, std::string_view plural, const api::ObjectKey& key) const;
  Result<std::shared_ptr<const json>> verify(std::string_view token) const;
  Result<void> check_alive(const CallContext& ctx, std::string_view plural, const api::ObjectKey& key,
                           std::string_view uid) const;

  const Api& api_;
  const TokenOptions options_;

  // Signatures already checked, by the token's digest. Whether the objects live is asked each time.
  mutable std::mutex mutex_;
  mutable std::map<std::string, std::shared_ptr<const json>> verified_;
};

/// Knows "Authorization: Bearer".
std::shared_ptr<auth::Authenticator> make_token_authenticator(std::shared_ptr<const ServiceAccountTokens> tokens);

/// serviceaccounts/token, authentication.k8s.io/tokenreviews.
void serve_tokens(Api& api, const std::shared_ptr<const ServiceAccountTokens>& tokens);

/// authentication.v1.UserInfo.
json user_info(const auth::User& user);

}  // namespace kubernel::apiserver
