// SPDX-License-Identifier: Apache-2.0
#include <kubernel/client/informer.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <kubernel/testing/fake_clock.h>
#include <kubernel/testing/fake_cluster.h>

namespace kubernel::client {
namespace {

using namespace std::chrono_literals;
using api::Object;
using api::resources::kPods;
using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class InformerTest : public ::testing::Test {
 protected:
  json pod(const std::string& name) {
    return {{"metadata", {{"name", name}, {"namespace", "shop"}, {"labels", {{"app", name}}}}}};
  }
  EventHandler record() {
    return {.added = [this](const Object& o) { seen_.push_back("+" + o.name()); },
            .updated =
                [this](const Object& b, const Object& a) {
                  seen_.push_back("~" + a.name() + " " + std::string(b.labels()["v"].string()) + ">" +
                                  std::string(a.labels()["v"].string()));
                },
            .deleted = [this](const Object& o) { seen_.push_back("-" + o.name()); }};
  }
  void label(const std::string& name, const std::string& value) {
    cluster_.edit(kPods, {"shop", name}, [&](json& document) { document["metadata"]["labels"]["v"] = value; });
  }
  std::vector<std::string> names() {
    std::vector<std::string> out;
    for (const Object& object : informer_->list({}, {})) out.push_back(object.name());
    return out;
  }
  void settle() { executor_.run_all(); }

  testing::FakeClock clock_;
  testing::ManualExecutor executor_;
  testing::RecordingLogger log_;
  testing::SeededRandom random_{1};
  testing::FakeCluster cluster_{clock_};
  std::vector<std::string> seen_;
  std::unique_ptr<InformerFactory> factory_ = make_informer_factory({log_, clock_, random_, executor_}, cluster_);
  std::shared_ptr<Informer> informer_ = factory_->informer(kPods, {});
};

TEST_F(InformerTest, ShowsNothingBeforeItIsStartedAndEverythingOnceSynced) {
  cluster_.put(kPods, pod("a"));
  settle();
  EXPECT_FALSE(factory_->has_synced());
  EXPECT_THAT(names(), IsEmpty());
  factory_->start();
  settle();
  EXPECT_TRUE(factory_->has_synced());
  EXPECT_THAT(names(), ElementsAre("a"));
}

TEST_F(InformerTest, TellsItsHandlersWhatHappens) {
  const auto subscription = informer_->add_handler(record());
  cluster_.put(kPods, pod("a"));
  factory_->start();
  settle();
  cluster_.put(kPods, pod("b"));
  label("a", "1");
  label("a", "2");
  cluster_.erase(kPods, {"shop", "b"});
  settle();
  EXPECT_THAT(seen_, ElementsAre("+a", "+b", "~a >1", "~a 1>2", "-b"));
}

TEST_F(InformerTest, AHandlerAddedLateFirstSeesWhatIsThere) {
  cluster_.put(kPods, pod("a"));
  factory_->start();
  settle();
  const auto subscription = informer_->add_handler(record());
  cluster_.put(kPods, pod("b"));
  settle();
  EXPECT_THAT(seen_, ElementsAre("+a", "+b"));
}

TEST_F(InformerTest, ACancelledHandlerHearsNothingMore) {
  auto subscription = informer_->add_handler(record());
  factory_->start();
  settle();
  subscription.reset();
  cluster_.put(kPods, pod("a"));
  settle();
  EXPECT_THAT(seen_, IsEmpty());
}

TEST_F(InformerTest, CallsOnSyncedAfterTheHandlersSawTheFirstList) {
  cluster_.put(kPods, pod("a"));
  const auto subscription = informer_->add_handler(record());
  informer_->on_synced([&] { seen_.emplace_back("synced"); });
  factory_->start();
  settle();
  EXPECT_THAT(seen_, ElementsAre("+a", "synced"));
  informer_->on_synced([&] { seen_.emplace_back("at once"); });
  EXPECT_EQ(seen_.back(), "at once");
}

TEST_F(InformerTest, FindsByOwnerAndByIndex) {
  informer_->add_index(
      "app", [](const Object& o) -> std::vector<std::string> { return {std::string(o.labels()["app"].string())}; });
  factory_->start();
  json owned = pod("a");
  owned["metadata"]["ownerReferences"] = {
      {{"apiVersion", "apps/v1"}, {"kind", "ReplicaSet"}, {"name", "r"}, {"uid", "u1"}, {"controller", true}}};
  cluster_.put(kPods, owned);
  cluster_.put(kPods, pod("b"));
  settle();
  ASSERT_EQ(informer_->owned_by("u1").size(), 1U);
  EXPECT_EQ(informer_->by_index("app", "b").at(0).name(), "b");
  cluster_.edit(kPods, {"shop", "a"}, [](json& document) { document["metadata"].erase("ownerReferences"); });
  settle();
  EXPECT_THAT(informer_->owned_by("u1"), IsEmpty());
}

TEST_F(InformerTest, GoesOnAfterABrokenWatchWithoutListingAgain) {
  const auto subscription = informer_->add_handler(record());
  factory_->start();
  settle();
  cluster_.fail_next("list", kPods, Error(Reason::Internal, "must not be called"));
  cluster_.break_watches(Reason::ServiceUnavailable);
  settle();
  cluster_.put(kPods, pod("a"));
  clock_.advance(2s);
  settle();
  EXPECT_THAT(seen_, ElementsAre("+a"));
}

TEST_F(InformerTest, AWatchThatEndedInGoodOrderGoesOnAtOnceAndSilently) {
  const auto subscription = informer_->add_handler(record());
  factory_->start();
  settle();
  clock_.advance(300s);
  cluster_.break_watches(Reason::Timeout);
  cluster_.put(kPods, pod("a"));
  settle();
  EXPECT_THAT(seen_, ElementsAre("+a"));
  EXPECT_THAT(log_.lines(), IsEmpty());
  cluster_.break_watches(Reason::Timeout);  // Too soon: that looks like trouble.
  settle();
  EXPECT_EQ(log_.lines().size(), 1U);
}

TEST_F(InformerTest, ListsAgainAfterExpiredAndTellsTheDifference) {
  cluster_.put(kPods, pod("a"));
  cluster_.put(kPods, pod("b"));
  const auto subscription = informer_->add_handler(record());
  factory_->start();
  settle();
  seen_.clear();
  cluster_.freeze_cache();
  cluster_.erase(kPods, {"shop", "a"});
  cluster_.put(kPods, pod("c"));
  label("b", "1");
  cluster_.break_watches(Reason::Expired);
  cluster_.thaw_cache();
  settle();
  clock_.advance(2s);
  settle();
  EXPECT_THAT(seen_, ElementsAre("~b >1", "+c", "-a"));
}

TEST_F(InformerTest, AnObjectMadeAnewIsDeletedAndAdded) {
  cluster_.put(kPods, pod("a"));
  const auto subscription = informer_->add_handler(record());
  factory_->start();
  settle();
  cluster_.freeze_cache();
  cluster_.erase(kPods, {"shop", "a"});
  cluster_.put(kPods, pod("a"));
  cluster_.break_watches(Reason::Expired);
  cluster_.thaw_cache();
  clock_.advance(2s);
  settle();
  clock_.advance(2s);
  settle();
  EXPECT_THAT(seen_, ElementsAre("+a", "-a", "+a"));
}

TEST_F(InformerTest, ListsAgainWithGrowingPauseUntilItSucceeds) {
  cluster_.fail_next("list", kPods, Error(Reason::ServiceUnavailable, "not yet"), 2);
  factory_->start();
  settle();
  clock_.advance(799ms);
  settle();
  EXPECT_EQ(log_.lines().size(), 1U);
  clock_.advance(801ms);
  settle();
  EXPECT_EQ(log_.lines().size(), 2U);
  EXPECT_FALSE(informer_->has_synced());
  clock_.advance(3200ms);
  settle();
  EXPECT_TRUE(informer_->has_synced());
}

TEST_F(InformerTest, SharesOneInformerPerResourceAndOptions) {
  EXPECT_EQ(factory_->informer(kPods, {}), informer_);
  EXPECT_NE(factory_->informer(kPods, {.ns = "shop"}), informer_);
}

TEST_F(InformerTest, AnInformerAskedForAfterTheStartStartsAtOnce) {
  cluster_.put(kPods, pod("a"));
  factory_->start();
  settle();
  const auto late = factory_->informer(kPods, {.ns = "shop", .label_selector = "app=a"});
  settle();
  EXPECT_EQ(late->list("shop", {}).size(), 1U);
}

TEST_F(InformerTest, SeesObjectsEnterAndLeaveItsSelection) {
  const auto selective = factory_->informer(kPods, {.label_selector = "v=1"});
  const auto subscription = selective->add_handler(record());
  cluster_.put(kPods, pod("a"));
  factory_->start();
  settle();
  label("a", "1");
  label("a", "2");
  settle();
  EXPECT_THAT(seen_, ElementsAre("+a", "-a"));
}

TEST_F(InformerTest, ManyObjectsArriveWhole) {
  for (int i = 0; i < 1500; ++i) cluster_.put(kPods, pod("p" + std::to_string(i)));
  factory_->start();
  settle();
  for (int i = 1500; i < 3000; ++i) cluster_.put(kPods, pod("p" + std::to_string(i)));
  settle();
  EXPECT_EQ(informer_->list({}, {}).size(), 3000U);
}

TEST_F(InformerTest, AfterAStopNoHandlerRuns) {
  const auto subscription = informer_->add_handler(record());
  factory_->start();
  settle();
  cluster_.put(kPods, pod("a"));
  factory_->stop();
  settle();
  EXPECT_THAT(seen_, IsEmpty());
}

}  // namespace
}  // namespace kubernel::client
