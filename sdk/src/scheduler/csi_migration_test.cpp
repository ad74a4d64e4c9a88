// SPDX-License-Identifier: Apache-2.0
#include <kubernel/scheduler/csi_migration.h>

#include <gtest/gtest.h>

namespace kubernel::scheduler {
namespace {

constexpr const char* kBareZones = R"({"topology.kubernetes.io/zone":"us-east1-a"})";

api::Object object(const std::string& text) {
  auto parsed = api::Object::parse(text);
  EXPECT_TRUE(parsed) << text;
  return *std::move(parsed);
}

api::Object volume(const std::string& labels, const std::string& spec) {
  return object(R"({"metadata":{"name":"v","labels":)" + labels + R"(},"spec":{)" + spec + "}}");
}

TEST(CsiMigration, PersistentVolumesHaveADriverAndAHandle) {
  struct Row {
    const char* rule;
    const char* labels;
    const char* source;
    const char* driver;
    const char* handle;
  };
  const std::vector<Row> rows = {
      {"an EBS volume", "{}", R"("awsElasticBlockStore":{"volumeID":"vol-1"})", "ebs.csi.aws.com", "vol-1"},
      {"an EBS volume with its zone", "{}", R"("awsElasticBlockStore":{"volumeID":"aws://us-east-1a/vol-1"})",
       "ebs.csi.aws.com", "vol-1"},
      {"an EBS volume of no zone", "{}", R"("awsElasticBlockStore":{"volumeID":"aws:///vol-1"})", "ebs.csi.aws.com",
       "vol-1"},
      {"a disk in a zone", kBareZones, R"("gcePersistentDisk":{"pdName":"d"})", "pd.csi.storage.gke.io",
       "projects/UNSPECIFIED/zones/us-east1-a/disks/d"},
      {"the zone label of old goes first",
       R"({"topology.kubernetes.io/zone":"us-east1-a","failure-domain.beta.kubernetes.io/zone":"us-east1-b"})",
       R"("gcePersistentDisk":{"pdName":"d"})", "pd.csi.storage.gke.io",
       "projects/UNSPECIFIED/zones/us-east1-b/disks/d"},
      {"a regional disk", R"({"topology.kubernetes.io/zone":"us-east1-a__us-east1-b"})",
       R"("gcePersistentDisk":{"pdName":"d"})", "pd.csi.storage.gke.io",
       "projects/UNSPECIFIED/regions/us-east1/disks/d"},
      {"a disk of an unknown zone", "{}", R"("gcePersistentDisk":{"pdName":"d"})", "pd.csi.storage.gke.io",
       "projects/UNSPECIFIED/zones/UNSPECIFIED/disks/d"},
      {"an Azure disk", "{}", R"("azureDisk":{"diskName":"d","diskURI":"/subscriptions/x/d"})", "disk.csi.azure.com",
       "/subscriptions/x/d"},
      {"a managed Azure disk", "{}", R"("azureDisk":{"diskName":"d","diskURI":"/x/d","kind":"Managed"})",
       "disk.csi.azure.com", "/x/d"},
      {"a Cinder volume", "{}", R"("cinder":{"volumeID":"c"})", "cinder.csi.openstack.org", "c"},
      {"a Portworx volume", "{}", R"("portworxVolume":{"volumeID":"p"})", "pxd.portworx.com", "p"},
  };
  for (const Row& row : rows) {
    const auto one = volume(row.labels, std::string(R"("capacity":{},)") + row.source);
    const InTreePlugin* plugin = in_tree_plugin_of(one["spec"]);
    ASSERT_NE(plugin, nullptr) << row.rule;
    EXPECT_EQ(plugin->driver, row.driver) << row.rule;
    const auto handle = csi_handle(*plugin, one);
    ASSERT_TRUE(handle) << row.rule << handle.error().message();
    EXPECT_EQ(*handle, row.handle) << row.rule;
    EXPECT_EQ(find_in_tree_plugin(plugin->name), plugin) << row.rule;
    const auto translated = as_csi_volume(*plugin, one);
    ASSERT_TRUE(translated) << row.rule;
    EXPECT_EQ(translated->pointer("/spec/csi/driver").string(), row.driver) << row.rule;
    EXPECT_EQ(translated->pointer("/spec/csi/volumeHandle").string(), row.handle) << row.rule;
    EXPECT_FALSE((*translated)["spec"][plugin->member]) << row.rule;
  }
}

// Upstream's scheduler treats the last three as volumes without a driver.
TEST(CsiMigration, OtherVolumesHaveNone) {
  for (const char* source : {R"("nfs":{})", R"("csi":{})", R"("azureFile":{"secretName":"s","shareName":"s"})",
                             R"("vsphereVolume":{"volumePath":"[ds] v.vmdk"})", ""}) {
    EXPECT_EQ(in_tree_plugin_of(volume("{}", source)["spec"]), nullptr) << source;
  }
  for (const char* name : {"ebs.csi.aws.com", "kubernetes.io/azure-file", "kubernetes.io/vsphere-volume", ""}) {
    EXPECT_EQ(find_in_tree_plugin(name), nullptr) << name;
  }
}

TEST(CsiMigration, VolumesThatMakeNoSenseAreErrors) {
  struct Row {
    const char* labels;
    const char* source;
    const char* message;
  };
  const std::vector<Row> rows = {
      {"{}", R"("awsElasticBlockStore":{"volumeID":"aws://us-east-1a/disk-1"})",
       "failed to translate Kubernetes ID to EBS Volume ID Invalid format for AWS volume (aws://us-east-1a/disk-1)"},
      {"{}", R"("awsElasticBlockStore":{"volumeID":"aws://vol-1"})",
       "failed to translate Kubernetes ID to EBS Volume ID Invalid format for AWS volume (aws://vol-1)"},
      {R"({"topology.kubernetes.io/zone":"a__b"})", R"("gcePersistentDisk":{"pdName":"d"})",
       "failed to get region from zones: zone in unexpected format, expected: {locale}-{region}-{zone}, got: a"},
      {R"({"topology.kubernetes.io/zone":"us-east1-a__us-west1-a"})", R"("gcePersistentDisk":{"pdName":"d"})",
       "failed to get region from zones: multiple or no regions gotten from zones, got: map[us-east1:{} us-west1:{}]"},
      {"{}", R"("azureDisk":{"diskURI":"http://x/vhds/d","kind":"Shared"})",
       "kind(Shared) is not supported in csi migration"},
  };
  for (const Row& row : rows) {
    const auto one = volume(row.labels, row.source);
    const auto handle = csi_handle(*in_tree_plugin_of(one["spec"]), one);
    ASSERT_FALSE(handle) << row.source;
    EXPECT_EQ(handle.error().message(), row.message);
    EXPECT_FALSE(as_csi_volume(*in_tree_plugin_of(one["spec"]), one)) << row.source;
  }
}

TEST(CsiMigration, VolumesOfAPodAreTranslatedToo) {
  const auto pod = object(R"({"spec":{"volumes":[{"name":"v","gcePersistentDisk":{"pdName":"d"}},
      {"name":"w","awsElasticBlockStore":{"volumeID":"aws://z/vol-1"}},{"name":"x","emptyDir":{}}]}})");
  const api::Value volumes = pod["spec"]["volumes"];
  EXPECT_EQ(*csi_handle_of_inline(*in_tree_plugin_of(volumes.at(0)), volumes.at(0)),
            "projects/UNSPECIFIED/zones/UNSPECIFIED/disks/d");
  EXPECT_EQ(*csi_handle_of_inline(*in_tree_plugin_of(volumes.at(1)), volumes.at(1)), "vol-1");
  EXPECT_EQ(in_tree_plugin_of(volumes.at(2)), nullptr);
}

