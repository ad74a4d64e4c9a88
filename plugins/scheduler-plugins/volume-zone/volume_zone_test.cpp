// SPDX-License-Identifier: Apache-2.0

#include "volume_zone.h"

#include <kubernel/testing/scheduler.h>

namespace kubernel::plugins {
namespace {

constexpr const char* kConflict = "node(s) had no available volume zone";

class VolumeZoneTest : public testing::SchedulerPluginTest {
 protected:
  void start(const std::string& volume_labels, const std::string& claim_spec = R"({"volumeName":"v"})") {
    cluster_.serve({"storage.k8s.io", "v1", "storageclasses"}, "StorageClass", false);
    cluster_.put_text(api::resources::kPersistentVolumes,
                      R"({"metadata":{"name":"v","labels":)" + volume_labels + "}}");
    cluster_.put_text(api::resources::kPersistentVolumeClaims,
                      R"({"metadata":{"namespace":"default","name":"c"},"spec":)" + claim_spec + "}");
    cluster_.put_text({"storage.k8s.io", "v1", "storageclasses"},
                      R"({"metadata":{"name":"late"},"volumeBindingMode":"WaitForFirstConsumer"})");
    plugin_ = make(make_volume_zone);
    informers_->start();
    executor_.run_all();
  }
  std::string on(const std::string& node_labels) {
    return filter(*plugin_, *waiting_, node("a", R"("spec":{})", node_labels));
  }

  std::shared_ptr<const scheduler::PodInfo> waiting_ =
      pod(R"({"volumes":[{"name":"x","persistentVolumeClaim":{"claimName":"c"}}]})");
  std::unique_ptr<scheduler::Plugin> plugin_;
};

TEST_F(VolumeZoneTest, ANodeHasTheZoneOfTheVolume) {
  start(R"({"topology.kubernetes.io/zone":"a"})");
  EXPECT_EQ(on(R"({"topology.kubernetes.io/zone":"a"})"), "");
  EXPECT_EQ(on(R"({"topology.kubernetes.io/zone":"b"})"), kConflict);
}

TEST_F(VolumeZoneTest, ARegionalVolumeListsItsZones) {
  start(R"({"topology.kubernetes.io/zone":"a__b"})");
  EXPECT_EQ(on(R"({"topology.kubernetes.io/zone":"b"})"), "");
  EXPECT_EQ(on(R"({"topology.kubernetes.io/zone":"c"})"), kConflict);
}

TEST_F(VolumeZoneTest, ANodeWithoutZonesTakesAnything) {
  start(R"({"topology.kubernetes.io/zone":"a"})");
  EXPECT_EQ(on("{}"), "");
  EXPECT_EQ(on(R"({"topology.kubernetes.io/region":"r"})"), kConflict);
}

TEST_F(VolumeZoneTest, AnOldLabelOfTheVolumeMatchesANewOneOfTheNode) {
  start(R"({"failure-domain.beta.kubernetes.io/zone":"a"})");
  EXPECT_EQ(on(R"({"topology.kubernetes.io/zone":"a"})"), "");
  EXPECT_EQ(on(R"({"topology.kubernetes.io/zone":"b"})"), kConflict);
}

TEST_F(VolumeZoneTest, AnUnboundClaimIsNoConcernWhenItIsBoundLate) {
  start("{}", R"({"storageClassName":"late"})");
  EXPECT_EQ(on(R"({"topology.kubernetes.io/zone":"a"})"), "");
}

TEST_F(VolumeZoneTest, AnUnboundClaimOfAnotherClassKeepsThePodWaiting) {
  start("{}", R"({"storageClassName":"soon"})");
  EXPECT_EQ(on("{}"), "PersistentVolume had no name");
}

TEST_F(VolumeZoneTest, IsWokenByWhatMayHelp) {
  start("{}");
  const auto object = [](const std::string& name, const std::string& labels, const std::string& more = "") {
    return *api::Object::parse(R"({"metadata":{"namespace":"default","name":")" + name + R"(","labels":)" + labels +
                               "}" + more + "}");
  };
  const api::Resource classes{"storage.k8s.io", "v1", "storageclasses"};
  const auto in_a = object("x", R"({"topology.kubernetes.io/zone":"a"})");
  const auto in_b = object("x", R"({"topology.kubernetes.io/zone":"b"})");
  const auto labeled = object("x", R"({"topology.kubernetes.io/zone":"a","other":"label"})");
  const auto late = object("x", "{}", R"(,"volumeBindingMode":"WaitForFirstConsumer")");
  const auto soon = object("x", "{}", R"(,"volumeBindingMode":"Immediate")");
  const auto& volumes = api::resources::kPersistentVolumes;
  const auto& claims = api::resources::kPersistentVolumeClaims;
  struct Row {
    const char* rule;
    const api::Resource& resource;
    api::Object before, after;
    bool woken;
  };
  const std::vector<Row> rows = {
      {"its claim changed", claims, object("c", "{}"), object("c", "{}"), true},
      {"another claim came", claims, {}, object("d", "{}"), false},
      {"a volume came", volumes, {}, in_a, true},
      {"a volume is in another zone", volumes, in_a, in_b, true},
      {"a volume has other labels", volumes, in_a, labeled, false},
      {"a volume went", volumes, in_a, {}, false},
      {"a class that binds late came", classes, {}, late, true},
      {"another class came", classes, {}, soon, false},
      {"a class changed", classes, late, late, false},
  };
  for (const Row& row : rows) {
    bool woken = false;
    for (const auto& interest : plugin_->retry_on()) {
      if (interest.event == scheduler::ClusterEvent::ResourceChanged && interest.resource == row.resource)
        woken = woken || !interest.helps || interest.helps(*waiting_, row.before, row.after);
    }
    EXPECT_EQ(woken, row.woken) << row.rule;
  }
}

}  // namespace
}  // namespace kubernel::plugins
