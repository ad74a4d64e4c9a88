// SPDX-License-Identifier: Apache-2.0
#include <kubernel/schema/table.h>

#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace kubernel::schema {
namespace {

using nlohmann::json;

const api::WallTime kNow = *api::parse_time("2026-01-01T01:00:00Z");

// The cells that `kubectl get` shows without -o wide, joined by " | ".
std::string row(std::string_view text, bool wide = false) {
  const auto object = api::Object::parse(std::string(text));
  EXPECT_TRUE(object) << object.error().message();
  const auto& gvk = object->head().gvk;
  const auto all = columns(gvk.group, gvk.version, gvk.kind);
  const json values = cells(*object, kNow);
  EXPECT_EQ(values.size(), all.size());
  std::string out;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].priority > 0 && !wide) continue;
    out += (out.empty() ? "" : " | ") + (values[i].is_string() ? values[i].get<std::string>() : values[i].dump());
  }
  return out;
}

constexpr const char* kMeta =
    R"("metadata":{"name":"web","namespace":"default","creationTimestamp":"2026-01-01T00:55:00Z"})";

std::string pod(const std::string& rest, const std::string& meta = kMeta) {
  return R"({"apiVersion":"v1","kind":"Pod",)" + meta + "," + rest + "}";
}

TEST(PodRow, ShowsARunningPod) {
  EXPECT_EQ(row(pod(R"("spec":{"nodeName":"n1","containers":[{"name":"a"},{"name":"b"}]},
      "status":{"phase":"Running","podIPs":[{"ip":"10.0.0.9"}],"containerStatuses":[
        {"name":"a","ready":true,"restartCount":2,"state":{"running":{}},
         "lastState":{"terminated":{"finishedAt":"2026-01-01T00:58:00Z"}}},
        {"name":"b","ready":false,"restartCount":0,"state":{"running":{}}}]})"),
                true),
            "web | 1/2 | Running | 2 (2m ago) | 5m | 10.0.0.9 | n1 | <none> | <none>");
}

TEST(PodRow, ShowsWhyAContainerWaits) {
  EXPECT_EQ(row(pod(R"("spec":{"containers":[{"name":"a"}]},"status":{"phase":"Pending","containerStatuses":[
      {"name":"a","restartCount":0,"state":{"waiting":{"reason":"ImagePullBackOff"}}}]})")),
            "web | 0/1 | ImagePullBackOff | 0 | 5m");
}

TEST(PodRow, ShowsHowFarInitializationIs) {
  EXPECT_EQ(row(pod(R"("spec":{"initContainers":[{"name":"x"},{"name":"y"}],"containers":[{"name":"a"}]},
      "status":{"phase":"Pending","initContainerStatuses":[{"name":"x","state":{"terminated":{"exitCode":0}}},
      {"name":"y","state":{"waiting":{"reason":"PodInitializing"}}}]})")),
            "web | 0/1 | Init:1/2 | 0 | 5m");
}

TEST(PodRow, ShowsHowAContainerEnded) {
  EXPECT_EQ(row(pod(R"("spec":{"containers":[{"name":"a"}]},"status":{"phase":"Failed","containerStatuses":[
      {"name":"a","state":{"terminated":{"exitCode":3}}}]})")),
            "web | 0/1 | ExitCode:3 | 0 | 5m");
}

TEST(PodRow, ADeletedPodIsTerminating) {
  EXPECT_EQ(row(pod(R"("spec":{"containers":[{"name":"a"}]},"status":{"phase":"Running"})",
                    R"("metadata":{"name":"web","deletionTimestamp":"2026-01-01T00:59:00Z"})")),
            "web | 0/1 | Terminating | 0 | <unknown>");
}

TEST(DeploymentRow, ShowsReadyOfWanted) {
  EXPECT_EQ(row(std::string(R"({"apiVersion":"apps/v1","kind":"Deployment",)") + kMeta +
                    R"(,"spec":{"replicas":3,"selector":{"matchLabels":{"app":"web"}},"template":{"spec":{"containers":[
      {"name":"c","image":"i:1"}]}}},"status":{"readyReplicas":1,"updatedReplicas":2,"availableReplicas":1}})",
                true),
            "web | 1/3 | 2 | 1 | 5m | c | i:1 | app=web");
}

TEST(ServiceRow, ShowsAddressesAndPorts) {
  EXPECT_EQ(row(std::string(R"({"apiVersion":"v1","kind":"Service",)") + kMeta +
                R"(,"spec":{"type":"NodePort","clusterIPs":["10.96.0.7"],"ports":[
      {"port":80,"nodePort":30080,"protocol":"TCP"},{"port":53,"protocol":"UDP"}]}})"),
            "web | NodePort | 10.96.0.7 | <none> | 80:30080/TCP,53/UDP | 5m");
}

TEST(NodeRow, ShowsReadinessAndRoles) {
  EXPECT_EQ(row(R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"n1","creationTimestamp":"2026-01-01T00:00:00Z",
      "labels":{"node-role.kubernetes.io/worker":"","node-role.kubernetes.io/control-plane":""}},
      "spec":{"unschedulable":true},"status":{"nodeInfo":{"kubeletVersion":"v1.36.0"},
      "conditions":[{"type":"Ready","status":"True"}]}})"),
            "n1 | Ready,SchedulingDisabled | control-plane,worker | 60m | v1.36.0");
}

TEST(EventRow, ReadsTheCoreForm) {
  EXPECT_EQ(row(R"({"apiVersion":"v1","kind":"Event","metadata":{"name":"e"},"type":"Normal","reason":"Started",
      "message":" hello \n","involvedObject":{"kind":"Pod","name":"web"},"lastTimestamp":"2026-01-01T00:59:00Z"})"),
            "60s | Normal | Started | pod/web | hello");
}

TEST(JobRow, CountsCompletions) {
  EXPECT_EQ(row(std::string(R"({"apiVersion":"batch/v1","kind":"Job",)") + kMeta +
                R"(,"spec":{"completions":2},"status":{"succeeded":2,"startTime":"2026-01-01T00:55:00Z",
      "completionTime":"2026-01-01T00:55:30Z","conditions":[{"type":"Complete","status":"True"}]}})"),
            "web | Complete | 2/2 | 30s | 5m");
}

TEST(OtherRow, AKindWithoutLayoutShowsNameAndCreation) {
  EXPECT_EQ(row(R"({"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"r",
      "creationTimestamp":"2026-01-01T00:00:00Z"}})"),
            "r | 2026-01-01T00:00:00Z");
}

TEST(Columns, NameTheirTypesAndPriorities) {
  const auto pod_columns = columns("", "v1", "Pod");
  ASSERT_EQ(pod_columns.size(), 9U);
  EXPECT_EQ(pod_columns[0].format, "name");
  EXPECT_EQ(pod_columns[5].name, "IP");
  EXPECT_EQ(pod_columns[5].priority, 1);
}

}  // namespace
}  // namespace kubernel::schema
