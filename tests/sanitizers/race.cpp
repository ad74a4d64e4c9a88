// SPDX-License-Identifier: Apache-2.0
#include <thread>

int main() {
  int shared = 0;
  std::thread other([&shared] { ++shared; });
  ++shared;
  other.join();
  return shared == 0 ? 0 : 0;
}
