// SPDX-License-Identifier: Apache-2.0
#include <kubernel/base/error.h>
#include <kubernel/base/result.h>

#include <stdexcept>

#include <gtest/gtest.h>

namespace kubernel {
namespace {

TEST(Reason, ReadsBackWhatItWrites) {
  for (int i = 0; i <= static_cast<int>(Reason::Internal); ++i) {
    const auto reason = static_cast<Reason>(i);
    EXPECT_EQ(parse_reason(to_string(reason)), reason) << to_string(reason);
  }
}

TEST(Reason, AnUnknownWordIsInternal) {
  EXPECT_EQ(parse_reason("Surprise"), Reason::Internal);
}

TEST(Error, WrapKeepsReasonAndDetails) {
  Error error(Reason::Invalid, "bad", ErrorDetails{.name = "web", .causes = {{"FieldValueInvalid", "no", "spec.x"}}});
  const Error wrapped = std::move(error).wrap("create");
  EXPECT_EQ(wrapped.message(), "create: bad");
  EXPECT_EQ(wrapped.http_status(), 422);
  ASSERT_NE(wrapped.details(), nullptr);
  EXPECT_EQ(wrapped.details()->causes.at(0).field, "spec.x");
}

TEST(CatchAsError, TurnsAThrownExceptionIntoInternal) {
  const Result<int> result = catch_as_error("parse", []() -> Result<int> { throw std::runtime_error("boom"); });
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().reason(), Reason::Internal);
  EXPECT_EQ(result.error().message(), "parse: boom");
}

}  // namespace
}  // namespace kubernel
