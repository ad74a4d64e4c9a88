// SPDX-License-Identifier: Apache-2.0
#include "crypto/openssl.h"

#include <limits>

namespace kubernel::crypto {
namespace {

// Keys come from files; a prompt for a passphrase on the terminal would hang the process.
int no_passphrase(char*, int, int, void*) {
  return -1;
}

Result<std::string> drain(BIO* bio) {
  const char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  if (size <= 0) return openssl_error(Reason::Internal, "cannot write PEM");
  return std::string(data, static_cast<std::size_t>(size));
}

}  // namespace

Error openssl_error(Reason reason, std::string_view what) {
  std::string message(what);
  if (const unsigned long code = ERR_get_error(); code != 0) {
    const char* text = ERR_reason_error_string(code);
    message += std::string(": ") + (text != nullptr ? text : "OpenSSL error " + std::to_string(code));
  }
  ERR_clear_error();
  return {reason, std::move(message)};
}

BioPtr read_bio(std::string_view text) {
  if (text.size() > static_cast<std::size_t>(std::numeric_limits<int>::max())) return nullptr;
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

Result<X509Ptr> parse_certificate(std::string_view pem) {
  const BioPtr bio = read_bio(pem);
  if (!bio) return Error(Reason::Invalid, "not a PEM certificate");
  X509Ptr certificate(PEM_read_bio_X509(bio.get(), nullptr, no_passphrase, nullptr));
  if (!certificate) return openssl_error(Reason::Invalid, "not a PEM certificate");
  return certificate;
}

Result<PkeyPtr> parse_private_key(std::string_view pem) {
  const BioPtr bio = read_bio(pem);
  if (!bio) return Error(Reason::Invalid, "not a PEM private key");
  PkeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr));
  if (!key) return openssl_error(Reason::Invalid, "not a PEM private key");
  return key;
}

Result<PkeyPtr> parse_public_key(std::string_view pem) {
  const BioPtr bio = read_bio(pem);
  if (!bio) return Error(Reason::Invalid, "not a PEM public key");
  PkeyPtr key(PEM_read_bio_PUBKEY(bio.get(), nullptr, no_passphrase, nullptr));
  if (!key) return openssl_error(Reason::Invalid, "not a PEM public key");
  return key;
}

Result<PkeyPtr> generate_key() {
  PkeyPtr key(EVP_EC_gen("P-256"));
  if (!key) return openssl_error(Reason::Internal, "cannot generate a P-256 key");
  return key;
}

Result<std::string> certificate_text(X509* certificate) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (!bio || PEM_write_bio_X509(bio.get(), certificate) != 1) {
    return openssl_error(Reason::Internal, "cannot write a certificate");
  }
  return drain(bio.get());
}

Result<std::string> private_key_text(EVP_PKEY* key) {
  const BioPtr bio(BIO_new(BIO_s_secmem()));
  if (!bio || PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return openssl_error(Reason::Internal, "cannot write a private key");
  }
  return drain(bio.get());
}

Result<std::string> public_key_text(EVP_PKEY* key) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (!bio || PEM_write_bio_PUBKEY(bio.get(), key) != 1) {
    return openssl_error(Reason::Internal, "cannot write a public key");
  }
  return drain(bio.get());
}

}  // namespace kubernel::crypto
