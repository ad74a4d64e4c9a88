// SPDX-License-Identifier: Apache-2.0
#include <sys/random.h>

#include <cerrno>
#include <cstdlib>

#include <kubernel/crypto/pki.h>

namespace kubernel::crypto {
namespace {

class SystemRandom final : public Random {
 public:
  std::uint64_t next() override {
    std::uint64_t bits = 0;
    for (;;) {
      // Up to 256 bytes are never cut short once the kernel's pool is ready; only a signal before that interrupts.
      if (getrandom(&bits, sizeof bits, 0) == static_cast<ssize_t>(sizeof bits)) return bits;
      if (errno != EINTR) std::abort();  // No getrandom(2): nothing here would be secret.
    }
  }
};

}  // namespace

Random& system_random() {
  static SystemRandom source;
  return source;
}

}  // namespace kubernel::crypto
