// SPDX-License-Identifier: Apache-2.0
#include "core/base/system_random.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <sys/random.h>

namespace kubernel::core {

std::uint64_t SystemRandom::next() {
  std::uint64_t bits = 0;
  // Up to 256 bytes come whole; only a signal while the pool is not yet seeded interrupts.
  while (getrandom(&bits, sizeof bits, 0) != static_cast<ssize_t>(sizeof bits)) {
    if (errno != EINTR) {
      std::fprintf(stderr, "kubernel: getrandom: %s\n", std::strerror(errno));
      std::abort();
    }
  }
  return bits;
}

}  // namespace kubernel::core
