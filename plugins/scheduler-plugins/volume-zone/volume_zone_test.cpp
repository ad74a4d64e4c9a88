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

}  // namespace
}  // namespace kubernel::plugins
