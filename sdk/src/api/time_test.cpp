// SPDX-License-Identifier: Apache-2.0
#include <kubernel/api/time.h>

#include <gtest/gtest.h>

namespace kubernel::api {
namespace {

using namespace std::chrono_literals;

TEST(Time, IsWrittenInUtcWithWholeSeconds) {
  EXPECT_EQ(format_time(WallTime(1'767'225'600s)), "2026-01-01T00:00:00Z");
  EXPECT_EQ(format_time(WallTime(1'767'225'600s + 999ms)), "2026-01-01T00:00:00Z");
  EXPECT_EQ(format_micro_time(WallTime(1'767'225'600s + 42us)), "2026-01-01T00:00:00.000042Z");
  EXPECT_EQ(format_time(WallTime(-1s)), "1969-12-31T23:59:59Z");
}

TEST(Time, AnyRfc3339FormIsRead) {
  EXPECT_EQ(*parse_time("2026-01-01T00:00:00Z"), WallTime(1'767'225'600s));
  EXPECT_EQ(*parse_time("2026-01-01T01:30:00+01:30"), WallTime(1'767'225'600s));
  EXPECT_EQ(*parse_time("2025-12-31T23:00:00-01:00"), WallTime(1'767'225'600s));
  EXPECT_EQ(*parse_time("2026-01-01T00:00:00.25Z"), WallTime(1'767'225'600s + 250ms));
}

TEST(Time, WhatIsNoTimeIsRefused) {
  for (const char* text :
       {"", "2026-01-01", "2026-02-30T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:00:00",
        "2026-01-01T00:00:00.Z", "2026-01-01 00:00:00Z", "2026-01-01T00:00:00+0100", "0001-01-01T00:00:00Z"}) {
    EXPECT_FALSE(parse_time(text)) << text;
  }
}

TEST(Duration, IsWrittenAsGoWritesIt) {
  EXPECT_EQ(format_duration(0s), "0s");
  EXPECT_EQ(format_duration(1500ms), "1.5s");
  EXPECT_EQ(format_duration(90s), "1m30s");
  EXPECT_EQ(format_duration(3600s), "1h0m0s");
  EXPECT_EQ(format_duration(-1500us), "-1.5ms");
  EXPECT_EQ(format_duration(999ns), "999ns");
}

TEST(Duration, IsReadAsGoReadsIt) {
  EXPECT_EQ(*parse_duration("1h2m3.5s"), 3723500ms);
  EXPECT_EQ(*parse_duration("-1.5h"), -5400s);
  EXPECT_EQ(*parse_duration("100us"), 100us);
  EXPECT_EQ(*parse_duration("0"), 0s);
  for (const char* text : {"", "1", "s", "1x", "-"}) EXPECT_FALSE(parse_duration(text)) << text;
}

// apimachinery pkg/util/duration, HumanDuration.
TEST(Duration, IsShortForPeople) {
  EXPECT_EQ(human_duration(-2s), "<invalid>");
  EXPECT_EQ(human_duration(0s), "0s");
  EXPECT_EQ(human_duration(119s), "119s");
  EXPECT_EQ(human_duration(2min), "2m");
  EXPECT_EQ(human_duration(2min + 5s), "2m5s");
  EXPECT_EQ(human_duration(179min), "179m");
  EXPECT_EQ(human_duration(3h + 10min), "3h10m");
  EXPECT_EQ(human_duration(47h), "47h");
  EXPECT_EQ(human_duration(50h), "2d2h");
  EXPECT_EQ(human_duration(24h * 30), "30d");
  EXPECT_EQ(human_duration(24h * 365 * 3 + 24h), "3y1d");
}

}  // namespace
}  // namespace kubernel::api
