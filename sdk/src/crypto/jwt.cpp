// SPDX-License-Identifier: Apache-2.0
#include <openssl/core_names.h>

#include <nlohmann/json.hpp>

#include "crypto/encoding.h"
#include "crypto/openssl.h"

namespace kubernel::crypto {
namespace {

constexpr int kFieldBytes = 32;  // P-256: r, s, x and y.

Result<void> check_p256(EVP_PKEY* key) {
  char group[32] = {};
  std::size_t size = 0;
  if (EVP_PKEY_get_base_id(key) != EVP_PKEY_EC ||
      EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof group, &size) != 1 ||
      std::string_view(group, size) != "prime256v1") {
    ERR_clear_error();
    return Error(Reason::Invalid, "the key is not a P-256 key");
  }
  return {};
}

std::string fixed_bytes(const BIGNUM* number) {
  std::string bytes(kFieldBytes, '\0');
  if (BN_bn2binpad(number, reinterpret_cast<unsigned char*>(bytes.data()), kFieldBytes) != kFieldBytes) return {};
  return bytes;
}

Result<std::string> coordinate(EVP_PKEY* key, const char* name) {
  BIGNUM* raw = nullptr;
  if (EVP_PKEY_get_bn_param(key, name, &raw) != 1) return openssl_error(Reason::Internal, "cannot read the key");
  const BignumPtr number(raw);
  return base64url_encode(fixed_bytes(number.get()));
}

// JWS wants r || s, OpenSSL speaks DER.
Result<std::string> raw_signature(const std::string& der) {
  const auto* cursor = reinterpret_cast<const unsigned char*>(der.data());
  const EcdsaSigPtr signature(d2i_ECDSA_SIG(nullptr, &cursor, static_cast<long>(der.size())));
  if (!signature) return openssl_error(Reason::Internal, "cannot read a signature");
  return fixed_bytes(ECDSA_SIG_get0_r(signature.get())) + fixed_bytes(ECDSA_SIG_get0_s(signature.get()));
}

Result<std::string> der_signature(std::string_view raw) {
  if (raw.size() != 2 * kFieldBytes) return Error(Reason::Unauthorized, "invalid bearer token");
  const auto* bytes = reinterpret_cast<const unsigned char*>(raw.data());
  const EcdsaSigPtr signature(ECDSA_SIG_new());
  BignumPtr r(BN_bin2bn(bytes, kFieldBytes, nullptr));
  BignumPtr s(BN_bin2bn(bytes + kFieldBytes, kFieldBytes, nullptr));
  if (!signature || !r || !s || ECDSA_SIG_set0(signature.get(), r.get(), s.get()) != 1) {
    return openssl_error(Reason::Internal, "cannot make a signature");
  }
  static_cast<void>(r.release());
  static_cast<void>(s.release());
  unsigned char* der = nullptr;
  const int size = i2d_ECDSA_SIG(signature.get(), &der);
  if (size <= 0) return openssl_error(Reason::Internal, "cannot write a signature");
  std::string text(reinterpret_cast<const char*>(der), static_cast<std::size_t>(size));
  OPENSSL_free(der);
  return text;
}

bool signed_by(EVP_PKEY* key, std::string_view message, const std::string& der) {
  const DigestPtr digest(EVP_MD_CTX_new());
  const bool good = digest && EVP_DigestVerifyInit(digest.get(), nullptr, EVP_sha256(), nullptr, key) == 1 &&
                    EVP_DigestVerify(digest.get(), reinterpret_cast<const unsigned char*>(der.data()), der.size(),
                                     reinterpret_cast<const unsigned char*>(message.data()), message.size()) == 1;
  ERR_clear_error();
  return good;
}

Result<std::string> sign_message(EVP_PKEY* key, std::string_view message) {
  const DigestPtr digest(EVP_MD_CTX_new());
  const auto* bytes = reinterpret_cast<const unsigned char*>(message.data());
  std::size_t size = 0;
  if (!digest || EVP_DigestSignInit(digest.get(), nullptr, EVP_sha256(), nullptr, key) != 1 ||
      EVP_DigestSign(digest.get(), nullptr, &size, bytes, message.size()) != 1) {
    return openssl_error(Reason::Internal, "cannot sign");
  }
  std::string der(size, '\0');
  if (EVP_DigestSign(digest.get(), reinterpret_cast<unsigned char*>(der.data()), &size, bytes, message.size()) != 1) {
    return openssl_error(Reason::Internal, "cannot sign");
  }
  der.resize(size);
  return raw_signature(der);
}

struct TokenParts {
  std::string_view signed_part;  // "header.payload".
  std::string_view header;
  std::string_view payload;
  std::string_view signature;
};

bool split(std::string_view token, TokenParts& parts) {
  const std::size_t first = token.find('.');
  if (first == std::string_view::npos) return false;
  const std::size_t second = token.find('.', first + 1);
  if (second == std::string_view::npos || token.find('.', second + 1) != std::string_view::npos) return false;
  parts = {token.substr(0, second), token.substr(0, first), token.substr(first + 1, second - first - 1),
           token.substr(second + 1)};
  return true;
}

Result<nlohmann::json> parse_part(std::string_view part) {
  KUBERNEL_TRY(const std::string text, base64url_decode(part));
  auto document = nlohmann::json::parse(text, nullptr, false);
  if (!document.is_object()) return Error(Reason::Invalid, "not a JSON object");
  return document;
}

}  // namespace

