// SPDX-License-Identifier: Apache-2.0
//
// pods/ephemeralcontainers and pods/resize.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fixture.h"

namespace kubernel::apiserver {
namespace {

using ::testing::HasSubstr;

class PodChanges : public ::testing::Test {
 protected:
  PodChanges() {
    pod_ = f_.create(api::resources::kPods, "default",
                     R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i","resources":{
                       "requests":{"cpu":"100m","memory":"64Mi"},"limits":{"cpu":"1","memory":"128Mi"}}}]}})")
               .to_json();
  }

  Result<api::Object> update(const char* subresource, const json& document) {
    return f_.client().update({}, api::resources::kPods, {"default", "p"}, document, {.subresource = subresource});
  }
  Result<api::Object> debug(const char* containers) {
    json wanted = pod_;
    wanted["metadata"].erase("resourceVersion");
    wanted["spec"]["ephemeralContainers"] = json::parse(containers);
    return update("ephemeralcontainers", wanted);
  }
  Result<api::Object> resize(const char* resources) {
    json wanted = pod_;
    wanted["metadata"].erase("resourceVersion");
    wanted["spec"]["containers"][0]["resources"] = json::parse(resources);
    return update("resize", wanted);
  }

  static std::string refusal(const Result<api::Object>& result) {
    return result ? "accepted" : result.error().message();
  }

  Fixture f_;
  json pod_;
};

TEST_F(PodChanges, AnEphemeralContainerIsAddedWithDefaults) {
  const auto changed = debug(R"([{"name":"debug","image":"busybox","targetContainerName":"c","stdin":true}])");
  ASSERT_TRUE(changed) << changed.error().message();
  const json after = changed->to_json();
  EXPECT_EQ(after["spec"]["ephemeralContainers"][0]["terminationMessagePolicy"], "File");
  EXPECT_EQ(after["spec"]["ephemeralContainers"][0]["imagePullPolicy"], "Always");
  EXPECT_EQ(after["metadata"]["generation"], 2);
}

TEST_F(PodChanges, NothingElseChangesWithIt) {
  pod_["spec"]["containers"][0]["image"] = "other";
  pod_["metadata"]["labels"]["a"] = "b";
  const auto changed = debug(R"([{"name":"debug","image":"busybox"}])");
  ASSERT_TRUE(changed) << changed.error().message();
  const json after = changed->to_json();
  EXPECT_EQ(after["spec"]["containers"][0]["image"], "i");
  EXPECT_FALSE(after["metadata"].contains("labels"));
}

TEST_F(PodChanges, EphemeralContainersStayAsTheyAre) {
  ASSERT_TRUE(debug(R"([{"name":"debug","image":"busybox"}])"));
  EXPECT_THAT(refusal(debug("[]")), HasSubstr("existing ephemeral containers \"debug\" may not be removed"));
  EXPECT_THAT(refusal(debug(R"([{"name":"debug","image":"other"}])")),
              HasSubstr("existing ephemeral containers \"debug\" may not be changed"));
  EXPECT_TRUE(f_.client().patch({}, api::resources::kPods, {"default", "p"}, client::PatchType::StrategicMerge,
                                json::parse(R"({"spec":{"ephemeralContainers":[{"name":"more","image":"busybox"}]}})"),
                                {.subresource = "ephemeralcontainers"}));
}

TEST_F(PodChanges, TheRulesOfEphemeralContainersHold) {
  EXPECT_THAT(refusal(debug(R"([{"name":"c","image":"i"}])")),
              HasSubstr(R"(spec.ephemeralContainers[0].name: Duplicate value: "c")"));
  EXPECT_THAT(refusal(debug(R"([{"name":"d","image":"i","targetContainerName":"x"}])")),
              HasSubstr(R"(spec.ephemeralContainers[0].targetContainerName: Not found: "x")"));
  EXPECT_THAT(refusal(debug(R"([{"name":"d","image":"i","ports":[{"containerPort":1}]}])")),
              HasSubstr("spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container"));
  EXPECT_THAT(refusal(debug(R"([{"image":"i"}])")), HasSubstr("spec.ephemeralContainers[0].name: Required value"));
}

TEST_F(PodChanges, CpuAndMemoryAreResized) {
  const auto changed = resize(R"({"requests":{"cpu":"200m","memory":"64Mi"},"limits":{"cpu":"2","memory":"128Mi"}})");
  ASSERT_TRUE(changed) << changed.error().message();
  EXPECT_EQ((*changed)["spec"]["containers"].to_json()[0]["resources"]["limits"]["cpu"], "2");
  EXPECT_EQ(changed->to_json()["metadata"]["generation"], 2);
}

TEST_F(PodChanges, AResizeKeepsTheClassAndOtherResources) {
  EXPECT_THAT(refusal(resize(R"({"requests":{"cpu":"1","memory":"128Mi"},"limits":{"cpu":"1","memory":"128Mi"}})")),
              HasSubstr("Pod QOS Class may not change as a result of resizing"));
  EXPECT_THAT(
      refusal(resize(
          R"({"requests":{"cpu":"100m","memory":"64Mi","ephemeral-storage":"1Gi"},"limits":{"cpu":"1","memory":"128Mi"}})")),
      HasSubstr("only cpu and memory resources are mutable"));
  EXPECT_THAT(refusal(resize(R"({"requests":{"cpu":"100m","memory":"64Mi"},"limits":{"cpu":"1"}})")),
              HasSubstr("resource limits cannot be removed"));
  EXPECT_THAT(refusal(resize(R"({"requests":{"cpu":"3","memory":"64Mi"},"limits":{"cpu":"1","memory":"128Mi"}})")),
              HasSubstr("must be less than or equal to cpu limit"));
}

}  // namespace
}  // namespace kubernel::apiserver
