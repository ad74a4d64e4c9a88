// SPDX-License-Identifier: Apache-2.0

#include "image_locality.h"

#include <kubernel/testing/scheduler.h>

namespace kubernel::plugins {
namespace {

class ImageLocalityTest : public testing::SchedulerPluginTest {
 protected:
  static scheduler::NodeInfo with_image(const std::string& name, std::int64_t bytes) {
    return node(name, R"("status":{"images":[{"names":["big:latest"],"sizeBytes":)" + std::to_string(bytes) + "}]}");
  }
  std::unique_ptr<scheduler::Plugin> plugin_ = make(make_image_locality);
};

TEST_F(ImageLocalityTest, PrefersTheNodeThatHasTheImage) {
  const auto scores =
      score(*plugin_, *pod(R"({"containers":[{"image":"big"}]})"), {with_image("a", 1000LL << 20), node("b")});
  EXPECT_EQ(scores, (std::vector<std::int64_t>{48, 0}));  // Half the nodes have it: half its size counts.
}

TEST_F(ImageLocalityTest, AnImageBelowTheThresholdDoesNotCount) {
  EXPECT_EQ(score(*plugin_, *pod(R"({"containers":[{"image":"big"}]})"), {with_image("a", 20LL << 20)}),
            (std::vector<std::int64_t>{0}));
}

}  // namespace
}  // namespace kubernel::plugins
