// SPDX-License-Identifier: Apache-2.0
#include <memory>

int main() {
  auto owner = std::make_unique<int>(1);
  const int* volatile kept = owner.get();
  owner.reset();
  return *kept == 1 ? 0 : 0;
}
