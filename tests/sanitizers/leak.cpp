// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>

int main() {
  // Through a volatile pointer, so that neither the compiler nor the stack keeps the block alive.
  char* volatile block = static_cast<char*>(std::malloc(4096));
  if (block == nullptr) return 0;
  block[0] = 1;
  block = nullptr;
  return 0;
}
