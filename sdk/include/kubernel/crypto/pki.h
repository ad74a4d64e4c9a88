// SPDX-License-Identifier: Apache-2.0
//
// Keys, certificates, and signed tokens. The only user of OpenSSL beside the TLS sockets.

#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include <kubernel/base/clock.h>
#include <kubernel/base/export.h>
#include <kubernel/base/random.h>
#include <kubernel/base/result.h>

namespace kubernel::crypto {

/// A private key and a certificate, PEM. Never log it.
struct KeyPair {
  std::string certificate_pem;
  std::string private_key_pem;
};

struct CertificateRequest {
  std::string common_name;
  std::vector<std::string> organizations;
  std::vector<std::string> dns_names;
  std::vector<std::string> ip_addresses;
  bool server = false;  ///< extendedKeyUsage serverAuth.
  bool client = false;  ///< extendedKeyUsage clientAuth.
  Clock::WallTime not_before;
  Clock::WallTime not_after;
};

/// A self-signed CA with a P-256 key (RFC 5280 basicConstraints CA:TRUE, keyCertSign).
[[nodiscard]] KUBERNEL_EXPORT Result<KeyPair> make_ca(std::string_view common_name, Clock::WallTime not_before,
                                                      Clock::WallTime not_after);
/// A new P-256 key and its certificate, signed by `ca`.
[[nodiscard]] KUBERNEL_EXPORT Result<KeyPair> issue(const KeyPair& ca, const CertificateRequest& request);

struct CertificateInfo {
  std::string common_name;
  std::vector<std::string> organizations;
  std::vector<std::string> dns_names;
  std::vector<std::string> ip_addresses;
  Clock::WallTime not_before;
  Clock::WallTime not_after;
};
/// The first certificate in `pem`. Errors: Invalid.
KUBERNEL_EXPORT Result<CertificateInfo> read_certificate(std::string_view pem);

/// A new P-256 private key, PEM.
[[nodiscard]] KUBERNEL_EXPORT Result<std::string> make_private_key();
/// The public half, PEM (SubjectPublicKeyInfo).
KUBERNEL_EXPORT Result<std::string> public_key(std::string_view private_key_pem);
/// base64url of SHA-256 of the DER public key: upstream's key id for service account tokens.
KUBERNEL_EXPORT Result<std::string> key_id(std::string_view public_key_pem);
/// The key as a JSON Web Key (RFC 7517) with kid, alg ES256 and use "sig".
KUBERNEL_EXPORT Result<nlohmann::json> to_jwk(std::string_view public_key_pem);

/// A compact JWS (RFC 7515), ES256, header {"alg","kid"}.
KUBERNEL_EXPORT Result<std::string> sign_jwt(const nlohmann::json& claims, std::string_view private_key_pem);
/// The claims, when the signature is by one of `public_keys_pem`. Checks neither time nor audience.
/// Errors: Unauthorized; never repeats the token.
KUBERNEL_EXPORT Result<nlohmann::json> verify_jwt(std::string_view token,
                                                  const std::vector<std::string>& public_keys_pem);

KUBERNEL_EXPORT std::string base64_encode(std::string_view bytes);
/// Errors: Invalid.
KUBERNEL_EXPORT Result<std::string> base64_decode(std::string_view text);
KUBERNEL_EXPORT std::string base64url_encode(std::string_view bytes);
KUBERNEL_EXPORT std::string sha256_hex(std::string_view bytes);

/// The cryptographically strong process source (getrandom(2)).
KUBERNEL_EXPORT Random& system_random();

}  // namespace kubernel::crypto
