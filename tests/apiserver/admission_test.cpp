// SPDX-License-Identifier: Apache-2.0
//
// The admission steps that are part of the server, and those of others.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fixture.h"

namespace kubernel::apiserver {
namespace {

using ::testing::HasSubstr;

const api::Resource kLimitRanges{"", "v1", "limitranges"};
const api::Resource kQuotas{"", "v1", "resourcequotas"};
const api::Resource kStorageClasses{"storage.k8s.io", "v1", "storageclasses"};
const api::Resource kIngressClasses{"networking.k8s.io", "v1", "ingressclasses"};
const api::Resource kIngresses{"networking.k8s.io", "v1", "ingresses"};
const api::Resource kRuntimeClasses{"node.k8s.io", "v1", "runtimeclasses"};
const api::Resource kSigningRequests{"certificates.k8s.io", "v1", "certificatesigningrequests"};

Result<api::Object> try_create(Fixture& f, const api::Resource& resource, const char* ns, const std::string& text_in) {
  return f.client().create({}, resource, {ns, ""}, json::parse(text_in), {});
}

std::string refusal(const Result<api::Object>& result) {
  return result ? "accepted" : result.error().message();
}

std::string pod(const char* name, const char* resources) {
  return std::string(R"({"metadata":{"name":")") + name +
         R"("},"spec":{"containers":[{"name":"c","image":"i","resources":)" + resources + "}]}}";
}

TEST(LimitRanger, ContainersGetTheDefaults) {
  Fixture f;
  f.create(kLimitRanges, "default",
           R"({"metadata":{"name":"l"},"spec":{"limits":[{"type":"Container","default":{"cpu":"500m","memory":"1Gi"},
    "defaultRequest":{"cpu":"100m"}}]}})");
  const json made = f.create(api::resources::kPods, "default", pod("p", R"({"requests":{"memory":"64Mi"}})")).to_json();
  const json& resources = made["spec"]["containers"][0]["resources"];
  EXPECT_EQ(resources["requests"], (json{{"cpu", "100m"}, {"memory", "64Mi"}}));
  EXPECT_EQ(resources["limits"], (json{{"cpu", "500m"}, {"memory", "1Gi"}}));
  EXPECT_EQ(made["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
            "LimitRanger plugin set: cpu request for container c; cpu, memory limit for container c");
}

TEST(LimitRanger, BoundsHoldForContainersPodsAndClaims) {
  Fixture f;
  f.create(kLimitRanges, "default", R"({"metadata":{"name":"l"},"spec":{"limits":[
    {"type":"Container","min":{"cpu":"100m"},"maxLimitRequestRatio":{"cpu":"2"}},{"type":"Pod","max":{"memory":"1Gi"}},
    {"type":"PersistentVolumeClaim","min":{"storage":"1Gi"},"max":{"storage":"2Gi"}}]}})");
  EXPECT_EQ(refusal(try_create(f, api::resources::kPods, "default",
                               pod("p", R"({"requests":{"cpu":"50m"},"limits":{"cpu":"50m","memory":"1Gi"}})"))),
            R"(pods "p" is forbidden: minimum cpu usage per Container is 100m, but request is 50m)");
  EXPECT_EQ(
      refusal(try_create(f, api::resources::kPods, "default",
                         pod("p", R"({"requests":{"cpu":"100m"},"limits":{"cpu":"300m"}})"))),
      R"(pods "p" is forbidden: [cpu max limit to request ratio per Container is 2, but provided ratio is 3.000000, maximum memory usage per Pod is 1Gi.  No limit is specified])");
  EXPECT_TRUE(try_create(f, api::resources::kPods, "default",
                         pod("p", R"({"requests":{"cpu":"100m"},"limits":{"cpu":"200m","memory":"1Gi"}})")));
  EXPECT_EQ(
      refusal(try_create(
          f, api::resources::kPersistentVolumeClaims, "default",
          R"({"metadata":{"name":"c"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"3Gi"}}}})")),
      R"(persistentvolumeclaims "c" is forbidden: maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi)");
}

