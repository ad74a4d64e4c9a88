// SPDX-License-Identifier: Apache-2.0
#include <kubernel/api/quota.h>

#include <gtest/gtest.h>

namespace kubernel::api {
namespace {

Object object(const std::string& text) {
  return *Object::parse(text);
}

Object pod(const std::string& spec, const std::string& status = "{}") {
  return object(R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"n"},"spec":)" + spec +
                R"(,"status":)" + status + "}");
}

std::string used(const Resource& resource, const Object& one) {
  return print_amounts(quota_usage(resource, one));
}

TEST(QuotaUsage, APodUsesItsRequestsAndLimits) {
  EXPECT_EQ(used(resources::kPods, pod(R"({"containers":[
                {"resources":{"requests":{"cpu":"100m","memory":"1Gi","example.com/gpu":"1"},"limits":{"cpu":"1"}}},
                {"resources":{"requests":{"cpu":"200m"}}}]})")),
            "count/pods=1,cpu=300m,limits.cpu=1,memory=1Gi,pods=1,requests.cpu=300m,requests.example.com/"
            "gpu=1,requests.memory=1Gi");
}

TEST(QuotaUsage, InitializationCountsWhereItNeedsMore) {
  const Object one = pod(R"({"containers":[{"resources":{"requests":{"cpu":"1"}}}],"initContainers":[
    {"restartPolicy":"Always","resources":{"requests":{"cpu":"100m"}}},{"resources":{"requests":{"cpu":"2"}}}],"overhead":{"cpu":"10m"}})");
  EXPECT_EQ(print_amounts(pod_amounts(one["spec"], "requests")), "cpu=2110m");
}

TEST(QuotaUsage, APodThatHasEndedKeepsItsPlaceOnly) {
  EXPECT_EQ(used(resources::kPods,
                 pod(R"({"containers":[{"resources":{"requests":{"cpu":"1"}}}]})", R"({"phase":"Succeeded"})")),
            "count/pods=1");
}

TEST(QuotaUsage, ServicesClaimsAndOthers) {
  EXPECT_EQ(
      used(resources::kServices, object(R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"s","namespace":"n"},
              "spec":{"type":"LoadBalancer","ports":[{"port":1},{"port":2}]}})")),
      "count/services=1,services=1,services.loadbalancers=1,services.nodeports=2");
  EXPECT_EQ(used(resources::kPersistentVolumeClaims,
                 object(R"({"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"c","namespace":"n"},
              "spec":{"storageClassName":"fast","resources":{"requests":{"storage":"2Gi"}}}})")),
            "count/persistentvolumeclaims=1,fast.storageclass.storage.k8s.io/persistentvolumeclaims=1,"
            "fast.storageclass.storage.k8s.io/requests.storage=2Gi,persistentvolumeclaims=1,requests.storage=2Gi");
  EXPECT_EQ(used(resources::kDeployments,
                 object(R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d","namespace":"n"}})")),
            "count/deployments.apps=1");
}

TEST(QuotaScopes, AQuotaCountsWhatAllItsScopesInclude) {
  const auto quota = [](const std::string& spec) {
    return object(R"({"apiVersion":"v1","kind":"ResourceQuota","metadata":{"name":"q","namespace":"n"},"spec":)" +
                  spec + "}");
  };
  const Object plain = pod(R"({"containers":[{}]})");
  const Object urgent = pod(
      R"({"containers":[{"resources":{"limits":{"cpu":"1"}}}],"priorityClassName":"high","activeDeadlineSeconds":5})");
  const auto includes = [&](const char* spec, const Object& one) {
    return quota_includes(quota(spec), resources::kPods, one);
  };
  EXPECT_TRUE(includes("{}", plain));
  EXPECT_TRUE(includes(R"({"scopes":["BestEffort","NotTerminating"]})", plain));
  EXPECT_FALSE(includes(R"({"scopes":["BestEffort"]})", urgent));
  EXPECT_TRUE(includes(R"({"scopes":["NotBestEffort","Terminating"]})", urgent));
  const char* kHigh =
      R"({"scopeSelector":{"matchExpressions":[{"scopeName":"PriorityClass","operator":"In","values":["high"]}]}})";
  EXPECT_TRUE(includes(kHigh, urgent));
  EXPECT_FALSE(includes(kHigh, plain));
  EXPECT_FALSE(quota_includes(quota(R"({"scopes":["BestEffort"]})"), resources::kServices, plain));
}

}  // namespace
}  // namespace kubernel::api
