// SPDX-License-Identifier: Apache-2.0

#include "priority_sort.h"

#include <kubernel/testing/scheduler.h>

namespace kubernel::plugins {
namespace {

class PrioritySortTest : public testing::SchedulerPluginTest {};

TEST_F(PrioritySortTest, PutsPriorityBeforeAge) {
  using namespace std::chrono_literals;
  const auto plugin = make(make_priority_sort);
  const auto& sort = dynamic_cast<const scheduler::QueueSort&>(*plugin);
  const auto now = clock_.now();
  const scheduler::QueuedPod old_low{pod(R"({"priority":1})"), now, now, 0};
  const scheduler::QueuedPod new_low{pod(R"({"priority":1})"), now + 1s, now, 0};
  const scheduler::QueuedPod new_high{pod(R"({"priority":2})"), now + 1s, now, 0};
  EXPECT_TRUE(sort.before(new_high, old_low));
  EXPECT_TRUE(sort.before(old_low, new_low));
  EXPECT_FALSE(sort.before(old_low, old_low));
}

}  // namespace
}  // namespace kubernel::plugins
