// SPDX-License-Identifier: Apache-2.0
#include "event_labels.h"

#include <gtest/gtest.h>

namespace kubernel::plugins {
namespace {

api::Object pod(const std::string& rest) {
  auto parsed = api::Object::parse(R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"p")" + rest + "}");
  EXPECT_TRUE(parsed) << rest;
  return *std::move(parsed);
}

TEST(EventLabels, NameResourcesAsUpstreamDoes) {
  struct Row {
    api::Resource resource;
    const char* label;
  };
  const std::vector<Row> rows = {
      {{"", "v1", "persistentvolumes"}, "PersistentVolumeUpdate"},
      {{"", "v1", "persistentvolumeclaims"}, "PersistentVolumeClaimUpdate"},
      {{"storage.k8s.io", "v1", "csinodes"}, "storage.k8s.io/CSINodeUpdate"},
      {{"storage.k8s.io", "v1", "csidrivers"}, "storage.k8s.io/CSIDriverUpdate"},
      {{"storage.k8s.io", "v1", "volumeattachments"}, "storage.k8s.io/VolumeAttachmentUpdate"},
      {{"storage.k8s.io", "v1", "csistoragecapacities"}, "storage.k8s.io/CSIStorageCapacityUpdate"},
      {{"storage.k8s.io", "v1", "storageclasses"}, "storage.k8s.io/StorageClassUpdate"},
      {{"resource.k8s.io", "v1", "resourceclaims"}, "resource.k8s.io/ResourceClaimUpdate"},
      {{"resource.k8s.io", "v1", "resourceslices"}, "resource.k8s.io/ResourceSliceUpdate"},
      {{"resource.k8s.io", "v1", "deviceclasses"}, "resource.k8s.io/DeviceClassUpdate"},
      {{"example.com", "v1beta1", "foos"}, "foos.v1beta1.example.comUpdate"},
      {{"example.com", "v1", "podgroups"}, "podgroups.v1.example.comUpdate"},
  };
  const api::Object one;
  for (const Row& row : rows) EXPECT_EQ(labels_of(row.resource).of(&one, &one), row.label);
  EXPECT_EQ(labels_of(rows[0].resource).of(nullptr, &one), "PersistentVolumeAdd");
  EXPECT_EQ(labels_of(rows[0].resource).of(&one, nullptr), "PersistentVolumeDelete");
  EXPECT_EQ(labels_of(rows[10].resource).added.data(), labels_of(rows[10].resource).added.data()) << "kept once";
}

TEST(EventLabels, TellWhatChangedOfAPod) {
  struct Row {
    const char* before;
    const char* after;
    std::vector<std::string_view> labels;
  };
  const std::vector<Row> rows = {
      {R"(})", R"(,"labels":{"a":"b"}})", {"UnschedulablePodUpdatePodLabel"}},
      {R"(},"spec":{"schedulingGates":[{"name":"a"},{"name":"b"}]})",
       R"(},"spec":{"schedulingGates":[{"name":"a"}]})",
       {"UnschedulablePodUpdate"}},
      {R"(},"spec":{"schedulingGates":[{"name":"a"}]})",
       R"(},"spec":{})",
       {"UnschedulablePodUpdatePodSchedulingGatesEliminated"}},
      {R"(},"spec":{})", R"(},"spec":{"tolerations":[{"key":"k"}]})", {"UnschedulablePodUpdatePodToleration"}},
      {R"(})",
       R"(},"status":{"resourceClaimStatuses":[{"name":"c"}]})",
       {"UnschedulablePodUpdatePodGeneratedResourceClaim"}},
      {R"(})",
       R"(},"status":{"extendedResourceClaimStatus":{"resourceClaimName":"c"}})",
       {"UnschedulablePodUpdatePodGeneratedResourceClaim"}},
      {R"(},"spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":"2"}}}]})",
       R"(,"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":"1"}}}]})",
       {"UnschedulablePodUpdatePodLabel", "UnschedulablePodUpdatePodScaleDown"}},
      {R"(},"spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":"1"}}}]})",
       R"(},"spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":"2"}}}]})",
       {"UnschedulablePodUpdate"}},
      {R"(},"status":{"containerStatuses":[{"name":"c","resources":{"requests":{"cpu":"2"}}}]},
          "spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":"1"}}}]})",
       R"(},"status":{"containerStatuses":[{"name":"c","resources":{"requests":{"cpu":"1"}}}]},
          "spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":"1"}}}]})",
       {"UnschedulablePodUpdatePodScaleDown"}},
      {R"(},"status":{"containerStatuses":[{"name":"c","resources":{"requests":{"cpu":"1"}}}]},
          "spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":"2"}}}]})",
       R"(},"status":{"containerStatuses":[{"name":"c","resources":{"requests":{"cpu":"1"}}}],
              "conditions":[{"type":"PodResizePending","reason":"Infeasible"}]},
          "spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":"2"}}}]})",
       {"UnschedulablePodUpdatePodScaleDown"}},
      {R"(},"status":{"resources":{"requests":{"cpu":"2"}}},"spec":{"resources":{"requests":{"cpu":"1"}}})",
       R"(},"status":{"resources":{"requests":{"cpu":"1"}}},"spec":{"resources":{"requests":{"cpu":"1"}}})",
       {"UnschedulablePodUpdatePodScaleDown"}},
      {R"(})", R"(},"status":{"phase":"Pending"})", {"UnschedulablePodUpdate"}},
  };
  for (const Row& row : rows)
    EXPECT_EQ(PodChanges::between(pod(row.before), pod(row.after)).event_labels(false), row.labels) << row.after;
  EXPECT_EQ(PodChanges::between(pod("}"), pod(R"(,"labels":{"a":"b"}})")).event_labels(true),
            std::vector<std::string_view>{"AssignedPodUpdatePodLabel"});
}

}  // namespace
}  // namespace kubernel::plugins
