// SPDX-License-Identifier: Apache-2.0
#include "job_facts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kubernel::plugins::job {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(Indexes, AreWrittenAsRanges) {
  EXPECT_EQ(format_indexes({}), "");
  EXPECT_EQ(format_indexes({0}), "0");
  EXPECT_EQ(format_indexes({0, 1}), "0,1");
  EXPECT_EQ(format_indexes({1, 3, 4, 5, 7}), "1,3-5,7");
}

TEST(Indexes, AreReadBack) {
  EXPECT_THAT(parse_indexes("1,3-5,7", 10), ElementsAre(1, 3, 4, 5, 7));
  EXPECT_THAT(parse_indexes("1,3-5,7", 5), ElementsAre(1, 3, 4));
  EXPECT_THAT(parse_indexes("", 5), IsEmpty());
  EXPECT_THAT(parse_indexes("x,2,3-y", 5), ElementsAre(2));
}

TEST(Failures, DoubleTheWaitUpToTenMinutes) {
  const Clock::WallTime now{1'000'000s};
  EXPECT_LE(Failures{}.wait(now), 0s);
  EXPECT_EQ((Failures{1, now}.wait(now)), 10s);
  EXPECT_EQ((Failures{2, now}.wait(now)), 20s);
  EXPECT_EQ((Failures{3, now - 30s}.wait(now)), 10s);
  EXPECT_EQ((Failures{50, now}.wait(now)), 600s);
}

TEST(Failures, BeginAnewAfterASuccess) {
  const Clock::WallTime now{1'000'000s};
  const auto after = Failures{3, now - 60s}.after({now - 10s}, {now - 20s, now - 5s});
  EXPECT_EQ(after.count, 1);
  EXPECT_EQ(after.last, now - 5s);
  EXPECT_EQ((Failures{3, now}.after({}, {now + 1s}).count), 4);
}

}  // namespace
}  // namespace kubernel::plugins::job
