// SPDX-License-Identifier: Apache-2.0
//
// Certificates, keys, tokens and base64 from outside.

#include <nlohmann/json.hpp>

#include <kubernel/crypto/pki.h>

#include "target.h"

using kubernel::fuzz::must;
namespace crypto = kubernel::crypto;

static const std::string& own_key() {
  static const std::string kKey = *crypto::public_key(*crypto::make_private_key());
  return kKey;
}

KUBERNEL_FUZZ(input) {
  static_cast<void>(crypto::read_certificate(input));
  // The same bytes as the content of a PEM block: what a mutation of PEM text rarely gets to.
  static_cast<void>(crypto::read_certificate("-----BEGIN CERTIFICATE-----\n" + crypto::base64_encode(input) +
                                             "\n-----END CERTIFICATE-----\n"));
  static_cast<void>(crypto::public_key(input));
  static_cast<void>(crypto::key_id(input));
  static_cast<void>(crypto::to_jwk(input));
  must(!crypto::verify_jwt(input, {own_key()}), "nobody guesses a signature");
  if (const auto decoded = crypto::base64_decode(input)) {
    const auto again = crypto::base64_decode(crypto::base64_encode(*decoded));
    must(again.has_value() && *again == *decoded, "base64 gives back what it was given");
  }
}