class Quotas : public ::testing::Test {
 protected:
  // With the status the controller writes.
  void put_quota(const char* hard) {
    json quota = f_.create(kQuotas, "default", std::string(R"({"metadata":{"name":"q"},"spec":{"hard":)") + hard + "}}")
                     .to_json();
    const json limits = json::parse(hard);
    quota["status"]["hard"] = limits;
    for (const auto& [name, amount] : limits.items()) quota["status"]["used"][name] = "0";
    const auto written = f_.client().update({}, kQuotas, {"default", "q"}, quota, {.subresource = "status"});
    ASSERT_TRUE(written) << written.error().message();
  }
  json used() { return (*f_.client().get({}, kQuotas, {"default", "q"}, ""))["status"]["used"].to_json(); }

  Fixture f_;
};

TEST_F(Quotas, AWriteIsCountedAndRefusedWhenItExceeds) {
  put_quota(R"({"pods":"2","requests.cpu":"1"})");
  ASSERT_TRUE(try_create(f_, api::resources::kPods, "default", pod("a", R"({"requests":{"cpu":"600m"}})")));
  EXPECT_EQ(used(), (json{{"pods", "1"}, {"requests.cpu", "600m"}}));
  const auto over = try_create(f_, api::resources::kPods, "default", pod("b", R"({"requests":{"cpu":"500m"}})"));
  ASSERT_FALSE(over);
  EXPECT_EQ(over.error().reason(), Reason::Forbidden);
  EXPECT_EQ(
      over.error().message(),
      R"(pods "b" is forbidden: exceeded quota: q, requested: requests.cpu=500m, used: requests.cpu=600m, limited: requests.cpu=1)");
  EXPECT_EQ(used(), (json{{"pods", "1"}, {"requests.cpu", "600m"}}));
}

TEST_F(Quotas, PodsMustSayWhatAQuotaCounts) {
  put_quota(R"({"limits.memory":"1Gi","requests.cpu":"1"})");
  EXPECT_EQ(refusal(try_create(f_, api::resources::kPods, "default", pod("a", R"({"requests":{"cpu":"1m"}})"))),
            R"(pods "a" is forbidden: failed quota: q: must specify limits.memory for: c)");
}

TEST_F(Quotas, AnyKindCanBeCounted) {
  put_quota(R"({"count/deployments.apps":"1","services.nodeports":"0"})");
  ASSERT_TRUE(try_create(f_, api::resources::kDeployments, "default", std::string(kDeployment)));
  json second = json::parse(kDeployment);
  second["metadata"]["name"] = "second";
  EXPECT_THAT(
      refusal(try_create(f_, api::resources::kDeployments, "default", second.dump())),
      HasSubstr("deployments.apps \"second\" is forbidden: exceeded quota: q, requested: count/deployments.apps=1"));
  ASSERT_TRUE(try_create(f_, api::resources::kServices, "default",
                         R"({"metadata":{"name":"s"},"spec":{"ports":[{"port":80}]}})"));
  // An update that uses more is counted too.
  const auto opened = f_.client().patch({}, api::resources::kServices, {"default", "s"}, client::PatchType::Merge,
                                        json::parse(R"({"spec":{"type":"NodePort"}})"), {});
  EXPECT_THAT(refusal(opened), HasSubstr("exceeded quota: q, requested: services.nodeports=1, used: "
                                         "services.nodeports=0, limited: services.nodeports=0"));
}

TEST_F(Quotas, AnUncountedQuotaRefusesWhatItLimits) {
  f_.create(kQuotas, "default", R"({"metadata":{"name":"new"},"spec":{"hard":{"pods":"5"}}})");
  EXPECT_EQ(refusal(try_create(f_, api::resources::kPods, "default", std::string(kPod))),
            R"(pods "p" is forbidden: status unknown for quota: new, resources: pods)");
  EXPECT_TRUE(try_create(f_, api::resources::kConfigMaps, "default", R"({"metadata":{"name":"c"}})"));
}

TEST_F(Quotas, ADryRunUsesNothing) {
  put_quota(R"({"configmaps":"1"})");
  client::WriteOptions dry;
  dry.dry_run = true;
  ASSERT_TRUE(f_.client().create({}, api::resources::kConfigMaps, {"default", ""},
                                 json::parse(R"({"metadata":{"name":"c"}})"), dry));
  EXPECT_EQ(used()["configmaps"], "0");
}