Result<std::string> make_private_key() {
  KUBERNEL_TRY(const PkeyPtr key, generate_key());
  return private_key_text(key.get());
}

Result<std::string> public_key(std::string_view private_key_pem) {
  KUBERNEL_TRY(const PkeyPtr key, parse_private_key(private_key_pem));
  return public_key_text(key.get());
}

Result<std::string> key_id(std::string_view public_key_pem) {
  KUBERNEL_TRY(const PkeyPtr key, parse_public_key(public_key_pem));
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key.get(), &der);
  if (size <= 0) return openssl_error(Reason::Internal, "cannot write a public key");
  const std::string digest = sha256({reinterpret_cast<const char*>(der), static_cast<std::size_t>(size)});
  OPENSSL_free(der);
  return base64url_encode(digest);
}

Result<nlohmann::json> to_jwk(std::string_view public_key_pem) {
  KUBERNEL_TRY(const PkeyPtr key, parse_public_key(public_key_pem));
  KUBERNEL_CHECK_OK(check_p256(key.get()));
  KUBERNEL_TRY(const std::string id, key_id(public_key_pem));
  KUBERNEL_TRY(const std::string x, coordinate(key.get(), OSSL_PKEY_PARAM_EC_PUB_X));
  KUBERNEL_TRY(const std::string y, coordinate(key.get(), OSSL_PKEY_PARAM_EC_PUB_Y));
  nlohmann::json jwk = nlohmann::json::object();
  jwk["use"] = "sig";
  jwk["kty"] = "EC";
  jwk["kid"] = id;
  jwk["crv"] = "P-256";
  jwk["alg"] = "ES256";
  jwk["x"] = x;
  jwk["y"] = y;
  return jwk;
}

Result<std::string> sign_jwt(const nlohmann::json& claims, std::string_view private_key_pem) {
  KUBERNEL_TRY(const PkeyPtr key, parse_private_key(private_key_pem));
  KUBERNEL_CHECK_OK(check_p256(key.get()));
  KUBERNEL_TRY(const std::string public_pem, public_key_text(key.get()));
  KUBERNEL_TRY(const std::string id, key_id(public_pem));
  nlohmann::json header = nlohmann::json::object();
  header["alg"] = "ES256";
  header["kid"] = id;
  return catch_as_error("cannot sign a token", [&]() -> Result<std::string> {
    std::string token = base64url_encode(header.dump()) + "." + base64url_encode(claims.dump());
    KUBERNEL_TRY(const std::string signature, sign_message(key.get(), token));
    return token + "." + base64url_encode(signature);
  });
}

Result<nlohmann::json> verify_jwt(std::string_view token, const std::vector<std::string>& public_keys_pem) {
  const Error refused(Reason::Unauthorized, "invalid bearer token");
  TokenParts parts;
  if (!split(token, parts)) return refused;
  const auto header = parse_part(parts.header);
  // Only ES256: "none" and the confusion of public keys with HMAC secrets end here.
  const auto alg = header ? header->find("alg") : nlohmann::json::const_iterator();
  if (!header || alg == header->end() || *alg != "ES256" || header->contains("crit")) return refused;
  const auto raw = base64url_decode(parts.signature);
  if (!raw) return refused;
  const auto der = der_signature(*raw);
  if (!der) return refused;

  for (const std::string& pem : public_keys_pem) {
    KUBERNEL_TRY(const PkeyPtr key, parse_public_key(pem));
    KUBERNEL_CHECK_OK(check_p256(key.get()));
    if (!signed_by(key.get(), parts.signed_part, *der)) continue;
    auto claims = parse_part(parts.payload);
    if (!claims) return refused;
    return claims;
  }
  return refused;
}

}  // namespace kubernel::crypto
