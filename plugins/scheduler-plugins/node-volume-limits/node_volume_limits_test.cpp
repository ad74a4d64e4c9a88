// SPDX-License-Identifier: Apache-2.0

#include "node_volume_limits.h"

#include <kubernel/testing/scheduler.h>

namespace kubernel::plugins {
namespace {

constexpr const char* kFull = "node(s) exceed max volume count";

class NodeVolumeLimitsTest : public testing::SchedulerPluginTest {
 protected:
  NodeVolumeLimitsTest() {
    cluster_.serve({"storage.k8s.io", "v1", "csinodes"}, "CSINode", false);
    cluster_.serve({"storage.k8s.io", "v1", "storageclasses"}, "StorageClass", false);
    cluster_.serve({"storage.k8s.io", "v1", "volumeattachments"}, "VolumeAttachment", false);
    cluster_.put_text(
        {"storage.k8s.io", "v1", "csinodes"},
        R"({"metadata":{"name":"a"},"spec":{"drivers":[{"name":"d","nodeID":"a","allocatable":{"count":2}},{"name":"free","nodeID":"a"}]}})");
    cluster_.put_text({"storage.k8s.io", "v1", "storageclasses"}, R"({"metadata":{"name":"late"},"provisioner":"d"})");
    for (const std::string name : {"1", "2", "3"}) bound(name, "d");
    bound("free", "free");
    cluster_.put_text(api::resources::kPersistentVolumeClaims,
                      R"({"metadata":{"namespace":"default","name":"unbound"},"spec":{"storageClassName":"late"}})");
    plugin_ = make(make_node_volume_limits);
    informers_->start();
    executor_.run_all();
  }
  void bound(const std::string& name, const std::string& driver) {
    cluster_.put_text(api::resources::kPersistentVolumes, R"({"metadata":{"name":"v)" + name +
                                                              R"("},"spec":{"csi":{"driver":")" + driver +
                                                              R"(","volumeHandle":"h)" + name + R"("}}})");
    cluster_.put_text(api::resources::kPersistentVolumeClaims, R"({"metadata":{"namespace":"default","name":")" + name +
                                                                   R"("},"spec":{"volumeName":"v)" + name + R"("}})");
  }
  static std::shared_ptr<const scheduler::PodInfo> uses(std::initializer_list<const char*> claims,
                                                        const std::string& name = "p") {
    std::string volumes;
    for (const std::string claim : claims) {
      volumes +=
          (volumes.empty() ? "" : ",") + (R"({"name":"x","persistentVolumeClaim":{"claimName":")" + claim + R"("}})");
    }
    return pod(R"({"volumes":[)" + volumes + "]}", name);
  }
  std::unique_ptr<scheduler::Plugin> plugin_;
};

TEST_F(NodeVolumeLimitsTest, ADriverAttachesSoManyVolumesAndNoMore) {
  auto info = node("a");
  info.add_pod(uses({"1"}, "first"));
  EXPECT_EQ(filter(*plugin_, *uses({"2"}), info), "");
  EXPECT_EQ(filter(*plugin_, *uses({"2", "3"}), info), kFull);
  info.add_pod(uses({"2"}, "second"));
  EXPECT_EQ(filter(*plugin_, *uses({"3"}), info), kFull);
}

TEST_F(NodeVolumeLimitsTest, AVolumeThatIsThereAlreadyCountsOnce) {
  auto info = node("a");
  info.add_pod(uses({"1", "2"}, "first"));
  EXPECT_EQ(filter(*plugin_, *uses({"1"}), info), "");
}

TEST_F(NodeVolumeLimitsTest, AClaimThatIsNotBoundCountsForItsClass) {
  auto info = node("a");
  info.add_pod(uses({"1", "2"}, "first"));
  EXPECT_EQ(filter(*plugin_, *uses({"unbound"}), info), kFull);
}

TEST_F(NodeVolumeLimitsTest, WhatIsStillAttachedCountsToo) {
  for (const std::string name : {"1", "2"}) {
    cluster_.put_text({"storage.k8s.io", "v1", "volumeattachments"},
                      R"({"metadata":{"name":"t)" + name +
                          R"("},"spec":{"attacher":"d","nodeName":"a","source":{"persistentVolumeName":"v)" + name +
                          R"("}}})");
  }
  executor_.run_all();
  EXPECT_EQ(filter(*plugin_, *uses({"3"}), node("a")), kFull);
}

TEST_F(NodeVolumeLimitsTest, NothingIsLimitedWithoutANumber) {
  auto info = node("a");
  info.add_pod(uses({"1", "2"}, "first"));
  EXPECT_EQ(filter(*plugin_, *uses({"free"}), info), "");
  EXPECT_EQ(filter(*plugin_, *uses({"1", "2", "3"}), node("b")), "");
}

}  // namespace
}  // namespace kubernel::plugins
