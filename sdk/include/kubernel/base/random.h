// SPDX-License-Identifier: Apache-2.0
//
// Random: the one source of randomness, injected so that a test can seed it.

#pragma once

#include <cstdint>
#include <string>

#include <kubernel/base/export.h>

namespace kubernel {

/// Threads: all members may be called concurrently.
class KUBERNEL_EXPORT Random {
 public:
  virtual ~Random() = default;

  /// 64 uniformly distributed bits. The process's own source is cryptographically strong
  /// (getrandom(2)); a seeded one in tests is not.
  virtual std::uint64_t next() = 0;
};

/// A number in [0, bound). Precondition: bound > 0.
KUBERNEL_EXPORT std::uint64_t random_below(Random& random, std::uint64_t bound);

/// `length` characters of upstream's name-suffix alphabet "bcdfghjklmnpqrstvwxz2456789"
/// (no vowels, so no words; apimachinery util/rand).
KUBERNEL_EXPORT std::string random_suffix(Random& random, std::size_t length);

/// A version 4 UUID in its usual text form (RFC 9562).
KUBERNEL_EXPORT std::string random_uuid(Random& random);

}  // namespace kubernel
