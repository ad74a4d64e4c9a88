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

// Upstream's CSI migration.
TEST_F(NodeVolumeLimitsTest, InTreeVolumesCountForTheirDriver) {
  const api::Resource csi_nodes{"storage.k8s.io", "v1", "csinodes"};
  cluster_.put_text(csi_nodes, R"({"metadata":{"name":"full"},"spec":{"drivers":[
      {"name":"ebs.csi.aws.com","nodeID":"x","allocatable":{"count":1}}]}})");
  for (const std::string provisioner : {"kubernetes.io/aws-ebs", "kubernetes.io/vsphere-volume"}) {
    cluster_.put_text({"storage.k8s.io", "v1", "storageclasses"}, R"({"metadata":{"name":")" + provisioner.substr(14) +
                                                                      R"("},"provisioner":")" + provisioner + "\"}");
  }
  const auto in_tree = [&](const std::string& name, const std::string& source) {
    cluster_.put_text(api::resources::kPersistentVolumes,
                      R"({"metadata":{"name":"v)" + name + R"("},"spec":{)" + source + "}}");
    cluster_.put_text(api::resources::kPersistentVolumeClaims, R"({"metadata":{"namespace":"default","name":")" + name +
                                                                   R"("},"spec":{"volumeName":"v)" + name + R"("}})");
  };
  const auto unbound = [&](const std::string& name, const std::string& spec) {
    cluster_.put_text(api::resources::kPersistentVolumeClaims,
                      R"({"metadata":{"namespace":"default","name":")" + name + R"("},"spec":)" + spec + "}");
  };
  in_tree("one", R"("awsElasticBlockStore":{"volumeID":"aws://z/vol-1"})");
  in_tree("two", R"("awsElasticBlockStore":{"volumeID":"vol-2"})");
  in_tree("broken", R"("awsElasticBlockStore":{"volumeID":"aws://z/disk"})");
  in_tree("disk", R"("gcePersistentDisk":{"pdName":"d"})");
  unbound("made", R"({"storageClassName":"aws-ebs"})");
  unbound("path", R"({"storageClassName":"vsphere-volume"})");
  unbound("early", R"({"storageClassName":"aws-ebs","volumeName":"not-seen-yet"})");
  executor_.run_all();
  const auto inlined = [](const std::string& id) {
    return pod(R"({"volumes":[{"name":"v","awsElasticBlockStore":{"volumeID":")" + id + R"("}}]})", "q");
  };
  auto full = node("full");
  full.add_pod(uses({"one"}, "first"));
  struct Row {
    const char* rule;
    std::shared_ptr<const scheduler::PodInfo> pod;
    const char* verdict;
  };
  const std::vector<Row> rows = {
      {"the same volume counts once", uses({"one"}), ""},
      {"another volume", uses({"two"}), kFull},
      {"the same volume, named by the pod itself", inlined("vol-1"), ""},
      {"another volume, named by the pod itself", inlined("vol-2"), kFull},
      {"a claim whose class is in-tree", uses({"made"}), kFull},
      {"a claim whose volume is not known counts for its class", uses({"early"}), kFull},
      {"a class that is not migrated", uses({"path"}), ""},
      {"another driver's volume", uses({"disk"}), ""},
      {"a volume that cannot be translated", uses({"broken"}), ""},
  };
  for (const Row& row : rows) EXPECT_EQ(filter(*plugin_, *row.pod, full), row.verdict) << row.rule;
  EXPECT_EQ(filter(*plugin_, *inlined("vol-2"), node("a")), "") << "no limit for that driver there";

  const auto refused = dynamic_cast<scheduler::PreFilter&>(*plugin_).pre_filter(
      {}, *inlined("aws://z/disk"), scheduler::Snapshot(std::vector<std::shared_ptr<const scheduler::NodeInfo>>{}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(
      refused.error().message(),
      "converting volume(v) from inline to csi: failed to translate Kubernetes ID to EBS Volume ID Invalid format "
      "for AWS volume (aws://z/disk)");
}

TEST_F(NodeVolumeLimitsTest, IsWokenByWhatGivesRoom) {
  const auto object = [](const std::string& text) { return *api::Object::parse(text); };
  const auto csi_node = [&](const std::string& drivers) {
    return object(R"({"metadata":{"name":"a"},"spec":{"drivers":[)" + drivers + "]}}");
  };
  const auto two = csi_node(R"({"name":"d","allocatable":{"count":2}})");
  const auto three = csi_node(R"({"name":"d","allocatable":{"count":3}})");
  const auto attachment = object(R"({"metadata":{"name":"t"},"spec":{"attacher":"ebs.csi.aws.com","nodeName":"a"}})");
  const auto claim = object(R"({"metadata":{"namespace":"default","name":"1"}})");
  const auto claims = uses({"1"});
  const auto ebs = pod(R"({"volumes":[{"name":"v","awsElasticBlockStore":{"volumeID":"vol-1"}}]})");
  const auto gce = pod(R"({"volumes":[{"name":"v","gcePersistentDisk":{"pdName":"d"}}]})");
  const auto without = pod(R"({"volumes":[{"name":"v","emptyDir":{}}]})");
  const api::Resource csi_nodes{"storage.k8s.io", "v1", "csinodes"};
  const api::Resource attachments{"storage.k8s.io", "v1", "volumeattachments"};
  const auto& pvcs = api::resources::kPersistentVolumeClaims;
  using scheduler::ClusterEvent;
  struct Row {
    const char* rule;
    ClusterEvent event;
    api::Resource resource;
    std::shared_ptr<const scheduler::PodInfo> waiting;
    api::Object before, after;
    bool woken;
  };
  const std::vector<Row> rows = {
      {"a pod with claims went", ClusterEvent::PodDeleted, {}, claims, claims->object, {}, true},
      {"a pod with an in-tree volume went", ClusterEvent::PodDeleted, {}, claims, ebs->object, {}, true},
      {"a pod without volumes went", ClusterEvent::PodDeleted, {}, claims, without->object, {}, false},
      {"a pod with claims shrank", ClusterEvent::PodDeleted, {}, claims, claims->object, claims->object, false},
      {"a node's drivers are known", ClusterEvent::ResourceChanged, csi_nodes, claims, {}, two, true},
      {"a limit rose", ClusterEvent::ResourceChanged, csi_nodes, claims, two, three, true},
      {"a limit fell", ClusterEvent::ResourceChanged, csi_nodes, claims, three, two, false},
      {"a driver came", ClusterEvent::ResourceChanged, csi_nodes, claims, csi_node(""), two, true},
      {"a volume is detached: claims", ClusterEvent::ResourceChanged, attachments, claims, attachment, {}, true},
      {"a volume of the driver is detached", ClusterEvent::ResourceChanged, attachments, ebs, attachment, {}, true},
      {"a volume of another is detached", ClusterEvent::ResourceChanged, attachments, gce, attachment, {}, false},
      {"a volume is attached", ClusterEvent::ResourceChanged, attachments, claims, {}, attachment, false},
      {"the pod's claim came", ClusterEvent::ResourceChanged, pvcs, claims, {}, claim, true},
      {"the pod's claim changed", ClusterEvent::ResourceChanged, pvcs, claims, claim, claim, false},
      {"another claim came", ClusterEvent::ResourceChanged, pvcs, uses({"2"}), {}, claim, false},
  };
  for (const Row& row : rows) {
    bool woken = false;
    for (const auto& interest : plugin_->retry_on()) {
      if (interest.event == row.event && interest.resource == row.resource)
        woken = woken || !interest.helps || interest.helps(*row.waiting, row.before, row.after);
    }
    EXPECT_EQ(woken, row.woken) << row.rule;
  }
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
