// SPDX-License-Identifier: Apache-2.0

#include "volume_binding.h"

#include <nlohmann/json.hpp>

#include <kubernel/testing/scheduler.h>

namespace kubernel::plugins {
namespace {

using api::resources::kPersistentVolumeClaims;
using api::resources::kPersistentVolumes;
using nlohmann::json;
using scheduler::PodInfo;

constexpr const char* kNothing = "node(s) didn't find available persistent volumes to bind";
constexpr const char* kConflict = "node(s) had volume node affinity conflict";
const api::Resource kCsiNodes{"storage.k8s.io", "v1", "csinodes"};
const api::Resource kCsiDrivers{"storage.k8s.io", "v1", "csidrivers"};
const api::Resource kCapacities{"storage.k8s.io", "v1", "csistoragecapacities"};
const api::Resource kClasses{"storage.k8s.io", "v1", "storageclasses"};

class VolumeBindingTest : public testing::SchedulerPluginTest {
 protected:
  VolumeBindingTest() {
    cluster_.serve(kClasses, "StorageClass", false);
    cluster_.serve(kCsiNodes, "CSINode", false);
    cluster_.serve({"storage.k8s.io", "v1", "csidrivers"}, "CSIDriver", false);
    cluster_.serve({"storage.k8s.io", "v1", "csistoragecapacities"}, "CSIStorageCapacity", true);
    cluster_.put_text(
        kClasses,
        R"({"metadata":{"name":"late"},"provisioner":"kubernetes.io/no-provisioner","volumeBindingMode":"WaitForFirstConsumer"})");
    cluster_.put_text(kClasses,
                      R"({"metadata":{"name":"made"},"provisioner":"d","volumeBindingMode":"WaitForFirstConsumer",
        "allowedTopologies":[{"matchLabelExpressions":[{"key":"zone","values":["a"]}]}]})");
    cluster_.put_text(kClasses, R"({"metadata":{"name":"soon"},"provisioner":"d","volumeBindingMode":"Immediate"})");
  }
  void start(const std::string& config = "{}") {
    plugin_ = make(make_volume_binding, config);
    informers_->start();
    executor_.run_all();
  }
  void claim(const std::string& name, const std::string& storage_class, const std::string& more = "") {
    cluster_.put_text(kPersistentVolumeClaims,
                      R"({"metadata":{"namespace":"default","name":")" + name +
                          R"("},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}},
        "storageClassName":")" +
                          storage_class + "\"" + more + "}}");
  }
  void volume(const std::string& name, const std::string& size, const std::string& node_name,
              const std::string& more = "") {
    cluster_.put_text(kPersistentVolumes, R"({"metadata":{"name":")" + name +
                                              R"("},"spec":{"accessModes":["ReadWriteOnce"],"storageClassName":"late",
        "capacity":{"storage":")" + size + R"("},"nodeAffinity":{"required":{"nodeSelectorTerms":[{"matchFields":[
        {"key":"metadata.name","operator":"In","values":[")" +
                                              node_name + R"("]}]}]}})" + more +
                                              R"(},"status":{"phase":"Available"}})");
  }
  // A volume and the claim that is bound to it.
  void bound_volume(const std::string& name, const std::string& labels, const std::string& spec) {
    cluster_.put_text(kPersistentVolumes,
                      R"({"metadata":{"name":")" + name + R"(","labels":)" + labels + R"(},"spec":{)" + spec + "}}");
    claim(name, "late", R"(,"volumeName":")" + name + "\"");
    cluster_.edit(kPersistentVolumeClaims, {"default", name},
                  [](json& c) { c["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"] = "yes"; });
  }
  static std::shared_ptr<const PodInfo> uses(std::initializer_list<const char*> claims) {
    std::string volumes;
    for (const std::string name : claims) {
      volumes +=
          (volumes.empty() ? "" : ",") + (R"({"name":"x","persistentVolumeClaim":{"claimName":")" + name + R"("}})");
    }
    return pod(R"({"volumes":[)" + volumes + "]}");
  }
  std::string on(const std::string& node_name, const PodInfo& waiting, const std::string& labels = "{}") {
    return filter(*plugin_, waiting, node(node_name, R"("spec":{})", labels));
  }

  // From pre-filter to the cycle that Reserve and PreBind get.
  scheduler::Cycle decided(const std::shared_ptr<const PodInfo>& waiting, const std::string& node_name,
                           const std::string& labels = "{}") {
    scheduler::Cycle cycle;
    cycle.pod = waiting;
    cycle.snapshot =
        std::make_shared<const scheduler::Snapshot>(std::vector<std::shared_ptr<const scheduler::NodeInfo>>{
            std::make_shared<const scheduler::NodeInfo>(node(node_name, R"("spec":{})", labels))});
    auto result = dynamic_cast<scheduler::PreFilter&>(*plugin_).pre_filter({}, *waiting, *cycle.snapshot);
    EXPECT_TRUE(result);
    cycle.data.push_back(std::move(result->data));
    return cycle;
  }
  scheduler::Reserve& reserve() { return dynamic_cast<scheduler::Reserve&>(*plugin_); }
  scheduler::PreBind& pre_bind() { return dynamic_cast<scheduler::PreBind&>(*plugin_); }

  std::unique_ptr<scheduler::Plugin> plugin_;
};

