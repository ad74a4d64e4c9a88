// SPDX-License-Identifier: Apache-2.0

#include "default_binder.h"

#include <kubernel/testing/scheduler.h>

namespace kubernel::plugins {
namespace {

class DefaultBinderTest : public testing::SchedulerPluginTest {
 protected:
  scheduler::Cycle cycle_for(const api::Object& object) {
    return {std::make_shared<const scheduler::PodInfo>(object), nullptr, {}};
  }
  std::unique_ptr<scheduler::Plugin> plugin_ = make(make_default_binder);
  scheduler::Bind& binder_ = dynamic_cast<scheduler::Bind&>(*plugin_);
};

TEST_F(DefaultBinderTest, BindsThePodToTheNode) {
  const auto stored =
      cluster_.put_text(api::resources::kPods,
                        R"({"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"default","name":"p"},"spec":{}})");
  const auto bound = binder_.bind({}, cycle_for(stored), "n1");
  ASSERT_TRUE(bound) << bound.error().message();
  EXPECT_EQ(cluster_.find(api::resources::kPods, {"default", "p"})->pointer("/spec/nodeName").string(), "n1");
}

TEST_F(DefaultBinderTest, ReportsAPodThatIsGone) {
  const auto bound = binder_.bind({}, cycle_for(pod("{}")->object), "n1");
  ASSERT_FALSE(bound);
  EXPECT_EQ(bound.error().reason(), Reason::NotFound);
}

}  // namespace
}  // namespace kubernel::plugins
