// SPDX-License-Identifier: Apache-2.0
//
// SystemRandom: the kernel's generator. Cryptographically strong, also right after boot and in a forked process.

#pragma once

#include <cstdint>

#include <kubernel/base/random.h>

namespace kubernel::core {

class SystemRandom final : public Random {
 public:
  std::uint64_t next() override;
};

}  // namespace kubernel::core