TEST_F(VolumeBindingTest, SaysWhatIsWrongWithAClaim) {
  claim("soon", "soon");
  claim("lost", "late", R"(,"volumeName":"gone")");
  cluster_.edit(kPersistentVolumeClaims, {"default", "lost"}, [](json& c) { c["status"]["phase"] = "Lost"; });
  start();
  EXPECT_EQ(on("a", *uses({"absent"})), "persistentvolumeclaim \"absent\" not found");
  EXPECT_EQ(on("a", *uses({"soon"})), "pod has unbound immediate PersistentVolumeClaims");
  EXPECT_EQ(on("a", *uses({"lost"})), "persistentvolumeclaim \"lost\" bound to non-existent persistentvolume \"gone\"");
  EXPECT_EQ(on("a", *pod(R"({"volumes":[{"name":"e","ephemeral":{}}]})")),
            "waiting for ephemeral volume controller to create the persistentvolumeclaim \"p-e\"");
}

TEST_F(VolumeBindingTest, ABoundClaimKeepsThePodWhereItsVolumeIs) {
  volume("v", "1Gi", "a");
  claim("c", "late", R"(,"volumeName":"v")");
  cluster_.edit(kPersistentVolumeClaims, {"default", "c"},
                [](json& c) { c["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"] = "yes"; });
  start();
  EXPECT_EQ(on("a", *uses({"c"})), "");
  EXPECT_EQ(on("b", *uses({"c"})), kConflict);
}

// Upstream's CSI migration.
TEST_F(VolumeBindingTest, AnInTreeVolumeIsItsDriversWhereTheNodeHasMigratedIt) {
  const std::string ebs = R"("awsElasticBlockStore":{"volumeID":"vol-1"})";
  const std::string zone_a =
      R"("nodeAffinity":{"required":{"nodeSelectorTerms":[{"matchExpressions":[
      {"key":"topology.kubernetes.io/zone","operator":"In","values":["a"]}]}]}})";
  bound_volume("affinity", "{}", ebs + "," + zone_a);
  bound_volume("label", R"({"topology.kubernetes.io/zone":"a"})", ebs);
  bound_volume("anywhere", "{}", ebs);
  bound_volume("azure", "{}", R"("azureDisk":{"diskURI":"/d"},)" + zone_a);
  bound_volume("vsphere", "{}", R"("vsphereVolume":{"volumePath":"p"},)" + zone_a);
  bound_volume("csi", "{}", R"("csi":{"driver":"ebs.csi.aws.com","volumeHandle":"vol-1"},)" + zone_a);
  cluster_.put_text(kCsiNodes, R"({"metadata":{"name":"migrated","annotations":{
      "storage.alpha.kubernetes.io/migrated-plugins":
      "kubernetes.io/aws-ebs,kubernetes.io/azure-disk,kubernetes.io/vsphere-volume"}}})");
  cluster_.put_text(kCsiNodes, R"({"metadata":{"name":"other","annotations":{
      "storage.alpha.kubernetes.io/migrated-plugins":"kubernetes.io/cinder"}}})");
  start();
  constexpr const char* kDriverZone = R"({"topology.ebs.csi.aws.com/zone":"a"})";
  constexpr const char* kOtherDriverZone = R"({"topology.ebs.csi.aws.com/zone":"b","topology.kubernetes.io/zone":"a"})";
  constexpr const char* kZone = R"({"topology.kubernetes.io/zone":"a"})";
  struct Row {
    const char* rule;
    const char* claim;
    const char* node;
    const char* labels;
    const char* verdict;
  };
  const std::vector<Row> rows = {
      {"the zone under the driver's label", "affinity", "migrated", kDriverZone, ""},
      {"another zone under the driver's label", "affinity", "migrated", kOtherDriverZone, kConflict},
      {"the driver says nothing of zones", "affinity", "migrated", kZone, kConflict},
      {"not migrated: the volume's own affinity", "affinity", "other", kZone, ""},
      {"not migrated: the driver's label does not count", "affinity", "other", kDriverZone, kConflict},
      {"no CSINode: the volume's own affinity", "affinity", "unknown", kZone, ""},
      {"the volume's label counts where it is migrated", "label", "migrated", kDriverZone, ""},
      {"the volume's label, another zone", "label", "migrated", kOtherDriverZone, kConflict},
      {"the volume's label does not count elsewhere", "label", "other", "{}", ""},
      {"a volume without zones", "anywhere", "migrated", "{}", ""},
      {"zones of Azure stay as they are", "azure", "migrated", kZone, ""},
      {"zones of Azure stay as they are, elsewhere", "azure", "migrated", "{}", kConflict},
      {"a plugin that is not migrated for the scheduler", "vsphere", "migrated", kZone, ""},
      {"a CSI volume is as it is", "csi", "migrated", kZone, ""},
  };
  for (const Row& row : rows) EXPECT_EQ(on(row.node, *uses({row.claim}), row.labels), row.verdict) << row.rule;
}

