// SPDX-License-Identifier: Apache-2.0
#include "http/client_certificate.h"

namespace kubernel::apiserver {

namespace {

class CertificateAuthenticator final : public auth::Authenticator {
 public:
  Result<std::optional<auth::User>> authenticate(const CallContext&, const net::Request& request) override {
    if (!request.peer_certificate || request.peer_certificate->common_name.empty()) return std::optional<auth::User>();
    auth::User user{request.peer_certificate->common_name, "", request.peer_certificate->organizations, {}};
    user.groups.emplace_back("system:authenticated");
    return std::optional(std::move(user));
  }
};

}  // namespace

std::unique_ptr<auth::Authenticator> make_certificate_authenticator() { return std::make_unique<CertificateAuthenticator>(); }

}  // namespace kubernel::apiserver