TEST(DefaultClasses, ClaimsAndIngressesGetTheNewestDefault) {
  Fixture f;
  f.create(
      kStorageClasses, "",
      R"({"metadata":{"name":"old","annotations":{"storageclass.kubernetes.io/is-default-class":"true"}},"provisioner":"x/y"})");
  f.clock().advance(std::chrono::seconds(5));
  f.create(
      kStorageClasses, "",
      R"({"metadata":{"name":"new","annotations":{"storageclass.kubernetes.io/is-default-class":"true"}},"provisioner":"x/y"})");
  f.create(
      kIngressClasses, "",
      R"({"metadata":{"name":"web","annotations":{"ingressclass.kubernetes.io/is-default-class":"true"}},"spec":{"controller":"x.y/z"}})");
  const char* kClaim =
      R"({"metadata":{"name":"c"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}})";
  EXPECT_EQ(f.create(api::resources::kPersistentVolumeClaims, "default", kClaim)["spec"]["storageClassName"].string(),
            "new");
  EXPECT_EQ(
      f.create(kIngresses, "default",
               R"({"metadata":{"name":"i"},"spec":{"defaultBackend":{"service":{"name":"s","port":{"number":80}}}}})")
          ["spec"]["ingressClassName"]
              .string(),
      "web");
  // An empty name asks for none.
  EXPECT_EQ(
      f.create(
           api::resources::kPersistentVolumeClaims, "default",
           R"({"metadata":{"name":"d"},"spec":{"storageClassName":"","accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}})")
          ["spec"]["storageClassName"]
              .string("-"),
      "");
}

TEST(ClaimResize, NeedsAClassThatAllowsIt) {
  Fixture f;
  f.create(kStorageClasses, "", R"({"metadata":{"name":"fixed"},"provisioner":"x/y"})");
  json claim = f.create(api::resources::kPersistentVolumeClaims, "default",
                        R"({"metadata":{"name":"c"},"spec":{"storageClassName":"fixed","volumeName":"v",
    "accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}})")
                   .to_json();
  const auto grow = [&] {
    return f.client().patch({}, api::resources::kPersistentVolumeClaims, {"default", "c"}, client::PatchType::Merge,
                            json::parse(R"({"spec":{"resources":{"requests":{"storage":"2Gi"}}}})"), {});
  };
  EXPECT_THAT(refusal(grow()), HasSubstr("Only bound persistent volume claims can be expanded"));
  claim["status"] = {{"phase", "Bound"}, {"capacity", {{"storage", "1Gi"}}}};
  ASSERT_TRUE(f.client().update({}, api::resources::kPersistentVolumeClaims, {"default", "c"}, claim,
                                {.subresource = "status"}));
  EXPECT_THAT(refusal(grow()), HasSubstr("only dynamically provisioned pvc can be resized and the storageclass that "
                                         "provisions the pvc must support resize"));
  ASSERT_TRUE(f.client().patch({}, kStorageClasses, {"", "fixed"}, client::PatchType::Merge,
                               json::parse(R"({"allowVolumeExpansion":true})"), {}));
  EXPECT_TRUE(grow());
}

