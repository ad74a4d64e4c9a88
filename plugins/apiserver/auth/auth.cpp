// SPDX-License-Identifier: Apache-2.0
#include "auth/auth.h"

#include <utility>

#include "auth/chain.h"
#include "auth/escalation.h"
#include "auth/node_authorizer.h"
#include "auth/node_restriction.h"
#include "auth/reviews.h"
#include "http/client_certificate.h"

namespace kubernel::apiserver {

namespace {

PathHandler document(std::string body, const char* content_type) {
  return [body = std::move(body), content_type](const net::Request&) {
    net::Response out;
    out.headers.set("content-type", content_type);
    out.headers.set("cache-control", "public, max-age=3600");
    out.body = body;
    return out;
  };
}

}  // namespace

Auth::Auth(Api& api, TokenOptions tokens)
    : rbac_(std::make_shared<Rbac>(api)),
      tokens_(std::make_shared<const ServiceAccountTokens>(api, std::move(tokens))) {
  api.set_authorizer(make_authorizer_chain({make_masters_authorizer(), std::make_shared<NodeAuthorizer>(api), rbac_}));
  api.add_admission(make_node_restriction(api));
  api.add_admission(make_escalation_check(api, rbac_));
  serve_tokens(api, tokens_);
  serve_reviews(api, rbac_);
}

std::vector<std::shared_ptr<auth::Authenticator>> Auth::authenticators() const {
  return {make_certificate_authenticator(), make_token_authenticator(tokens_)};
}

Result<void> Auth::serve_documents(Front& front) const {
  KUBERNEL_TRY(std::string keys, tokens_->keys_document());
  front.serve_path("/openid/v1/jwks", document(std::move(keys), "application/jwk-set+json"));
  front.serve_path("/.well-known/openid-configuration",
                   document(tokens_->configuration_document(), "application/json"));
  return {};
}

}  // namespace kubernel::apiserver
