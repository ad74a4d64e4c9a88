// SPDX-License-Identifier: Apache-2.0
#include "core/base/suggestion.h"

#include <vector>

#include <gtest/gtest.h>

namespace kubernel::core {
namespace {

const std::vector<std::string> kWords = {"config", "name", "required", "when"};

TEST(DidYouMean, FindsATypingMistake) {
  EXPECT_EQ(did_you_mean("confg", kWords), "; did you mean \"config\"?");
  EXPECT_EQ(did_you_mean("requierd", kWords), "; did you mean \"required\"?");
  EXPECT_EQ(did_you_mean("nmae", kWords), "; did you mean \"name\"?");
  EXPECT_EQ(did_you_mean("WHEN", kWords), "; did you mean \"when\"?");
}

TEST(DidYouMean, SaysNothingWhenNothingIsNear) {
  EXPECT_EQ(did_you_mean("replicas", kWords), "");
  EXPECT_EQ(did_you_mean("x", {}), "");
}

}  // namespace
}  // namespace kubernel::core
