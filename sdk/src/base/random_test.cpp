// SPDX-License-Identifier: Apache-2.0
#include <kubernel/base/random.h>

#include <array>
#include <deque>
#include <limits>
#include <set>

#include <gtest/gtest.h>

#include <kubernel/testing/fake_clock.h>

namespace kubernel {
namespace {

class Scripted final : public Random {
 public:
  explicit Scripted(std::deque<std::uint64_t> numbers) : numbers_(std::move(numbers)) {}
  std::uint64_t next() override {
    const std::uint64_t front = numbers_.at(0);
    numbers_.pop_front();
    return front;
  }

 private:
  std::deque<std::uint64_t> numbers_;
};

TEST(RandomBelow, DrawsAgainWhatWouldFavourLowResults) {
  // 2^64 = 3 * n + 1: the one surplus number is the highest.
  Scripted random({std::numeric_limits<std::uint64_t>::max(), 5});
  EXPECT_EQ(random_below(random, 3), 2U);
}

TEST(RandomBelow, APowerOfTwoNeverDrawsAgain) {
  Scripted random({std::numeric_limits<std::uint64_t>::max()});
  EXPECT_EQ(random_below(random, 16), 15U);
}

TEST(RandomBelow, ReachesEveryResultAboutEquallyOften) {
  testing::SeededRandom random(1);
  std::array<int, 10> seen{};
  for (int i = 0; i < 10000; ++i) ++seen.at(random_below(random, seen.size()));
  for (const int count : seen) EXPECT_NEAR(count, 1000, 150);
}

TEST(RandomSuffix, UsesUpstreamsAlphabet) {
  testing::SeededRandom random(1);
  const std::string suffix = random_suffix(random, 5000);
  EXPECT_EQ(suffix.size(), 5000U);
  EXPECT_EQ(suffix.find_first_not_of("bcdfghjklmnpqrstvwxz2456789"), std::string::npos);
  EXPECT_EQ(std::set<char>(suffix.begin(), suffix.end()).size(), 27U);
}

TEST(RandomUuid, HasVersionAndVariant) {
  Scripted zeros({0, 0});
  EXPECT_EQ(random_uuid(zeros), "00000000-0000-4000-8000-000000000000");
  Scripted ones({~std::uint64_t{0}, ~std::uint64_t{0}});
  EXPECT_EQ(random_uuid(ones), "ffffffff-ffff-4fff-bfff-ffffffffffff");
  Scripted digits({0x0123456789abcdef, 0x0123456789abcdef});
  EXPECT_EQ(random_uuid(digits), "01234567-89ab-4def-8123-456789abcdef");
}

}  // namespace
}  // namespace kubernel
