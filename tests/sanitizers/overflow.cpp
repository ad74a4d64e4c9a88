// SPDX-License-Identifier: Apache-2.0
#include <limits>

int main() {
  volatile int most = std::numeric_limits<int>::max();
  volatile int more = most + 1;
  return more == 0 ? 0 : 0;
}