TEST_F(VolumeBindingTest, AnInTreeVolumeThatCannotBeTranslatedIsAnErrorOnlyWhereItMatters) {
  bound_volume("broken", "{}", R"("awsElasticBlockStore":{"volumeID":"aws://z/disk"})");
  cluster_.put_text(kCsiNodes, R"({"metadata":{"name":"migrated","annotations":{
      "storage.alpha.kubernetes.io/migrated-plugins":"kubernetes.io/aws-ebs"}}})");
  start();
  EXPECT_EQ(on("other", *uses({"broken"})), "");
  const auto cycle = decided(uses({"broken"}), "migrated");
  const auto verdict =
      dynamic_cast<scheduler::Filter&>(*plugin_).filter(*cycle.pod, cycle.data[0].get(), node("migrated"));
  ASSERT_FALSE(verdict);
  EXPECT_EQ(verdict.error().message(),
            "could not translate pv: failed to translate Kubernetes ID to EBS Volume ID Invalid format for AWS volume "
            "(aws://z/disk)");
}

TEST_F(VolumeBindingTest, AClaimBoundToAVolumeThatIsGoneFitsNowhere) {
  claim("c", "late", R"(,"volumeName":"gone")");
  cluster_.edit(kPersistentVolumeClaims, {"default", "c"},
                [](json& c) { c["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"] = "yes"; });
  start();
  EXPECT_EQ(on("a", *uses({"c"})), "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)");
}

TEST_F(VolumeBindingTest, ALateClaimNeedsAVolumeOfTheNodeThatIsLargeEnough) {
  claim("c", "late");
  volume("small", "500Mi", "a");
  volume("large", "2Gi", "b");
  volume("taken", "2Gi", "c", R"(,"claimRef":{"namespace":"default","name":"other"})");
  start();
  EXPECT_EQ(on("a", *uses({"c"})), kNothing);
  EXPECT_EQ(on("b", *uses({"c"})), "");
  EXPECT_EQ(on("c", *uses({"c"})), kNothing);
}

TEST_F(VolumeBindingTest, TwoClaimsNeedTwoVolumes) {
  claim("c", "late");
  claim("d", "late");
  volume("one", "2Gi", "a");
  start();
  EXPECT_EQ(on("a", *uses({"c"})), "");
  EXPECT_EQ(on("a", *uses({"c", "d"})), kNothing);
}

TEST_F(VolumeBindingTest, AClassMakesVolumesWhereItsTopologyAllows) {
  claim("c", "made");
  start();
  EXPECT_EQ(on("a", *uses({"c"}), R"({"zone":"a"})"), "");
  EXPECT_EQ(on("b", *uses({"c"}), R"({"zone":"b"})"), kNothing);
}