TEST(RuntimeClassAdmission, GivesOverheadAndPlacement) {
  Fixture f;
  f.create(kRuntimeClasses, "", R"({"metadata":{"name":"vm"},"handler":"kata","overhead":{"podFixed":{"cpu":"250m"}},
    "scheduling":{"nodeSelector":{"vm":"yes"},"tolerations":[{"key":"vm","operator":"Exists"}]}})");
  const json made =
      f.create(api::resources::kPods, "default",
               R"({"metadata":{"name":"p"},"spec":{"runtimeClassName":"vm","containers":[{"name":"c","image":"i"}]}})")
          .to_json();
  EXPECT_EQ(made["spec"]["overhead"]["cpu"], "250m");
  EXPECT_EQ(made["spec"]["nodeSelector"]["vm"], "yes");
  EXPECT_THAT(made["spec"]["tolerations"].dump(), HasSubstr(R"("key":"vm")"));
  EXPECT_THAT(
      refusal(try_create(
          f, api::resources::kPods, "default",
          R"({"metadata":{"name":"q"},"spec":{"runtimeClassName":"none","containers":[{"name":"c","image":"i"}]}})")),
      HasSubstr(R"(pods "q" is forbidden: pod rejected: RuntimeClass "none" not found)"));
  EXPECT_THAT(
      refusal(try_create(
          f, api::resources::kPods, "default",
          R"({"metadata":{"name":"q"},"spec":{"runtimeClassName":"vm","nodeSelector":{"vm":"no"},"containers":[{"name":"c","image":"i"}]}})")),
      HasSubstr("conflict: runtimeClass.scheduling.nodeSelector[vm] = yes; pod.spec.nodeSelector[vm] = no"));
  EXPECT_THAT(
      refusal(try_create(
          f, api::resources::kPods, "default",
          R"({"metadata":{"name":"q"},"spec":{"overhead":{"cpu":"1"},"containers":[{"name":"c","image":"i"}]}})")),
      HasSubstr("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"));
}

TEST(SigningRequests, NameWhoMadeThemAndStayAsTheyAre) {
  Fixture f;
  const json made = f.create(kSigningRequests, "",
                             R"({"metadata":{"name":"c"},"spec":{"signerName":"example.com/s","usages":["client auth"],
    "request":"LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K","username":"somebody-else","groups":["system:masters"]}})")
                        .to_json();
  EXPECT_EQ(made["spec"]["username"], "admin");
  EXPECT_EQ(made["spec"]["groups"], json::array({"system:masters", "system:authenticated"}));
  json changed = made;
  changed["spec"]["signerName"] = "example.com/other";
  const auto updated = f.client().update({}, kSigningRequests, {"", "c"}, changed, {});
  ASSERT_TRUE(updated) << updated.error().message();
  EXPECT_EQ((*updated)["spec"]["signerName"].string(), "example.com/s");
}

// A step of another shared object, as component.cpp adds it.
class Recorder final : public admission::Admission {
 public:
  explicit Recorder(std::vector<std::string>& log) : log_(log) {}
  bool handles(admission::Operation, const api::Resource& resource, std::string_view subresource) const override {
    return resource == api::resources::kConfigMaps && subresource.empty();
  }
  Result<void> mutate(const CallContext&, admission::Request& request) override {
    log_.push_back("mutate " + request.key.name);
    if (request.object != nullptr) make_member(*request.object, {"data", "seen"}) = "yes";
    return {};
  }
  Result<void> validate(const CallContext&, const admission::Request& request) override {
    log_.push_back("validate " + request.key.name);
    if (request.key.name == "throws") throw std::runtime_error("a bug");
    if (request.operation == admission::Operation::Delete) {
      return forbidden(*schema::find_resource("", "v1", "configmaps"), request.key.name, "it stays");
    }
    return {};
  }

 private:
  std::vector<std::string>& log_;
};

TEST(AdmissionPlugins, AreCalledForWritesAndDeletions) {
  Fixture f;
  std::vector<std::string> log;
  f.api().add_admission(std::make_unique<Recorder>(log));
  EXPECT_EQ(f.create(api::resources::kConfigMaps, "default", R"({"metadata":{"name":"a"}})")["data"]["seen"].string(),
            "yes");
  EXPECT_EQ(log, (std::vector<std::string>{"mutate a", "validate a"}));
  EXPECT_THAT(f.client().remove({}, api::resources::kConfigMaps, {"default", "a"}, {}).error().message(),
              HasSubstr("it stays"));
  EXPECT_TRUE(f.client().get({}, api::resources::kConfigMaps, {"default", "a"}, ""));
}

TEST(AdmissionPlugins, AnExceptionIsAnErrorOfTheRequest) {
  Fixture f;
  std::vector<std::string> log;
  f.api().add_admission(std::make_unique<Recorder>(log));
  const auto made = try_create(f, api::resources::kConfigMaps, "default", R"({"metadata":{"name":"throws"}})");
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().reason(), Reason::Internal);
  EXPECT_EQ(made.error().message(), "admission: a bug");
}

}  // namespace
}  // namespace kubernel::apiserver