TEST(CsiMigration, ZonesGoUnderTheDriversLabel) {
  constexpr const char* kEbs = R"("awsElasticBlockStore":{"volumeID":"vol-1"})";
  const auto affinity = [](const std::string& terms) {
    return R"("nodeAffinity":{"required":{"nodeSelectorTerms":)" + terms + "}}";
  };
  struct Row {
    const char* rule;
    const char* labels;
    std::string affinity;  // Terms; empty: none.
    std::string expected;  // Terms; empty: none.
    const char* source;
  };
  const std::string driver_zone =
      R"([{"matchExpressions":[{"key":"topology.ebs.csi.aws.com/zone","operator":"In","values":["us-east1-a"]}]}])";
  const std::vector<Row> rows = {
      {"nothing is told: nothing is asked", "{}", "", "", kEbs},
      {"a label of the volume", kBareZones, "", driver_zone, kEbs},
      {"a label of old", R"({"failure-domain.beta.kubernetes.io/zone":"us-east1-a"})", "", driver_zone, kEbs},
      {"several zones, in order", R"({"topology.kubernetes.io/zone":"b__ a __b__"})", "",
       R"([{"matchExpressions":[{"key":"topology.ebs.csi.aws.com/zone","operator":"In","values":["a","b"]}]}])", kEbs},
      {"an empty label", R"({"topology.kubernetes.io/zone":""})", "", "", kEbs},
      {"the affinity goes before the label", R"({"topology.kubernetes.io/zone":"other"})",
       R"([{"matchExpressions":[{"key":"topology.kubernetes.io/zone","operator":"In","values":["us-east1-a"]}]}])",
       driver_zone, kEbs},
      {"an affinity over something else is kept", kBareZones,
       R"([{"matchExpressions":[{"key":"disk","operator":"Exists"}]},{}])",
       R"([{"matchExpressions":[{"key":"disk","operator":"Exists"},
           {"key":"topology.ebs.csi.aws.com/zone","operator":"In","values":["us-east1-a"]}]},
           {"matchExpressions":[{"key":"topology.ebs.csi.aws.com/zone","operator":"In","values":["us-east1-a"]}]}])",
       kEbs},
      {"the region of old gets its name of today", "{}",
       R"([{"matchExpressions":[{"key":"failure-domain.beta.kubernetes.io/zone","operator":"In","values":["a"]},
           {"key":"failure-domain.beta.kubernetes.io/region","operator":"In","values":["r"]}]}])",
       R"([{"matchExpressions":[{"key":"topology.ebs.csi.aws.com/zone","operator":"In","values":["a"]},
           {"key":"topology.kubernetes.io/region","operator":"In","values":["r"]}]}])",
       kEbs},
      {"Azure's zones stay", "{}",
       R"([{"matchExpressions":[{"key":"topology.kubernetes.io/zone","operator":"In","values":["1"]}]}])",
       R"([{"matchExpressions":[{"key":"topology.kubernetes.io/zone","operator":"In","values":["1"]}]}])",
       R"("azureDisk":{"diskURI":"/x"})"},
  };
  for (const Row& row : rows) {
    const auto one = volume(row.labels, row.source + (row.affinity.empty() ? "" : "," + affinity(row.affinity)));
    const auto translated = as_csi_volume(*in_tree_plugin_of(one["spec"]), one);
    ASSERT_TRUE(translated) << row.rule << translated.error().message();
    const auto wanted =
        object(R"({"metadata":{"name":"v"},"terms":)" + (row.expected.empty() ? "null" : row.expected) + "}");
    const api::Value terms = translated->pointer("/spec/nodeAffinity/required/nodeSelectorTerms");
    EXPECT_TRUE(row.expected.empty() ? !terms : terms == wanted["terms"])
        << row.rule << ": " << translated->body().dump();
  }
}

TEST(CsiMigration, ANodeSaysWhatItHasMigrated) {
  const auto node = [](const std::string& list) {
    return object(R"({"metadata":{"name":"n","annotations":{"storage.alpha.kubernetes.io/migrated-plugins":")" + list +
                  R"("}}})");
  };
  const InTreePlugin& ebs = *find_in_tree_plugin("kubernetes.io/aws-ebs");
  EXPECT_TRUE(has_migrated(node("kubernetes.io/aws-ebs"), ebs));
  EXPECT_TRUE(has_migrated(node("kubernetes.io/cinder,kubernetes.io/aws-ebs,kubernetes.io/gce-pd"), ebs));
  EXPECT_FALSE(has_migrated(node("kubernetes.io/cinder,kubernetes.io/aws-ebs-other"), ebs));
  EXPECT_FALSE(has_migrated(node(""), ebs));
  EXPECT_FALSE(has_migrated(object(R"({"metadata":{"name":"n"}})"), ebs));
}

}  // namespace
}  // namespace kubernel::scheduler
