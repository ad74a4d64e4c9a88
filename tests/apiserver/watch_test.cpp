// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fixture.h"

namespace kubernel::apiserver {
namespace {

using client::EventType;

std::unique_ptr<client::Watch> watch(Fixture& f, const client::WatchOptions& options) {
  auto made = f.client().watch({}, api::resources::kConfigMaps, options);
  EXPECT_TRUE(made);
  return made ? *std::move(made) : nullptr;
}

// What has arrived, as "ADDED a", one string each.
std::vector<std::string> take(Fixture& f, client::Watch& watch) {
  f.executor().run_all();
  std::vector<std::string> out;
  auto events = watch.take(1000);
  if (!events) return {std::string(to_string(events.error().reason()))};
  for (const client::WatchEvent& event : *events) {
    constexpr const char* kNames[] = {"ADDED ", "MODIFIED ", "DELETED ", "BOOKMARK "};
    out.push_back(kNames[static_cast<int>(event.type)] + event.object.name());
  }
  return out;
}

void make(Fixture& f, const std::string& name, const std::string& label = "1") {
  f.create(api::resources::kConfigMaps, "default",
           R"({"metadata":{"name":")" + name + R"(","labels":{"x":")" + label + R"("}}})");
}

void relabel(Fixture& f, const std::string& name, const std::string& label) {
  ASSERT_TRUE(f.client().patch({}, api::resources::kConfigMaps, {"default", name}, client::PatchType::Merge,
                               json{{"metadata", {{"labels", {{"x", label}}}}}}, {}));
}

TEST(Watch, BeginsWithWhatExistsAndGoesOnWithEvents) {
  Fixture f;
  make(f, "a");
  const auto w = watch(f, {});
  EXPECT_THAT(take(f, *w), ::testing::ElementsAre("ADDED a"));
  make(f, "b");
  relabel(f, "a", "2");
  ASSERT_TRUE(f.client().remove({}, api::resources::kConfigMaps, {"default", "b"}, {}));
  EXPECT_THAT(take(f, *w), ::testing::ElementsAre("ADDED b", "MODIFIED a", "DELETED b"));
  EXPECT_TRUE(take(f, *w).empty());
}

TEST(Watch, FromAListSeesEverythingAfterItAndNothingElse) {
  Fixture f;
  make(f, "a");
  const auto listed = f.client().list({}, api::resources::kConfigMaps, {});
  make(f, "b");
  const auto w = watch(f, {.resource_version = listed->resource_version});
  EXPECT_THAT(take(f, *w), ::testing::ElementsAre("ADDED b"));
}

TEST(Watch, ASelectorTurnsChangesIntoAddedAndDeleted) {
  Fixture f;
  make(f, "a", "no");
  const auto w = watch(f, {.label_selector = "x=yes"});
  EXPECT_TRUE(take(f, *w).empty());
  relabel(f, "a", "yes");
  EXPECT_THAT(take(f, *w), ::testing::ElementsAre("ADDED a"));
  relabel(f, "a", "no");
  EXPECT_THAT(take(f, *w), ::testing::ElementsAre("DELETED a"));
}

TEST(Watch, ADeletedEventCarriesTheRevisionOfTheDeletion) {
  Fixture f;
  make(f, "a");
  const auto w = watch(f, {});
  take(f, *w);
  ASSERT_TRUE(f.client().remove({}, api::resources::kConfigMaps, {"default", "a"}, {}));
  f.executor().run_all();
  const auto events = w->take(10);
  ASSERT_TRUE(events);
  ASSERT_EQ(events->size(), 1U);
  EXPECT_EQ(events->front().object.head().resource_version, f.backend().stats({})->revision);
}

TEST(Watch, CallsWhenSomethingMatches) {
  Fixture f;
  const auto w = watch(f, {.label_selector = "x=yes"});
  take(f, *w);
  int called = 0;
  w->notify([&] { ++called; });
  EXPECT_EQ(called, 0);
  make(f, "a", "no");
  f.executor().run_all();
  EXPECT_EQ(called, 0);
  make(f, "b", "yes");
  f.executor().run_all();
  EXPECT_EQ(called, 1);
}

TEST(Watch, ASlowReaderGetsEverythingThatIsStillHeld) {
  Fixture f;
  const auto w = watch(f, {});
  take(f, *w);
  for (int i = 0; i < 300; ++i) make(f, "c" + std::to_string(i));
  EXPECT_EQ(take(f, *w).size(), 300U);
}

TEST(Watch, AReaderThatFellOutOfTheRingExpires) {
  Fixture f;
  const auto w = watch(f, {});
  take(f, *w);
  make(f, "a");
  const auto listed = f.client().list({}, api::resources::kConfigMaps, {});
  for (int i = 0; i < 120; ++i) {
    f.clock().advance(std::chrono::seconds(80));
    relabel(f, "a", std::to_string(i));
    f.executor().run_all();
  }
  EXPECT_THAT(take(f, *w), ::testing::ElementsAre("Expired"));
  const auto old = f.client().watch({}, api::resources::kConfigMaps, {.resource_version = listed->resource_version});
  ASSERT_FALSE(old);
  EXPECT_EQ(old.error().reason(), Reason::Expired);
}

TEST(Watch, AQuietWatcherIsNotExpiredByEventsItDoesNotWant) {
  Fixture f;
  make(f, "a");
  const auto w = watch(f, {.label_selector = "x=yes", .bookmarks = false});
  EXPECT_TRUE(take(f, *w).empty());
  for (int i = 0; i < 120; ++i) {
    f.clock().advance(std::chrono::seconds(80));
    relabel(f, "a", std::to_string(i));
    f.executor().run_all();
  }
  relabel(f, "a", "yes");
  EXPECT_THAT(take(f, *w), ::testing::ElementsAre("ADDED a"));
}

TEST(Watch, BookmarksComeWhenAskedForAndCarryTheStoresRevision) {
  Fixture f;
  const auto with = watch(f, {.bookmarks = true});
  const auto without = watch(f, {.bookmarks = false});
  take(f, *with);
  take(f, *without);
  f.create(api::resources::kSecrets, "default", R"({"metadata":{"name":"elsewhere"}})");
  f.executor().run_all();
  f.clock().advance(std::chrono::seconds(61));
  f.executor().run_all();
  EXPECT_TRUE(take(f, *without).empty());
  const auto events = with->take(10);
  ASSERT_TRUE(events);
  ASSERT_EQ(events->size(), 1U);
  EXPECT_EQ(events->front().type, EventType::Bookmark);
  EXPECT_EQ(events->front().object.head().resource_version, f.backend().stats({})->revision);
}

TEST(Watch, InitialEventsEndWithAnAnnotatedBookmark) {
  Fixture f;
  make(f, "a");
  const Target target{f.api().find("", "v1", "configmaps"), "", {}};
  const auth::User user{"admin", "", {}, {}};
  auto made = f.api().watch({CallContext{}, user}, target, {}, {{}, "", true, true});
  ASSERT_TRUE(made);
  const auto events = (*made)->take(10);
  ASSERT_TRUE(events);
  ASSERT_EQ(events->size(), 2U);
  EXPECT_EQ((*events)[0].type, EventType::Added);
  EXPECT_EQ((*events)[1].type, EventType::Bookmark);
  EXPECT_EQ((*events)[1].object.annotations()["k8s.io/initial-events-end"].string(), "true");
}

}  // namespace
}  // namespace kubernel::apiserver