// KEP-1472.
TEST_F(VolumeBindingTest, ADriverThatTellsItsCapacityIsBelieved) {
  claim("c", "made");
  cluster_.put_text({"storage.k8s.io", "v1", "csidrivers"},
                    R"({"metadata":{"name":"d"},"spec":{"storageCapacity":true}})");
  cluster_.put_text({"storage.k8s.io", "v1", "csistoragecapacities"},
                    R"({"metadata":{"namespace":"kube-system","name":"x"},"storageClassName":"made",
      "nodeTopology":{"matchLabels":{"rack":"1"}},"capacity":"10Gi","maximumVolumeSize":"1Gi"})");
  start();
  EXPECT_EQ(on("a", *uses({"c"}), R"({"zone":"a","rack":"1"})"), "");
  EXPECT_EQ(on("a", *uses({"c"}), R"({"zone":"a","rack":"2"})"), "node(s) did not have enough free storage");
}

TEST_F(VolumeBindingTest, AReservedVolumeIsTakenUntilItIsGivenBack) {
  claim("c", "late");
  claim("d", "late");
  volume("one", "2Gi", "a");
  start();
  const auto cycle = decided(uses({"c"}), "a");
  EXPECT_TRUE(reserve().reserve({}, cycle, "a").ok());
  EXPECT_EQ(on("a", *uses({"d"})), kNothing);
  reserve().unreserve({}, cycle, "a");
  EXPECT_EQ(on("a", *uses({"d"})), "");
}

TEST_F(VolumeBindingTest, TheChosenVolumeIsClaimedAndThePodWaitsUntilItIsBound) {
  claim("c", "late");
  volume("large", "5Gi", "a");
  volume("fitting", "2Gi", "a");
  start();
  const auto cycle = decided(uses({"c"}), "a");
  ASSERT_TRUE(reserve().reserve({}, cycle, "a").ok());
  // The volume controller, as soon as the scheduler has written.
  cluster_.on_call([this](std::string_view verb, const api::Resource& resource, const api::ObjectKey&) -> Result<void> {
    if (verb != "update" || resource != kPersistentVolumes) return {};
    claim("c", "late", R"(,"volumeName":"fitting")");
    cluster_.edit(kPersistentVolumeClaims, {"default", "c"},
                  [](json& c) { c["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"] = "yes"; });
    executor_.run_all();
    return {};
  });
  const auto verdict = pre_bind().pre_bind({}, cycle, "a");
  cluster_.on_call({});
  ASSERT_TRUE(verdict) << verdict.error().message();
  EXPECT_TRUE(verdict->ok());
  EXPECT_EQ(cluster_.find(kPersistentVolumes, {"", "fitting"})->pointer("/spec/claimRef/name").string(), "c");
  EXPECT_FALSE(cluster_.find(kPersistentVolumes, {"", "large"})->pointer("/spec/claimRef"));
}

TEST_F(VolumeBindingTest, AClaimToBeMadeLearnsItsNode) {
  claim("c", "made");
  start();
  const auto cycle = decided(uses({"c"}), "a", R"({"zone":"a"})");
  ASSERT_TRUE(reserve().reserve({}, cycle, "a").ok());
  cluster_.fail_next("update", kPersistentVolumeClaims, Error(Reason::Conflict, "changed meanwhile"));
  EXPECT_FALSE(pre_bind().pre_bind({}, cycle, "a"));
  reserve().unreserve({}, cycle, "a");

  const auto again = decided(uses({"c"}), "a", R"({"zone":"a"})");
  ASSERT_TRUE(reserve().reserve({}, again, "a").ok());
  std::stop_source stop;
  stop.request_stop();  // Nobody makes the volume here: the pod would wait.
  const auto verdict = pre_bind().pre_bind({stop.get_token()}, again, "a");
  ASSERT_FALSE(verdict);
  EXPECT_EQ(verdict.error().reason(), Reason::Cancelled);
  EXPECT_EQ(cluster_.find(kPersistentVolumeClaims, {"default", "c"})
                ->annotations()["volume.kubernetes.io/selected-node"]
                .string(),
            "a");
}

