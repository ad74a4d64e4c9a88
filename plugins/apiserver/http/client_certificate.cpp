// SPDX-License-Identifier: Apache-2.0
#include "http/client_certificate.h"

#include <string>
#include <string_view>

#include <kubernel/crypto/pki.h>

namespace kubernel::apiserver {

namespace {

// SHA-256 of the first certificate's DER; empty when the text is no PEM.
std::string fingerprint(std::string_view pem) {
  constexpr std::string_view kBegin = "-----BEGIN CERTIFICATE-----";
  const std::size_t begin = pem.find(kBegin);
  const std::size_t end = pem.find("-----END CERTIFICATE-----");
  if (begin == std::string_view::npos || end == std::string_view::npos || end < begin) return {};
  std::string text(pem.substr(begin + kBegin.size(), end - begin - kBegin.size()));
  std::erase_if(text, [](char c) { return c == '\n' || c == '\r' || c == ' '; });
  const auto der = crypto::base64_decode(text);
  return der ? crypto::sha256_hex(*der) : std::string();
}

class CertificateAuthenticator final : public auth::Authenticator {
 public:
  Result<std::optional<auth::User>> authenticate(const CallContext&, const net::Request& request) override {
    if (!request.peer_certificate || request.peer_certificate->common_name.empty()) return std::optional<auth::User>();
    auth::User user{request.peer_certificate->common_name, "", request.peer_certificate->organizations, {}};
    user.groups.emplace_back("system:authenticated");
    if (const std::string digest = fingerprint(request.peer_certificate->pem); !digest.empty()) {
      user.extra["authentication.kubernetes.io/credential-id"] = {"X509SHA256=" + digest};
    }
    return std::optional(std::move(user));
  }
};

}  // namespace

std::unique_ptr<auth::Authenticator> make_certificate_authenticator() {
  return std::make_unique<CertificateAuthenticator>();
}

}  // namespace kubernel::apiserver
