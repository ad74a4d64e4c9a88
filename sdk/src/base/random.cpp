// SPDX-License-Identifier: Apache-2.0
#include <kubernel/base/random.h>

#include <array>
#include <limits>
#include <string_view>

namespace kubernel {

std::uint64_t random_below(Random& random, std::uint64_t bound) {
  // Numbers above the last multiple of `bound` are drawn again, or the low results would be likelier.
  constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();
  const std::uint64_t surplus = (kMax % bound + 1) % bound;
  std::uint64_t drawn = random.next();
  while (drawn > kMax - surplus) drawn = random.next();
  return drawn % bound;
}

std::string random_suffix(Random& random, std::size_t length) {
  constexpr std::string_view kAlphabet = "bcdfghjklmnpqrstvwxz2456789";
  std::string out(length, '\0');
  for (char& c : out) c = kAlphabet[random_below(random, kAlphabet.size())];
  return out;
}

std::string random_uuid(Random& random) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  const std::array<std::uint64_t, 2> words = {
      (random.next() & ~std::uint64_t{0xF000}) | 0x4000,                         // version 4
      (random.next() & ~(std::uint64_t{3} << 62U)) | (std::uint64_t{2} << 62U),  // variant 10
  };
  std::string out;
  for (unsigned i = 0; i < 32; ++i) {
    if (i == 8 || i == 12 || i == 16 || i == 20) out += '-';
    out += kDigits[(words[i / 16] >> (60U - 4U * (i % 16))) & 0xFU];
  }
  return out;
}

}  // namespace kubernel