TEST_F(VolumeBindingTest, AShapeScoresHowFullTheVolumesWouldBe) {
  claim("c", "late");
  volume("large", "4Gi", "a");
  volume("fitting", "1Gi", "b");
  start(R"({"shape":[{"utilization":0,"score":0},{"utilization":100,"score":10}]})");
  const auto waiting = uses({"c"});
  const auto a = node("a");
  const auto b = node("b");
  const scheduler::Snapshot snapshot(
      {std::make_shared<const scheduler::NodeInfo>(a), std::make_shared<const scheduler::NodeInfo>(b)});
  const auto data = dynamic_cast<scheduler::PreFilter&>(*plugin_).pre_filter({}, *waiting, snapshot);
  auto& score = dynamic_cast<scheduler::Score&>(*plugin_);
  EXPECT_EQ(*score.score(*waiting, data->data.get(), a, snapshot), 25);
  EXPECT_EQ(*score.score(*waiting, data->data.get(), b, snapshot), 100);
}

TEST_F(VolumeBindingTest, IsWokenByWhatMayHelp) {
  start();
  const auto object = [](const std::string& text) { return *api::Object::parse(text); };
  const auto named = [&](const std::string& name, const std::string& more = "") {
    return object(R"({"metadata":{"namespace":"default","name":")" + name + "\"}" + more + "}");
  };
  const auto migrated = [&](const std::string& list) {
    return object(R"({"metadata":{"name":"a","annotations":{"storage.alpha.kubernetes.io/migrated-plugins":")" + list +
                  R"("}}})");
  };
  const auto plain = named("x");
  const auto zone_a = named("x", R"(,"allowedTopologies":[{"matchLabelExpressions":[{"key":"z","values":["a"]}]}])");
  const auto one = named("x", R"(,"capacity":"1Gi")");
  const auto two = named("x", R"(,"capacity":"2Gi")");
  const auto capped = named("x", R"(,"capacity":"2Gi","maximumVolumeSize":"1Gi")");
  const auto counts = named("d", R"(,"spec":{"storageCapacity":true})");
  const auto counts_not = named("d", R"(,"spec":{"storageCapacity":false})");
  struct Row {
    const char* rule;
    api::Resource resource;
    api::Object before, after;
    bool woken;
  };
  const std::vector<Row> rows = {
      {"its claim came", kPersistentVolumeClaims, {}, named("c"), true},
      {"its claim changed", kPersistentVolumeClaims, named("c"), named("c"), true},
      {"another claim came", kPersistentVolumeClaims, {}, named("d"), false},
      {"a volume came", kPersistentVolumes, {}, plain, true},
      {"a volume changed", kPersistentVolumes, plain, plain, true},
      {"a volume went", kPersistentVolumes, plain, {}, false},
      {"a class came", kClasses, {}, plain, true},
      {"a class has other topologies", kClasses, zone_a, plain, true},
      {"a class changed otherwise", kClasses, zone_a, zone_a, false},
      {"a class went", kClasses, plain, {}, false},
      {"a node's drivers are known", kCsiNodes, {}, migrated(""), true},
      {"a node has migrated another plugin", kCsiNodes, migrated("p"), migrated("p,q"), true},
      {"a node's drivers changed otherwise", kCsiNodes, migrated("p"), migrated("p"), false},
      {"a node's drivers are gone", kCsiNodes, migrated("p"), {}, false},
      {"a driver's capacity counts no more", kCsiDrivers, counts, counts_not, true},
      {"a driver's capacity counts", kCsiDrivers, counts_not, counts, false},
      {"a driver came", kCsiDrivers, {}, counts, false},
      {"storage came", kCapacities, {}, one, true},
      {"storage grew", kCapacities, one, two, true},
      {"storage shrank", kCapacities, two, one, false},
      {"storage for larger volumes", kCapacities, capped, two, true},
      {"storage went", kCapacities, one, {}, false},
  };
  const auto waiting = uses({"c"});
  for (const Row& row : rows) {
    bool woken = false;
    for (const auto& interest : plugin_->retry_on()) {
      if (interest.event == scheduler::ClusterEvent::ResourceChanged && interest.resource == row.resource)
        woken = woken || !interest.helps || interest.helps(*waiting, row.before, row.after);
    }
    EXPECT_EQ(woken, row.woken) << row.rule;
  }
}

}  // namespace
}  // namespace kubernel::plugins
