// SPDX-License-Identifier: Apache-2.0

#include "volume_restrictions.h"

#include <kubernel/testing/scheduler.h>

namespace kubernel::plugins {
namespace {

constexpr const char* kDisk = "node(s) had no available disk";
constexpr const char* kExclusive =
    "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode";

std::string volumes(const std::string& volume) {
  return R"({"volumes":[{"name":"v",)" + volume + "}]}";
}
std::string claim(const std::string& name) {
  return volumes(R"("persistentVolumeClaim":{"claimName":")" + name + R"("})");
}

struct Row {
  const char* rule;
  const char* running;
  const char* waiting;
  bool fits;
};

class VolumeRestrictionsRules : public testing::SchedulerPluginTest, public ::testing::WithParamInterface<Row> {};

TEST_P(VolumeRestrictionsRules, Hold) {
  auto busy = node("a");
  busy.add_pod(pod(volumes(GetParam().running), "first"));
  EXPECT_EQ(filter(*make(make_volume_restrictions), *pod(volumes(GetParam().waiting)), busy),
            GetParam().fits ? "" : kDisk)
      << GetParam().rule;
}

INSTANTIATE_TEST_SUITE_P(
    Rules, VolumeRestrictionsRules,
    ::testing::Values(Row{"GCE: one writer", R"("gcePersistentDisk":{"pdName":"d"})",
                          R"("gcePersistentDisk":{"pdName":"d","readOnly":true})", false},
                      Row{"GCE: many readers", R"("gcePersistentDisk":{"pdName":"d","readOnly":true})",
                          R"("gcePersistentDisk":{"pdName":"d","readOnly":true})", true},
                      Row{"GCE: another disk", R"("gcePersistentDisk":{"pdName":"d"})",
                          R"("gcePersistentDisk":{"pdName":"e"})", true},
                      Row{"EBS: never shared", R"("awsElasticBlockStore":{"volumeID":"d","readOnly":true})",
                          R"("awsElasticBlockStore":{"volumeID":"d","readOnly":true})", false},
                      Row{"iSCSI: by name of the target", R"("iscsi":{"iqn":"d"})", R"("iscsi":{"iqn":"d"})", false},
                      Row{"RBD: the pool is rbd when none is named", R"("rbd":{"monitors":["a","b"],"image":"i"})",
                          R"("rbd":{"monitors":["b"],"image":"i","pool":"rbd"})", false},
                      Row{"RBD: other monitors", R"("rbd":{"monitors":["a"],"image":"i"})",
                          R"("rbd":{"monitors":["b"],"image":"i"})", true},
                      Row{"other volumes are free", R"("emptyDir":{})", R"("emptyDir":{})", true}));

class VolumeRestrictionsTest : public testing::SchedulerPluginTest {
 protected:
  VolumeRestrictionsTest() {
    cluster_.put_text(
        api::resources::kPersistentVolumeClaims,
        R"({"metadata":{"namespace":"default","name":"mine"},"spec":{"accessModes":["ReadWriteOncePod"]}})");
    cluster_.put_text(
        api::resources::kPersistentVolumeClaims,
        R"({"metadata":{"namespace":"default","name":"shared"},"spec":{"accessModes":["ReadWriteOnce"]}})");
    plugin_ = make(make_volume_restrictions);
    informers_->start();
    executor_.run_all();
  }
  std::unique_ptr<scheduler::Plugin> plugin_;
};

// KEP-2485.
TEST_F(VolumeRestrictionsTest, AReadWriteOncePodClaimIsUsedByOnePodOfTheCluster) {
  std::vector<scheduler::NodeInfo> nodes{node("a"), node("b")};
  EXPECT_EQ(filter_all(*plugin_, *pod(claim("mine")), nodes), (std::vector<std::string>{"", ""}));
  nodes[0].add_pod(pod(claim("mine"), "first"));
  EXPECT_EQ(filter_all(*plugin_, *pod(claim("mine")), nodes), (std::vector<std::string>{kExclusive, kExclusive}));
  nodes[0].add_pod(pod(claim("shared"), "second"));
  EXPECT_EQ(filter_all(*plugin_, *pod(claim("shared")), nodes), (std::vector<std::string>{"", ""}));
}

TEST_F(VolumeRestrictionsTest, EvictingTheUserOfAnExclusiveClaimHelps) {
  auto busy = node("a");
  const auto user = pod(claim("mine"), "first");
  busy.add_pod(user);
  const scheduler::Snapshot snapshot({std::make_shared<const scheduler::NodeInfo>(busy)});
  const auto waiting = pod(claim("mine"));
  auto result = dynamic_cast<scheduler::PreFilter&>(*plugin_).pre_filter({}, *waiting, snapshot);
  ASSERT_TRUE(result);
  dynamic_cast<scheduler::PreFilterExtensions&>(*plugin_).pod_removed(*result->data, *waiting, *user, busy);
  EXPECT_TRUE(dynamic_cast<scheduler::Filter&>(*plugin_).filter(*waiting, result->data.get(), busy)->ok());
}

TEST_F(VolumeRestrictionsTest, IsWokenByAPodThatGivesUpItsClaim) {
  const auto waiting = pod(claim("mine"));
  const auto user = pod(claim("mine"), "first")->object;
  const auto other = pod(claim("shared"), "second")->object;
  EXPECT_TRUE(wakes(*plugin_, scheduler::ClusterEvent::PodDeleted, *waiting, user, {}));
  EXPECT_FALSE(wakes(*plugin_, scheduler::ClusterEvent::PodDeleted, *waiting, other, {}));
  EXPECT_FALSE(wakes(*plugin_, scheduler::ClusterEvent::PodDeleted, *waiting, user, user)) << "it only needs less";
}

TEST_F(VolumeRestrictionsTest, AMissingClaimIsNamed) {
  EXPECT_EQ(filter(*plugin_, *pod(claim("absent")), node("a")), "persistentvolumeclaim \"absent\" not found");
}

}  // namespace
}  // namespace kubernel::plugins
