// SPDX-License-Identifier: Apache-2.0
#include "controller_manager.h"

#include <atomic>
#include <map>
#include <stdexcept>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <kubernel/controller/reconciler.h>
#include <kubernel/testing/fake_clock.h>
#include <kubernel/testing/fake_cluster.h>
#include <kubernel/testing/fake_services.h>

namespace kubernel::plugins::controller_manager {
namespace {

using namespace std::chrono_literals;
using api::Object;
using api::ObjectKey;
using api::resources::kConfigMaps;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// Labels every config map it sees.
class Marker final : public controller::Reconciler {
 public:
  explicit Marker(const controller::ControllerContext& context) : context_(context) {}
  Result<void> watch(client::InformerFactory& informers, controller::KeyQueue& queue) override {
    maps_ = informers.informer(kConfigMaps, {});
    subscription_ = maps_->add_handler({.added = [&queue](const Object& map) { queue.add(map.key()); }});
    return {};
  }
  Result<controller::Next> reconcile(const CallContext& ctx, const ObjectKey& key) override {
    const auto map = maps_->find(key);
    if (!map) return controller::Next::done();
    context_.events.record(*map, "Normal", "Marked", "seen");
    KUBERNEL_CHECK_OK(context_.api.patch(ctx, kConfigMaps, key, client::PatchType::Merge,
                                         {{"metadata", {{"labels", {{"seen", "yes"}}}}}}, {}));
    return controller::Next::done();
  }

 private:
  const controller::ControllerContext context_;
  std::shared_ptr<client::Informer> maps_;
  std::unique_ptr<Subscription> subscription_;
};

class Loaded final : public plugin::Extensions {
 public:
  void add(std::string name, controller::Spec spec) {
    all_.push_back({"controller", name, name, "{}", &typeid(controller::Spec),
                    std::make_shared<const controller::Spec>(std::move(spec))});
  }
  std::vector<const plugin::Extension*> at(std::string_view) const override {
    std::vector<const plugin::Extension*> out;
    for (const auto& extension : all_) out.push_back(&extension);
    return out;
  }

 private:
  std::vector<plugin::Extension> all_;
};

class NoPoller final : public Poller {
 public:
  Result<std::unique_ptr<Subscription>> when_readable(int, std::function<void()>) override {
    return Error(Reason::BadRequest, "not here");
  }
};

class ControllerManagerTest : public ::testing::Test {
 protected:
  ControllerManagerTest() {
    plugin::offer<client::Connector>(services_,
                                     std::shared_ptr<client::Connector>(&cluster_, [](client::Connector*) {}));
    extensions_.add(
        "marker",
        {.service_account = "marker-controller", .workers = 1, .make = [](const controller::ControllerContext& c) {
           return Result<std::unique_ptr<controller::Reconciler>>(std::make_unique<Marker>(c));
         }});
  }
  ~ControllerManagerTest() override {
    if (started_) component_->stop({});
  }

  Result<void> start(const std::string& config = "{}") {
    auto made = make_component({"controller-manager", config, log_, metrics_, clock_, random_, executor_, executor_,
                                poller_, services_, extensions_});
    if (!made) return made.error();
    component_ = *std::move(made);
    auto outcome = component_->start({});
    started_ = outcome.has_value();
    return outcome;
  }
  void put_map() { cluster_.put(kConfigMaps, {{"metadata", {{"name", "m"}, {"namespace", "shop"}}}}); }
  bool marked() { return cluster_.find(kConfigMaps, {"shop", "m"})->labels()["seen"].string() == "yes"; }

  testing::FakeClock clock_;
  testing::ManualExecutor executor_;
  testing::RecordingLogger log_;
  testing::RecordingMetrics metrics_;
  testing::SeededRandom random_{1};
  testing::FakeCluster cluster_{clock_};
  NoPoller poller_;
  kubernel::testing::FakeServices services_;
  Loaded extensions_;
  std::unique_ptr<plugin::Component> component_;
  bool started_ = false;
};

TEST_F(ControllerManagerTest, RunsAControllerUnderItsOwnIdentityOnceItsCacheIsSynced) {
  put_map();
  ASSERT_TRUE(start());
  EXPECT_EQ(component_->problem(), "controllers wait for their caches: marker");
  EXPECT_FALSE(marked());
  executor_.run_all();
  EXPECT_EQ(component_->problem(), "");
  EXPECT_TRUE(marked());
  EXPECT_THAT(cluster_.users(),
              ElementsAre("system:kube-controller-manager", "system:serviceaccount:kube-system:marker-controller"));
  ASSERT_EQ(cluster_.all(api::resources::kEvents).size(), 1U);
  EXPECT_EQ(cluster_.all(api::resources::kEvents).at(0).pointer("/source/component").string(), "marker-controller");
}

TEST_F(ControllerManagerTest, RunsNothingAfterItWasStopped) {
  ASSERT_TRUE(start());
  executor_.run_all();
  component_->stop({});
  started_ = false;
  put_map();
  executor_.run_all();
  clock_.advance(1h);
  executor_.run_all();
  EXPECT_FALSE(marked());
}

TEST_F(ControllerManagerTest, StopsBeforeItsCachesAreSynced) {
  ASSERT_TRUE(start());
  component_->stop({});
  started_ = false;
  component_.reset();
  executor_.run_all();
  EXPECT_FALSE(clock_.next_timer());
}

TEST_F(ControllerManagerTest, LeavesOutWhatItIsToldTo) {
  put_map();
  ASSERT_TRUE(start(R"({"controllers": ["*", "-marker"]})"));
  executor_.run_all();
  EXPECT_FALSE(marked());
}

TEST_F(ControllerManagerTest, RefusesAControllerNobodyProvides) {
  const auto started = start(R"({"controllers": ["marker", "markr"]})");
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().message(), "controllers: no loaded plugin provides controller \"markr\"");
}

TEST_F(ControllerManagerTest, SaysWhichControllerCouldNotBeMade) {
  extensions_.add("broken",
                  {.service_account = "b",
                   .make = [](const controller::ControllerContext&) -> Result<std::unique_ptr<controller::Reconciler>> {
                     throw std::runtime_error("boom");
                   }});
  const auto started = start();
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().message(), "controller broken: make: boom");
}

TEST_F(ControllerManagerTest, WithLeaderElectionItWaitsForTheLease) {
  cluster_.put(api::resources::kLeases,
               {{"metadata", {{"name", "kube-controller-manager"}, {"namespace", "kube-system"}}},
                {"spec", {{"holderIdentity", "other"}, {"leaseDurationSeconds", 15}}}});
  put_map();
  ASSERT_TRUE(start(R"({"leaderElection": {"enabled": true}})"));
  executor_.run_all();
  EXPECT_EQ(component_->problem(), "");
  EXPECT_FALSE(marked());
  for (int i = 0; i < 30; ++i) {
    clock_.advance(1s);
    executor_.run_all();
  }
  EXPECT_TRUE(marked());
}

TEST_F(ControllerManagerTest, AfterLosingTheLeaseItWritesNothingMore) {
  ASSERT_TRUE(start(R"({"leaderElection": {"enabled": true}})"));
  executor_.run_all();
  cluster_.edit(api::resources::kLeases, {"kube-system", "kube-controller-manager"},
                [](nlohmann::json& lease) { lease["spec"]["holderIdentity"] = "other"; });
  clock_.advance(2s);
  executor_.run_all();
  put_map();
  executor_.run_all();
  EXPECT_FALSE(marked());
  EXPECT_THAT(log_.lines(), Contains(HasSubstr("leader election lost")));
}

}  // namespace
}  // namespace kubernel::plugins::controller_manager
