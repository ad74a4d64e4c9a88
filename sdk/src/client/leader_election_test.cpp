// SPDX-License-Identifier: Apache-2.0
#include <kubernel/client/leader_election.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <kubernel/testing/fake_clock.h>
#include <kubernel/testing/fake_cluster.h>

namespace kubernel::client {
namespace {

using namespace std::chrono_literals;
using api::resources::kLeases;
using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class LeaderElectionTest : public ::testing::Test {
 protected:
  std::unique_ptr<LeaderElector> elector(const std::string& identity) {
    auto made = make_leader_elector({log_, clock_, random_, executor_}, cluster_, {{"kube-system", "kcm"}, identity},
                                    {.started_leading = [this, identity] { seen_.push_back(identity + " leads"); },
                                     .stopped_leading = [this, identity] { seen_.push_back(identity + " stops"); }});
    EXPECT_TRUE(made);
    return *std::move(made);
  }
  void pass(std::chrono::seconds time) {
    for (auto passed = 0s; passed < time; passed += 1s) {
      executor_.run_all();
      clock_.advance(1s);
    }
    executor_.run_all();
  }
  api::Object lease() { return *cluster_.find(kLeases, {"kube-system", "kcm"}); }
  void break_writes() {
    cluster_.on_call([](std::string_view, const api::Resource&, const api::ObjectKey&) -> Result<void> {
      return Error(Reason::ServiceUnavailable, "away");
    });
  }

  testing::FakeClock clock_;
  testing::ManualExecutor executor_;
  testing::RecordingLogger log_;
  testing::SeededRandom random_{1};
  testing::FakeCluster cluster_{clock_};
  std::vector<std::string> seen_;
};

TEST_F(LeaderElectionTest, TheFirstOneLeadsAndTheOthersWait) {
  const auto a = elector("a");
  const auto b = elector("b");
  a->start();
  b->start();
  pass(60s);
  EXPECT_THAT(seen_, ElementsAre("a leads"));
  EXPECT_TRUE(a->leading());
  EXPECT_FALSE(b->leading());
  EXPECT_EQ(b->leader(), "a");
  EXPECT_EQ(lease().pointer("/spec/holderIdentity").string(), "a");
  EXPECT_EQ(lease().pointer("/spec/leaseDurationSeconds").integer(), 15);
  EXPECT_EQ(lease().pointer("/spec/leaseTransitions").integer(), 0);
  EXPECT_EQ(lease().pointer("/spec/acquireTime").string(), "2026-01-01T00:00:00.000000Z");
}

TEST_F(LeaderElectionTest, ALeaseThatIsNotRenewedIsTakenOver) {
  cluster_.put(kLeases,
               {{"metadata", {{"name", "kcm"}, {"namespace", "kube-system"}}},
                {"spec", {{"holderIdentity", "dead"}, {"leaseDurationSeconds", 15}, {"leaseTransitions", 3}}}});
  const auto a = elector("a");
  a->start();
  pass(14s);
  EXPECT_THAT(seen_, IsEmpty());
  pass(8s);
  EXPECT_THAT(seen_, ElementsAre("a leads"));
  EXPECT_EQ(lease().pointer("/spec/leaseTransitions").integer(), 4);
}

TEST_F(LeaderElectionTest, ALeaderThatCannotRenewStopsBeforeTheLeaseEnds) {
  const auto a = elector("a");
  a->start();
  pass(1s);
  break_writes();
  pass(8s);
  EXPECT_TRUE(a->leading());
  pass(3s);
  EXPECT_FALSE(a->leading());
  EXPECT_THAT(seen_, ElementsAre("a leads", "a stops"));
}

TEST_F(LeaderElectionTest, ALeaderIsNoLongerLeadingTheMomentItsDeadlinePasses) {
  const auto a = elector("a");
  a->start();
  executor_.run_all();
  ASSERT_TRUE(a->leading());
  clock_.advance(10s);  // No turn has run since: the executor may be stuck.
  EXPECT_FALSE(a->leading());
}

TEST_F(LeaderElectionTest, ALeaderSeesThatSomebodyTookItsLease) {
  const auto a = elector("a");
  a->start();
  pass(1s);
  cluster_.edit(kLeases, {"kube-system", "kcm"}, [](json& d) { d["spec"]["holderIdentity"] = "b"; });
  pass(3s);
  EXPECT_THAT(seen_, ElementsAre("a leads", "a stops"));
}

TEST_F(LeaderElectionTest, ALeaderThatStopsGivesTheLeaseBack) {
  auto a = elector("a");
  const auto b = elector("b");
  a->start();
  pass(1s);
  b->start();
  pass(1s);
  a->stop();
  EXPECT_EQ(lease().pointer("/spec/holderIdentity").string(), "");
  pass(6s);
  EXPECT_THAT(seen_, ElementsAre("a leads", "a stops", "b leads"));
}

TEST_F(LeaderElectionTest, RefusesTimesThatCannotWork) {
  const InformerContext context{log_, clock_, random_, executor_};
  EXPECT_FALSE(make_leader_elector(context, cluster_, {{"a", "b"}, ""}, {}));
  EXPECT_FALSE(make_leader_elector(context, cluster_, {{"a", "b"}, "x", 10s, 10s, 2s}, {}));
  EXPECT_FALSE(make_leader_elector(context, cluster_, {{"a", "b"}, "x", 15s, 2s, 2s}, {}));
}

}  // namespace
}  // namespace kubernel::client
