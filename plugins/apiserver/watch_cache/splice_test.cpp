// SPDX-License-Identifier: Apache-2.0
#include "watch_cache/splice.h"

#include <gtest/gtest.h>

namespace kubernel::apiserver {
namespace {

TEST(Splice, InsertsTheVersionAfterTheUid) {
  const auto out = with_resource_version(
      R"({"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","uid":"u","generation":1},"spec":{}})", 42);
  ASSERT_TRUE(out);
  EXPECT_EQ(
      *out,
      R"({"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","uid":"u","resourceVersion":"42","generation":1},"spec":{}})");
}

TEST(Splice, ReplacesAVersionThatIsThere) {
  const auto out =
      with_resource_version(R"({"metadata":{"name":"a","resourceVersion":"7","labels":{"resourceVersion":"x"}}})", 8);
  ASSERT_TRUE(out);
  EXPECT_EQ(*out, R"({"metadata":{"name":"a","resourceVersion":"8","labels":{"resourceVersion":"x"}}})");
}

TEST(Splice, HandlesMetadataThatIsEmptyOrInAnotherOrder) {
  EXPECT_EQ(*with_resource_version(R"({"metadata":{}})", 1), R"({"metadata":{"resourceVersion":"1"}})");
  EXPECT_EQ(*with_resource_version(R"({"metadata":{"annotations":{"a":"}\"{"},"name":"n"}})", 1),
            R"({"metadata":{"resourceVersion":"1","annotations":{"a":"}\"{"},"name":"n"}})");
  EXPECT_EQ(*with_resource_version(R"({"metadata":{"name":"n"}})", 1),
            R"({"metadata":{"name":"n","resourceVersion":"1"}})");
  EXPECT_EQ(*with_resource_version(R"({"metadata":{"resourceVersion":"5"}})", 1),
            R"({"metadata":{"resourceVersion":"1"}})");
}

TEST(Splice, RefusesTextWithoutMetadata) {
  EXPECT_FALSE(with_resource_version(R"({"kind":"Pod"})", 1));
}

TEST(Splice, RemovesTheVersion) {
  EXPECT_EQ(without_resource_version(R"({"metadata":{"name":"a","resourceVersion":"7","uid":"u"}})"),
            R"({"metadata":{"name":"a","uid":"u"}})");
  EXPECT_EQ(without_resource_version(R"({"metadata":{"resourceVersion":"7","uid":"u"}})"),
            R"({"metadata":{"uid":"u"}})");
  EXPECT_EQ(without_resource_version(R"({"metadata":{"resourceVersion":"7"}})"), R"({"metadata":{}})");
  EXPECT_EQ(without_resource_version(R"({"metadata":{"name":"a"}})"), R"({"metadata":{"name":"a"}})");
}

}  // namespace
}  // namespace kubernel::apiserver
