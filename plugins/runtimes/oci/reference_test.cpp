// SPDX-License-Identifier: Apache-2.0
#include "reference.h"

#include <string>

#include <gtest/gtest.h>

namespace kubernel::runtime::oci {
namespace {

const std::string kDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

struct Row {
  const char* name;
  std::string text, wanted;
};

class Normalized : public ::testing::TestWithParam<Row> {};

TEST_P(Normalized, HasOneSpelling) {
  const auto reference = parse_reference(GetParam().text);
  ASSERT_TRUE(reference) << reference.error().message();
  EXPECT_EQ(reference->text(), GetParam().wanted);
}

INSTANTIATE_TEST_SUITE_P(
    Reference, Normalized,
    ::testing::Values(Row{"ShortName", "busybox", "docker.io/library/busybox:latest"},
                      Row{"ShortNameWithTag", "busybox:1.36", "docker.io/library/busybox:1.36"},
                      Row{"UserImage", "user/app", "docker.io/user/app:latest"},
                      Row{"IndexHost", "index.docker.io/library/busybox", "docker.io/library/busybox:latest"},
                      Row{"Localhost", "localhost/x", "localhost/x:latest"},
                      Row{"PortMakesARegistry", "host:5000/a/b:v1", "host:5000/a/b:v1"},
                      Row{"DotMakesARegistry", "registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10"},
                      Row{"Address6", "[::1]:5000/a", "[::1]:5000/a:latest"},
                      Row{"Digest", "localhost/x@" + kDigest, "localhost/x@" + kDigest},
                      Row{"TagAndDigest", "localhost/x:v1@" + kDigest, "localhost/x@" + kDigest},
                      Row{"Separators", "localhost/a-b__c.d/e---f", "localhost/a-b__c.d/e---f:latest"}),
    [](const auto& row) { return row.param.name; });

class Refused : public ::testing::TestWithParam<Row> {};

TEST_P(Refused, NamesTheReference) {
  const auto reference = parse_reference(GetParam().text);
  ASSERT_FALSE(reference);
  EXPECT_EQ(reference.error().reason(), Reason::Invalid);
  EXPECT_EQ(reference.error().message(),
            "couldn't parse image name \"" + GetParam().text + "\": invalid reference format");
}

INSTANTIATE_TEST_SUITE_P(
    Reference, Refused,
    ::testing::Values(Row{"Empty", "", ""}, Row{"UpperCase", "Busybox", ""}, Row{"Space", "a b", ""},
                      Row{"EmptyTag", "busybox:", ""}, Row{"TagStartsWithADash", "busybox:-1", ""},
                      Row{"DoubleSlash", "localhost//x", ""}, Row{"Traversal", "localhost/../x", ""},
                      Row{"TrailingSlash", "localhost/x/", ""}, Row{"ShortDigest", "x@sha256:abc", ""},
                      Row{"UnknownAlgorithm", "x@md5:d41d8cd98f00b204e9800998ecf8427e", ""},
                      Row{"DotDash", "localhost/a.-b", ""}, Row{"BadPort", "host:port/x", ""},
                      Row{"TooLong", "localhost/" + std::string(256, 'a'), ""},
                      Row{"TagTooLong", "x:" + std::string(129, 'a'), ""}),
    [](const auto& row) { return row.param.name; });

}  // namespace
}  // namespace kubernel::runtime::oci
