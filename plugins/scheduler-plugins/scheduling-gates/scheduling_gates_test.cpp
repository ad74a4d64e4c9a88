// SPDX-License-Identifier: Apache-2.0

#include "scheduling_gates.h"

#include <kubernel/testing/scheduler.h>

namespace kubernel::plugins {
namespace {

class SchedulingGatesTest : public testing::SchedulerPluginTest {
 protected:
  std::string gate(const std::string& spec) {
    return joined(dynamic_cast<scheduler::PreEnqueue&>(*plugin_).pre_enqueue(*pod(spec)));
  }
  std::unique_ptr<scheduler::Plugin> plugin_ = make(make_scheduling_gates);
};

TEST_F(SchedulingGatesTest, NamesTheGatesInTheirOrder) {
  EXPECT_EQ(gate(R"({"schedulingGates":[{"name":"foo"},{"name":"bar"}]})"), "waiting for scheduling gates: [foo bar]");
}

TEST_F(SchedulingGatesTest, APodWithoutGatesEnters) {
  EXPECT_EQ(gate("{}"), "");
  EXPECT_EQ(gate(R"({"schedulingGates":[]})"), "");
}

TEST_F(SchedulingGatesTest, OnlyTheRemovalOfTheLastGateHelps) {
  const auto interests = plugin_->retry_on();
  ASSERT_EQ(interests.size(), 1U);
  const auto two = pod(R"({"schedulingGates":[{"name":"a"},{"name":"b"}]})");
  EXPECT_FALSE(interests[0].helps(*two, two->object, pod(R"({"schedulingGates":[{"name":"b"}]})")->object));
  EXPECT_TRUE(interests[0].helps(*two, two->object, pod("{}")->object));
}

}  // namespace
}  // namespace kubernel::plugins
