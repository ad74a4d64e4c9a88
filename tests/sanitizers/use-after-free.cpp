// SPDX-License-Identifier: Apache-2.0
#include <memory>

int main() {
  auto owner = std::make_unique<int>(1);
  const volatile int* volatile kept = owner.get();  // Volatile twice: else the read is optimized away.
  owner.reset();
  return *kept == 2;
}
