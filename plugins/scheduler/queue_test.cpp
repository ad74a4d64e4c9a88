// SPDX-License-Identifier: Apache-2.0
#include "queue.h"

#include "event_labels.h"

#include <nlohmann/json.hpp>

#include <kubernel/testing/scheduler.h>

namespace kubernel::plugins {
namespace {

using namespace std::chrono_literals;
using scheduler::ClusterEvent;

class ByAge final : public scheduler::QueueSort {
 public:
  bool before(const scheduler::QueuedPod& a, const scheduler::QueuedPod& b) const override {
    return a.queued_at < b.queued_at;
  }
};

class SchedulingQueueTest : public testing::SchedulerPluginTest {
 protected:
  std::string pop() {
    const auto next = queue_.pop();
    if (!next) return "";
    last_ = next->queued.pod->uid();
    return next->queued.pod->key().name;
  }
  bool wakes(ClusterEvent event) {
    return queue_.on_event({event, {}, {}, {}, {}}) && queue_.counts().unschedulable == 0;
  }

  ByAge sort_;
  // Plugin 0 wants nodes; plugin 1 wants deleted pods, but only for pods named "p".
  SchedulingQueue queue_{clock_,
                         sort_,
                         {{{{{ClusterEvent::NodeAdded, {}}},
                            {{ClusterEvent::PodDeleted, [](const scheduler::PodInfo& pod, const api::Object&,
                                                           const api::Object&) { return pod.key().name == "p"; }}}},
                           {}}},
                         {}};
  std::string last_;  // Uid of the last pod popped.
};

TEST_F(SchedulingQueueTest, HandsOutEachPodOnceInOrder) {
  queue_.set(pod("{}", "a"));
  clock_.advance(1ms);
  queue_.set(pod("{}", "b"));
  queue_.set(pod("{}", "a"));
  EXPECT_EQ(pop(), "a");
  EXPECT_EQ(pop(), "b");
  EXPECT_EQ(pop(), "");
}

TEST_F(SchedulingQueueTest, SaysByUpstreamsLabelsWhyPodsCome) {
  std::vector<std::string> incoming;
  const auto hints = [](const scheduler::PodInfo&, const api::Object&, const api::Object&) { return true; };
  const api::Resource nodes{"storage.k8s.io", "v1", "csinodes"};
  SchedulingQueue queue(
      clock_, sort_, {{{{{ClusterEvent::ResourceChanged, hints, nodes}, {ClusterEvent::PodUpdated, hints}}}, {}}}, {});
  queue.on_incoming([&](std::string_view place, std::string_view event) {
    incoming.push_back(std::string(place) + " " + std::string(event));
  });
  std::vector<std::string> hinted;
  queue.on_hint([&](std::size_t, std::size_t, std::string_view event, bool, std::chrono::nanoseconds) {
    hinted.emplace_back(event);
  });
  queue.set(pod("{}"));
  const auto refuse = [&] {
    ASSERT_TRUE(queue.pop());
    queue.requeue_unschedulable("u-p", {0});
    clock_.advance(20s);
  };
  refuse();
  const auto labels = labels_of(nodes);
  queue.on_event({ClusterEvent::ResourceChanged, {}, {}, nodes, {}, labels.updated});
  refuse();
  queue.set(pod(R"({"tolerations":[{}]})"));
  refuse();
  queue.activate("u-p");
  EXPECT_EQ(incoming,
            (std::vector<std::string>{"active UnschedulablePodAdd", "unschedulable ScheduleAttemptFailure",
                                      "active storage.k8s.io/CSINodeUpdate", "unschedulable ScheduleAttemptFailure",
                                      "active UnschedulablePodUpdatePodToleration",
                                      "unschedulable ScheduleAttemptFailure", "active ForceActivate"}));
  EXPECT_EQ(hinted, (std::vector<std::string>{"storage.k8s.io/CSINodeUpdate", "UnschedulablePodUpdatePodToleration"}));
}

// Pods wait for the thing called as they are.
scheduler::EventInterest in_things(scheduler::PodInfo const*& asked_last, int& asked) {
  scheduler::EventInterest out;
  out.event = ClusterEvent::ResourceChanged;
  out.resource = {"g", "v1", "things"};
  out.helps = [&](const scheduler::PodInfo& one, const api::Object&, const api::Object&) {
    asked_last = &one;
    return ++asked > 0;
  };
  out.names_of_pod = [](const scheduler::PodInfo& one) { return std::vector{one.key().name, one.uid()}; };
  out.names_of_change = [](const api::Object&, const api::Object& after) -> std::optional<std::vector<std::string>> {
    if (!after) return std::nullopt;
    return std::vector{after.name()};
  };
  return out;
}

api::Object thing(const std::string& name) {
  return *api::Object::parse(R"({"metadata":{"name":")" + name + R"("}})");
}

TEST_F(SchedulingQueueTest, AChangeWithNamesIsNoQuestionToPodsThatWaitForOthers) {
  const scheduler::PodInfo* last = nullptr;
  int asked = 0;
  const auto interest = in_things(last, asked);
  SchedulingQueue queue(clock_, sort_, {{{{interest}}, {}}}, {});
  for (int i = 0; i < 10'000; ++i) {
    queue.set(pod("{}", "p" + std::to_string(i)));
    const auto popped = queue.pop();
    ASSERT_TRUE(popped);
    queue.requeue_unschedulable(popped->queued.pod->uid(), {0});
  }
  const auto happen = [&](const api::Object& before, const api::Object& after) {
    asked = 0;
    queue.on_event({ClusterEvent::ResourceChanged, before, after, interest.resource, {}});
    return asked;
  };
  EXPECT_EQ(happen({}, thing("nobodys")), 0);
  EXPECT_EQ(happen({}, thing("p4711")), 1);
  EXPECT_EQ(last->key().name, "p4711");
  EXPECT_EQ(queue.counts().unschedulable, 9'999U);
  EXPECT_EQ(happen({}, thing("p4711")), 0) << "who is awake is not asked";
  EXPECT_EQ(happen(thing("p4711"), {}), 9'999) << "a change without names may concern any";
  EXPECT_EQ(queue.counts().unschedulable, 0U);
}

TEST_F(SchedulingQueueTest, NamesAreThoseOfThePodAsItIsNow) {
  const scheduler::PodInfo* last = nullptr;
  int asked = 0;
  auto interest = in_things(last, asked);
  interest.names_of_pod = [](const scheduler::PodInfo& one) {
    return std::vector{std::string(one.spec["wants"].string())};
  };
  SchedulingQueue queue(clock_, sort_, {{{{interest}}, {}}}, {});
  queue.set(pod(R"({"wants":"a"})"));
  ASSERT_TRUE(queue.pop());
  queue.requeue_unschedulable("u-p", {0});
  queue.set(pod(R"({"wants":"b"})"));
  queue.on_event({ClusterEvent::ResourceChanged, {}, thing("a"), interest.resource, {}});
  EXPECT_EQ(asked, 0);
  queue.on_event({ClusterEvent::ResourceChanged, {}, thing("b"), interest.resource, {}});
  EXPECT_EQ(asked, 1);
}

TEST_F(SchedulingQueueTest, APodBeingTriedIsAskedOnlyAboutWhatItNames) {
  const scheduler::PodInfo* last = nullptr;
  int asked = 0;
  const auto interest = in_things(last, asked);
  SchedulingQueue queue(clock_, sort_, {{{{interest}}, {}}}, {});
  queue.set(pod("{}"));
  const auto try_while = [&](const std::string& changed) {
    ASSERT_TRUE(queue.pop());
    queue.on_event({ClusterEvent::ResourceChanged, {}, thing(changed), interest.resource, {}});
    queue.requeue_unschedulable("u-p", {0});
  };
  try_while("another");
  EXPECT_EQ(asked, 0);
  EXPECT_EQ(queue.counts().unschedulable, 1U);
  queue.activate("u-p");
  try_while("p");
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(queue.counts().backoff, 1U);
}

TEST_F(SchedulingQueueTest, WakesAPodOnlyForEventsItsRefusersAskedFor) {
  queue_.set(pod("{}"));
  pop();
  queue_.requeue_unschedulable(last_, {0});
  EXPECT_FALSE(wakes(ClusterEvent::PodDeleted));
  EXPECT_TRUE(wakes(ClusterEvent::NodeAdded));
}

// Ten thousand pods behind a gate cost an event nothing: nobody is asked about them.
TEST_F(SchedulingQueueTest, AnEventIsOnlyHeldAgainstThoseItMayHelp) {
  int asked = 0;
  const auto ask = [&](const scheduler::PodInfo&, const api::Object&, const api::Object&) {
    return ++asked > 1'000'000;
  };
  const std::vector<std::vector<scheduler::EventInterest>> interests = {{{ClusterEvent::PodUpdated, ask}},
                                                                        {{ClusterEvent::PodAssigned, ask}}};
  SchedulingQueue queue(clock_, sort_, {{interests, {}}}, {});
  for (int i = 0; i < 3; ++i) {
    queue.set(pod("{}", "p" + std::to_string(i)));
    const auto popped = queue.pop();
    queue.requeue_unschedulable(popped->queued.pod->uid(), {i == 0 ? std::size_t{1} : std::size_t{0}});
  }
  queue.on_event({ClusterEvent::PodAssigned, {}, {}, {}, {}});
  EXPECT_EQ(asked, 1);
  queue.remove("u-p0");
  queue.on_event({ClusterEvent::PodAssigned, {}, {}, {}, {}});
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(queue.counts().unschedulable, 2U);
}

std::vector<std::string> own_uid(const scheduler::PodInfo& pod) {
  return {pod.uid()};
}

// A plugin that knows whom an event helps is asked once, however many sleep because of it.
TEST_F(SchedulingQueueTest, WhoeverKnowsWhomAnEventHelpsIsAskedOnce) {
  int asked = 0;
  std::vector<std::string> helped = {"u-b", "u-stranger", "u-c"};
  const auto whom = [&](const api::Object&, const api::Object&) {
    ++asked;
    return std::optional(helped);
  };
  const std::vector<std::vector<scheduler::EventInterest>> interests = {
      {{.event = ClusterEvent::PodDeleted, .names_of_pod = own_uid, .names_of_change = whom}},
      {{ClusterEvent::NodeAdded, {}}}};
  SchedulingQueue queue(clock_, sort_, {{interests, {}}}, {});
  queue.on_event({ClusterEvent::PodDeleted, {}, {}, {}, {}});
  EXPECT_EQ(asked, 1) << "it may have to know, though nobody sleeps";
  const auto refused = [&](const std::string& name, std::size_t because_of) {
    queue.set(pod("{}", name));
    const auto popped = queue.pop();
    ASSERT_EQ(popped->queued.pod->key().name, name);
    queue.requeue_unschedulable(popped->queued.pod->uid(), {because_of});
  };
  for (const char* name : {"a", "b", "d", "e"}) refused(name, 0);
  refused("c", 1);  // Another plugin's.
  asked = 0;
  EXPECT_TRUE(queue.on_event({ClusterEvent::PodDeleted, {}, {}, {}, {}}));
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(queue.counts().unschedulable, 4U);
  EXPECT_EQ(queue.pop()->queued.pod->key().name, "b");
  helped = {"u-a"};
  EXPECT_FALSE(queue.on_event({ClusterEvent::PodDeleted, {}, {}, {}, "u-a"}));  // What it gave back itself.
}

// What a plugin says of an event holds for pods that were being tried when it happened; later it would say otherwise.
TEST_F(SchedulingQueueTest, WhomAnEventHelpsIsRememberedForThoseBeingTried) {
  int asked = 0;
  const auto whom = [&](const api::Object&, const api::Object&) {
    return std::optional(asked++ == 0 ? std::vector<std::string>{"u-a"} : std::vector<std::string>{});
  };
  SchedulingQueue queue(
      clock_, sort_, {{{{{.event = ClusterEvent::PodDeleted, .names_of_pod = own_uid, .names_of_change = whom}}}, {}}},
      {});
  queue.set(pod("{}", "a"));
  queue.set(pod("{}", "b"));
  ASSERT_TRUE(queue.pop());
  ASSERT_TRUE(queue.pop());
  queue.on_event({ClusterEvent::PodDeleted, {}, {}, {}, {}});
  queue.requeue_unschedulable("u-a", {0});
  queue.requeue_unschedulable("u-b", {0});
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(queue.counts().backoff, 1U);
  EXPECT_EQ(queue.counts().unschedulable, 1U);
}

TEST_F(SchedulingQueueTest, APodThatTwoPluginsRefusedWakesOnce) {
  const std::vector<std::vector<scheduler::EventInterest>> interests = {{{ClusterEvent::NodeAdded, {}}},
                                                                        {{ClusterEvent::NodeAdded, {}}}};
  SchedulingQueue queue(clock_, sort_, {{interests, {}}}, {});
  queue.set(pod("{}"));
  queue.pop();
  queue.requeue_unschedulable("u-p", {0, 1});
  EXPECT_TRUE(queue.on_event({ClusterEvent::NodeAdded, {}, {}, {}, {}}));
  EXPECT_FALSE(queue.on_event({ClusterEvent::NodeAdded, {}, {}, {}, {}}));
  EXPECT_EQ(queue.counts().backoff, 1U);
  EXPECT_EQ(queue.counts().unschedulable, 0U);
}

TEST_F(SchedulingQueueTest, AsksTheHintWhetherTheEventHelpsThisPod) {
  queue_.set(pod("{}", "other"));
  pop();
  queue_.requeue_unschedulable(last_, {1});
  EXPECT_FALSE(wakes(ClusterEvent::PodDeleted));
}

TEST_F(SchedulingQueueTest, AnEventWhileThePodWasBeingScheduledCounts) {
  queue_.set(pod("{}"));
  pop();
  queue_.on_event({ClusterEvent::NodeAdded, {}, {}, {}, {}});
  queue_.requeue_unschedulable(last_, {0});
  EXPECT_EQ(queue_.counts().backoff, 1U);
}

TEST_F(SchedulingQueueTest, BacksOffLongerWithEachAttempt) {
  queue_.set(pod("{}"));
  pop();
  queue_.requeue_after_error(last_);
  clock_.advance(999ms);
  EXPECT_FALSE(queue_.flush());
  clock_.advance(1ms);
  EXPECT_TRUE(queue_.flush());
  pop();
  queue_.requeue_after_error(last_);
  EXPECT_EQ(queue_.next_due(), clock_.now() + 2s);
}

TEST_F(SchedulingQueueTest, ARefusedPodsBackoffIsCutShortWhenNobodyElseWaits) {
  queue_.set(pod("{}"));
  pop();
  queue_.requeue_unschedulable(last_, {});
  EXPECT_TRUE(queue_.on_event({ClusterEvent::NodeAdded, {}, {}, {}, {}}));
  EXPECT_EQ(queue_.counts().backoff, 1U);
  queue_.set(pod("{}", "fresh"));
  EXPECT_EQ(pop(), "fresh");
  EXPECT_EQ(pop(), "p");
}

TEST_F(SchedulingQueueTest, APodThatFailedComesBackBeforeThoseThatCameAfterIt) {
  queue_.set(pod("{}"));
  pop();
  queue_.requeue_unschedulable(last_, {0});
  clock_.advance(1ms);
  queue_.set(pod("{}", "late"));
  clock_.advance(1s);  // Its back-off.
  queue_.on_event({ClusterEvent::NodeAdded, {}, {}, {}, {}});
  EXPECT_EQ(pop(), "p");
}

TEST_F(SchedulingQueueTest, AnErrorsBackoffIsNot) {
  queue_.set(pod("{}"));
  pop();
  queue_.requeue_after_error(last_);
  EXPECT_EQ(pop(), "");
}

TEST_F(SchedulingQueueTest, WhatAPodGaveBackItselfIsNoNewsForIt) {
  queue_.set(pod("{}"));
  pop();
  queue_.on_event({ClusterEvent::PodDeleted, {}, {}, {}, "u-p"});
  queue_.requeue_unschedulable(last_, {});
  EXPECT_EQ(queue_.counts().unschedulable, 1U);
  EXPECT_TRUE(queue_.on_event({ClusterEvent::PodDeleted, {}, {}, {}, "u-other"}));
}

TEST_F(SchedulingQueueTest, AStatusWriteWakesNobody) {
  const auto plain = pod("{}");
  queue_.set(plain);
  pop();
  queue_.requeue_unschedulable(last_, {});
  const auto written = plain->object.with([](nlohmann::json& document) { document["status"]["phase"] = "Pending"; });
  queue_.set(std::make_shared<const scheduler::PodInfo>(*written));
  EXPECT_EQ(queue_.counts().unschedulable, 1U);
  const auto labeled = plain->object.with([](nlohmann::json& document) { document["metadata"]["labels"]["a"] = "b"; });
  queue_.set(std::make_shared<const scheduler::PodInfo>(*labeled));
  EXPECT_EQ(queue_.counts().unschedulable, 0U);
}

TEST_F(SchedulingQueueTest, ActivateNeedsNoEvent) {
  queue_.set(pod("{}"));
  pop();
  queue_.requeue_unschedulable(last_, {0});
  EXPECT_TRUE(queue_.activate("u-p"));
  EXPECT_EQ(queue_.counts().active, 1U);
  EXPECT_FALSE(queue_.activate("u-unknown"));
}

// A gate that opens when the pod's label does.
TEST(SchedulingQueueGates, AGatedPodWaitsForItsGate) {
  testing::FakeClock clock;
  ByAge sort;
  QueueProfile profile;
  profile.interests = {{{ClusterEvent::NodeAdded, {}, {}}}};
  bool open = false;
  profile.gate = [&](const scheduler::PodInfo&) { return open ? std::nullopt : std::optional<std::size_t>(0); };
  SchedulingQueue queue(clock, sort, {profile}, {});
  const auto object =
      api::Object::parse(R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","uid":"u"},"spec":{}})");
  queue.set(std::make_shared<const scheduler::PodInfo>(*object));
  EXPECT_EQ(queue.counts().gated, 1U);
  EXPECT_FALSE(queue.pop());
  open = true;
  EXPECT_FALSE(queue.on_event({ClusterEvent::PodDeleted, {}, {}, {}, {}}));  // Not what its plugin asked for.
  EXPECT_TRUE(queue.on_event({ClusterEvent::NodeAdded, {}, {}, {}, {}}));
  EXPECT_EQ(queue.counts().gated, 0U);
  EXPECT_TRUE(queue.pop());
}

TEST_F(SchedulingQueueTest, NobodyWaitsForeverForAMissedEvent) {
  queue_.set(pod("{}"));
  pop();
  queue_.requeue_unschedulable(last_, {0});
  clock_.advance(5min);
  EXPECT_TRUE(queue_.flush());
  EXPECT_EQ(pop(), "p");
}

TEST_F(SchedulingQueueTest, APodDeletedWhileBeingScheduledDoesNotComeBack) {
  queue_.set(pod("{}"));
  pop();
  queue_.remove("u-p");
  queue_.requeue_unschedulable(last_, {0});
  queue_.requeue_after_error(last_);
  EXPECT_EQ(queue_.counts().unschedulable + queue_.counts().backoff + queue_.counts().active, 0U);
}

}  // namespace
}  // namespace kubernel::plugins
