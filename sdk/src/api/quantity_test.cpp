// SPDX-License-Identifier: Apache-2.0
#include <kubernel/api/quantity.h>

#include <gtest/gtest.h>

namespace kubernel::api {
namespace {

struct Row {
  const char* text;
  const char* canonical;
  std::int64_t value;
  std::int64_t milli;
};

class QuantityText : public ::testing::TestWithParam<Row> {};

// Canonical form: apimachinery pkg/api/resource, "Quantity" (no fraction, largest suffix, precision kept).
TEST_P(QuantityText, IsReadAndWrittenCanonically) {
  const auto parsed = Quantity::parse(GetParam().text);
  ASSERT_TRUE(parsed) << GetParam().text << ": " << parsed.error().message();
  EXPECT_EQ(parsed->to_string(), GetParam().canonical) << GetParam().text;
  EXPECT_EQ(parsed->value(), GetParam().value) << GetParam().text;
  EXPECT_EQ(parsed->milli_value(), GetParam().milli) << GetParam().text;
}

INSTANTIATE_TEST_SUITE_P(
    Rows, QuantityText,
    ::testing::Values(Row{"0", "0", 0, 0}, Row{"1", "1", 1, 1000}, Row{"+1", "1", 1, 1000}, Row{"-1", "-1", -1, -1000},
                      Row{"1000m", "1", 1, 1000}, Row{"1500m", "1500m", 2, 1500}, Row{"1.5", "1500m", 2, 1500},
                      Row{"0.1", "100m", 1, 100}, Row{".5", "500m", 1, 500}, Row{"5.", "5", 5, 5000},
                      Row{"100k", "100k", 100'000, 100'000'000}, Row{"1000k", "1M", 1'000'000, 1'000'000'000},
                      Row{"1Ki", "1Ki", 1024, 1'024'000}, Row{"1024Ki", "1Mi", 1048576, 1'048'576'000},
                      Row{"1.5Gi", "1536Mi", 1610612736, 1'610'612'736'000}, Row{"512", "512", 512, 512'000},
                      Row{"1.255Gi", "1347545989120m", 1347545990, 1'347'545'989'120},
                      Row{"1536.5Ki", "1573376", 1573376, 1'573'376'000}, Row{"0.5Ki", "512", 512, 512'000},
                      Row{"1e3", "1e3", 1000, 1'000'000}, Row{"12E-1", "1200e-3", 2, 1200},
                      Row{"1E", "1E", 1'000'000'000'000'000'000, 9223372036854775807}, Row{"1n", "1n", 1, 1},
                      Row{"0.1n", "1n", 1, 1}, Row{"-0.1n", "-1n", -1, -1}, Row{"1u", "1u", 1, 1},
                      Row{"123456789", "123456789", 123456789, 123456789000},
                      Row{"1000000", "1M", 1'000'000, 1'000'000'000}, Row{"0Ki", "0", 0, 0},
                      Row{"9999999999999999999", "9223372036854775807", 9223372036854775807, 9223372036854775807}));

TEST(Quantity, RefusesWhatUpstreamRefuses) {
  for (const char* text : {"", " ", "1 ", "a", "1Kb", "1ki", "1.1.1", "-", "+", ".", "1e", "1e3k", "1KiKi", "0x10"}) {
    EXPECT_FALSE(Quantity::parse(text)) << text;
  }
}

TEST(Quantity, ComparesByAmountNotByText) {
  EXPECT_EQ(*Quantity::parse("1"), *Quantity::parse("1000m"));
  EXPECT_LT(*Quantity::parse("1000Ki"), *Quantity::parse("1Mi"));
}

TEST(Quantity, TheSumKeepsTheFirstNonZeroFormat) {
  Quantity sum;
  sum += *Quantity::parse("1Gi");
  sum += *Quantity::parse("1Gi");
  EXPECT_EQ(sum.to_string(), "2Gi");
  sum -= *Quantity::parse("512Mi");
  EXPECT_EQ(sum.to_string(), "1536Mi");
}

}  // namespace
}  // namespace kubernel::api
