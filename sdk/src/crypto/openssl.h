// SPDX-License-Identifier: Apache-2.0
//
// Owners for OpenSSL's objects, and its error queue as text.

#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <kubernel/base/error.h>
#include <kubernel/base/result.h>
#include <kubernel/crypto/pki.h>

namespace kubernel::crypto {

template <auto kFree>
struct Free {
  template <class T>
  void operator()(T* object) const {
    kFree(object);
  }
};

using BioPtr = std::unique_ptr<BIO, Free<BIO_free>>;
using BignumPtr = std::unique_ptr<BIGNUM, Free<BN_clear_free>>;
using DigestPtr = std::unique_ptr<EVP_MD_CTX, Free<EVP_MD_CTX_free>>;
using EcdsaSigPtr = std::unique_ptr<ECDSA_SIG, Free<ECDSA_SIG_free>>;
using PkeyPtr = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using X509Ptr = std::unique_ptr<X509, Free<X509_free>>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, Free<X509_EXTENSION_free>>;

/// "what: OpenSSL's reason". Empties the thread's error queue.
Error openssl_error(Reason reason, std::string_view what);

/// A read-only BIO over `text`, which must outlive it.
BioPtr read_bio(std::string_view text);

Result<X509Ptr> parse_certificate(std::string_view pem);
Result<PkeyPtr> parse_private_key(std::string_view pem);
Result<PkeyPtr> parse_public_key(std::string_view pem);
Result<PkeyPtr> generate_key();

Result<std::string> certificate_text(X509* certificate);
Result<std::string> private_key_text(EVP_PKEY* key);
Result<std::string> public_key_text(EVP_PKEY* key);

CertificateInfo describe(X509* certificate);

/// A CA certificate for an existing key: the way to renew a CA without invalidating what it signed.
Result<KeyPair> make_ca_with_key(std::string_view private_key_pem, std::string_view common_name,
                                 Clock::WallTime not_before, Clock::WallTime not_after);

}  // namespace kubernel::crypto
