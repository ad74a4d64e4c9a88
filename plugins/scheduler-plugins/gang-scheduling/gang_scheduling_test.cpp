// SPDX-License-Identifier: Apache-2.0
#include "gang_scheduling.h"

#include <kubernel/testing/scheduler.h>

namespace kubernel::plugins {
namespace {

using api::resources::kPods;
using scheduler::Verdict;

// A pod that waits for permission, until the plugin decides.
class Held final : public scheduler::WaitingPod {
 public:
  Held(std::shared_ptr<const scheduler::PodInfo> pod) : pod_(std::move(pod)) {}
  const scheduler::PodInfo& pod() const override { return *pod_; }
  void allow(std::string_view) override { decided = "allowed"; }
  void reject(std::string_view, std::string why) override { decided = std::move(why); }

  std::string decided;

 private:
  const std::shared_ptr<const scheduler::PodInfo> pod_;
};

class GangSchedulingTest : public testing::SchedulerPluginTest {
 protected:
  class Holding final : public NoHandle {
   public:
    using NoHandle::NoHandle;
    void for_each_waiting(const std::function<void(scheduler::WaitingPod&)>& visit) override {
      for (Held* pod : held) visit(*pod);
    }
    std::vector<Held*> held;
  };

  GangSchedulingTest() {
    scheduler::PluginContext context{
        R"({"permitTimeoutSeconds":30})", 0, holding_, cluster_, *informers_, log_, clock_, metrics_, random_};
    plugin_ = *make_gang_scheduling(context);
    informers_->start();
    settle();
  }
  ~GangSchedulingTest() override {
    informers_->stop();
    executor_.run_all();
  }
  void settle() { executor_.run_all(); }

  std::shared_ptr<const scheduler::PodInfo> put(const std::string& name, const std::string& group,
                                                const std::string& min_member = "3", const std::string& node = "") {
    const auto object = cluster_.put_text(
        kPods, R"({"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"default","name":")" + name +
                   R"(","labels":{"scheduling.kubernel.io/group":")" + group +
                   R"("},"annotations":{"scheduling.kubernel.io/min-member":")" + min_member + R"("}},"spec":{)" +
                   (node.empty() ? "" : R"("nodeName":")" + node + "\"") + R"(},"status":{"phase":"Pending"}})");
    settle();
    return std::make_shared<const scheduler::PodInfo>(object);
  }
  std::string gate(const std::shared_ptr<const scheduler::PodInfo>& pod) {
    return joined(dynamic_cast<scheduler::PreEnqueue&>(*plugin_).pre_enqueue(*pod));
  }
  static scheduler::Cycle cycle(const std::shared_ptr<const scheduler::PodInfo>& pod) {
    return {pod, nullptr, {}, {}, {}};
  }
  // Reserves a place; then "held", "bound" or the refusal.
  std::string place(const std::shared_ptr<const scheduler::PodInfo>& pod) {
    const auto one = cycle(pod);
    EXPECT_TRUE(dynamic_cast<scheduler::Reserve&>(*plugin_).reserve({}, one, "n").ok());
    const auto result = dynamic_cast<scheduler::Permit&>(*plugin_).permit({}, one, "n");
    if (result.verdict.kind() == Verdict::Kind::Wait)
      return "held " + std::to_string(result.timeout.count() / 1000) + "s";
    return result.verdict.ok() ? "bound" : joined(result.verdict);
  }

  Holding holding_{*recorder_};
  std::unique_ptr<scheduler::Plugin> plugin_;
};

TEST_F(GangSchedulingTest, NobodyIsTriedBeforeTheGroupIsComplete) {
  const auto a = put("a", "g"), b = put("b", "g");
  EXPECT_EQ(gate(a), "group default/g has 2 of 3 pods");
  put("c", "g");
  EXPECT_EQ(gate(a), "");
  cluster_.erase(kPods, {"default", "c"});
  settle();
  EXPECT_EQ(gate(b), "group default/g has 2 of 3 pods");
}

TEST_F(GangSchedulingTest, TheMostDemandingPodCounts) {
  const auto a = put("a", "g", "1");
  EXPECT_EQ(gate(a), "");
  put("b", "g", "3");
  EXPECT_EQ(gate(a), "group default/g has 2 of 3 pods");
}

TEST_F(GangSchedulingTest, APodWithoutAGroupOrAValidNumberStandsAlone) {
  EXPECT_EQ(gate(pod("{}")), "");
  EXPECT_EQ(gate(put("a", "g", "many")), "");
  EXPECT_EQ(place(put("b", "g", "0")), "bound");
}

TEST_F(GangSchedulingTest, ThePodsWaitUntilEnoughHaveAPlace) {
  const auto a = put("a", "g"), b = put("b", "g"), c = put("c", "g");
  EXPECT_EQ(place(a), "held 30s");
  EXPECT_EQ(place(b), "held 30s");
  Held held_a(a), held_b(b);
  holding_.held = {&held_a, &held_b};
  EXPECT_EQ(place(c), "bound");
  EXPECT_EQ(held_a.decided, "allowed");
  EXPECT_EQ(held_b.decided, "allowed");
}

TEST_F(GangSchedulingTest, PodsThatRunAlreadyCount) {
  put("a", "g", "3", "n");
  put("b", "g", "3", "n");
  EXPECT_EQ(place(put("c", "g")), "bound");
}

TEST_F(GangSchedulingTest, OneThatGivesUpTakesTheOthersWithIt) {
  const auto a = put("a", "g"), b = put("b", "g"), other = put("o", "h");
  place(a);
  place(b);
  place(other);
  Held held_b(b), held_other(other);
  holding_.held = {&held_b, &held_other};
  dynamic_cast<scheduler::Reserve&>(*plugin_).unreserve({}, cycle(a), "n");
  EXPECT_EQ(held_b.decided, "another pod of the group default/g has no place");
  EXPECT_EQ(held_other.decided, "");
}

TEST_F(GangSchedulingTest, OneThatFitsNowhereEndsTheWaitOfTheOthers) {
  const auto a = put("a", "g"), b = put("b", "g");
  place(a);
  Held held_a(a);
  holding_.held = {&held_a};
  const auto result = dynamic_cast<scheduler::PostFilter&>(*plugin_).post_filter({}, cycle(b), {});
  ASSERT_TRUE(result);
  EXPECT_FALSE(result->verdict.ok());
  EXPECT_EQ(held_a.decided, "another pod of the group default/g has no place");
}

TEST_F(GangSchedulingTest, RoomTheGroupGaveBackItselfWakesNobodyOfIt) {
  const auto a = put("a", "g"), b = put("b", "g"), other = put("o", "h");
  for (const auto& interest : plugin_->retry_on()) {
    if (interest.event == scheduler::ClusterEvent::PodDeleted) {
      EXPECT_FALSE(interest.helps(*a, b->object, {}));
      EXPECT_TRUE(interest.helps(*a, other->object, {}));
    }
    if (interest.event == scheduler::ClusterEvent::ResourceChanged) {
      EXPECT_TRUE(interest.helps(*a, {}, b->object));
      EXPECT_FALSE(interest.helps(*a, {}, other->object));
    }
  }
}

}  // namespace
}  // namespace kubernel::plugins
