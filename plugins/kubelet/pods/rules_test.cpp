// SPDX-License-Identifier: Apache-2.0
//
// The rules between a pod's specification and what the runtime is asked for.
#include <gtest/gtest.h>

#include "pods/container_config.h"
#include "pods/environment.h"
#include "pods/image_puller.h"
#include "pods/pod_files.h"
#include "pods/resources.h"
#include "testing.h"

namespace kubernel::kubelet {
namespace {

api::Object make_pod(const std::string& spec,
                     const std::string& metadata = R"("name":"web","namespace":"default","uid":"u1")") {
  auto pod =
      api::Object::parse(R"({"apiVersion":"v1","kind":"Pod","metadata":{)" + metadata + R"(},"spec":)" + spec + "}");
  if (!pod) std::abort();
  return *pod;
}

std::string expand_with(const std::string& text, const std::map<std::string, std::string>& values) {
  return expand(text, [&](std::string_view name) -> const std::string* {
    const auto at = values.find(std::string(name));
    return at == values.end() ? nullptr : &at->second;
  });
}

TEST(Expand, FollowsUpstreamsRules) {
  const std::map<std::string, std::string> values{{"A", "1"}, {"B", "2"}};
  EXPECT_EQ(expand_with("$(A)-$(B)", values), "1-2");
  EXPECT_EQ(expand_with("$$(A)", values), "$(A)");
  EXPECT_EQ(expand_with("$(NOPE)", values), "$(NOPE)");
  EXPECT_EQ(expand_with("$A $", values), "$A $");
  EXPECT_EQ(expand_with("$(A", values), "$(A");
  EXPECT_EQ(expand_with("$$$(A)", values), "$1");
  EXPECT_EQ(expand_with("$()", values), "$()");
}

ConfigSource sources(std::map<std::string, std::map<std::string, std::string>> all) {
  const auto find = [all](std::string_view name) -> Result<std::map<std::string, std::string>> {
    const auto at = all.find(std::string(name));
    if (at == all.end()) return Error(Reason::NotFound, "configmap \"" + std::string(name) + "\" not found");
    return at->second;
  };
  return {find, find};
}

Result<Environment> environment_of(const std::string& container, const ConfigSource& from = sources({}),
                                   const std::map<std::string, std::string>& services = {}) {
  const auto pod = make_pod(R"({"serviceAccountName":"sa","containers":[)" + container + "]}");
  PodFacts facts;
  facts.node_name = "n1";
  facts.host_ips = {"192.168.0.7"};
  facts.pod_ips = {"10.1.0.1", "fd00::1"};
  facts.allocatable_cpu = api::Quantity::of(4);
  facts.allocatable_memory = api::Quantity::of(1LL << 30);
  return container_environment(pod, app_containers_of(pod)[0], facts, from, services);
}

std::string value_of(const Result<Environment>& environment, const std::string& name) {
  if (!environment) return environment.error().message();
  for (const auto& [known, value] : *environment) {
    if (known == name) return value;
  }
  return "<none>";
}

TEST(Environment, LaterVariablesReferToEarlierOnesAndToServices) {
  const auto out = environment_of(
      R"j({"name":"app","env":[{"name":"A","value":"1"},{"name":"B","value":"$(A)$(SVC_SERVICE_HOST)$(C)"},{"name":"C","value":"3"}]})j",
      sources({}), {{"SVC_SERVICE_HOST", "10.96.0.9"}});
  EXPECT_EQ(value_of(out, "B"), "110.96.0.9$(C)");
  EXPECT_EQ(value_of(out, "SVC_SERVICE_HOST"), "10.96.0.9");
}

TEST(Environment, TakesFieldsResourcesAndKeys) {
  const auto out = environment_of(
      R"({"name":"app","resources":{"limits":{"cpu":"1500m","memory":"64Mi"},"requests":{"cpu":"250m"}},"env":[
    {"name":"NAME","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}},
    {"name":"NODE","valueFrom":{"fieldRef":{"fieldPath":"spec.nodeName"}}},
    {"name":"IPS","valueFrom":{"fieldRef":{"fieldPath":"status.podIPs"}}},
    {"name":"HOST","valueFrom":{"fieldRef":{"fieldPath":"status.hostIP"}}},
    {"name":"CPU","valueFrom":{"resourceFieldRef":{"resource":"limits.cpu"}}},
    {"name":"MILLI","valueFrom":{"resourceFieldRef":{"resource":"requests.cpu","divisor":"1m"}}},
    {"name":"MEM","valueFrom":{"resourceFieldRef":{"resource":"limits.memory","divisor":"1Mi"}}},
    {"name":"KEY","valueFrom":{"configMapKeyRef":{"name":"conf","key":"k"}}},
    {"name":"GONE","valueFrom":{"configMapKeyRef":{"name":"nope","key":"k","optional":true}}}]})",
      sources({{"conf", {{"k", "v"}}}}));
  EXPECT_EQ(value_of(out, "NAME"), "web");
  EXPECT_EQ(value_of(out, "NODE"), "n1");
  EXPECT_EQ(value_of(out, "IPS"), "10.1.0.1,fd00::1");
  EXPECT_EQ(value_of(out, "HOST"), "192.168.0.7");
  EXPECT_EQ(value_of(out, "CPU"), "2");
  EXPECT_EQ(value_of(out, "MILLI"), "250");
  EXPECT_EQ(value_of(out, "MEM"), "64");
  EXPECT_EQ(value_of(out, "KEY"), "v");
  EXPECT_EQ(value_of(out, "GONE"), "<none>");
}

TEST(Environment, NoLimitMeansTheNodesAllocatable) {
  const auto out =
      environment_of(R"({"name":"app","env":[{"name":"CPU","valueFrom":{"resourceFieldRef":{"resource":"limits.cpu"}}},
    {"name":"MEM","valueFrom":{"resourceFieldRef":{"resource":"limits.memory"}}}]})");
  EXPECT_EQ(value_of(out, "CPU"), "4");
  EXPECT_EQ(value_of(out, "MEM"), "1073741824");
}

TEST(Environment, EnvFromComesFirstAndEnvOverridesIt) {
  const auto out = environment_of(
      R"({"name":"app","envFrom":[{"prefix":"P_","configMapRef":{"name":"conf"}},{"secretRef":{"name":"nope","optional":true}}],
    "env":[{"name":"P_a","value":"mine"}]})",
      sources({{"conf", {{"a", "1"}, {"b", "2"}}}}));
  EXPECT_EQ(value_of(out, "P_a"), "mine");
  EXPECT_EQ(value_of(out, "P_b"), "2");
}

TEST(Environment, AMissingKeyIsAnErrorThatNamesIt) {
  const auto out =
      environment_of(R"({"name":"app","env":[{"name":"A","valueFrom":{"secretKeyRef":{"name":"conf","key":"nope"}}}]})",
                     sources({{"conf", {{"k", "v"}}}}));
  EXPECT_EQ(value_of(out, "A"), "couldn't find key nope in Secret default/conf");
}

TEST(Environment, ServicesBecomeVariables) {
  const auto service = [](const std::string& ns, const std::string& name, const std::string& ip) {
    return *api::Object::parse(
        R"({"metadata":{"name":")" + name + R"(","namespace":")" + ns + R"("},"spec":{"clusterIP":")" + ip +
        R"(","ports":[{"name":"http-x","port":80,"protocol":"TCP"},{"port":53,"protocol":"UDP"}]}})");
  };
  const std::vector<api::Object> all{service("default", "kubernetes", "10.96.0.1"),
                                     service("shop", "my-db", "10.96.0.5"), service("shop", "headless", "None"),
                                     service("other", "x", "10.96.0.6")};
  const auto out = service_variables(all, "shop", true);
  EXPECT_EQ(out.at("MY_DB_SERVICE_HOST"), "10.96.0.5");
  EXPECT_EQ(out.at("MY_DB_SERVICE_PORT"), "80");
  EXPECT_EQ(out.at("MY_DB_SERVICE_PORT_HTTP_X"), "80");
  EXPECT_EQ(out.at("MY_DB_PORT"), "tcp://10.96.0.5:80");
  EXPECT_EQ(out.at("MY_DB_PORT_53_UDP"), "udp://10.96.0.5:53");
  EXPECT_EQ(out.at("MY_DB_PORT_53_UDP_ADDR"), "10.96.0.5");
  EXPECT_EQ(out.at("KUBERNETES_SERVICE_HOST"), "10.96.0.1");
  EXPECT_FALSE(out.contains("X_SERVICE_HOST"));
  EXPECT_FALSE(out.contains("HEADLESS_SERVICE_HOST"));
  const auto few = service_variables(all, "shop", false);
  EXPECT_TRUE(few.contains("KUBERNETES_SERVICE_HOST"));
  EXPECT_FALSE(few.contains("MY_DB_SERVICE_HOST"));
}

TEST(Resources, SharesAndQuotasAreUpstreams) {
  EXPECT_EQ(cpu_shares(0), 2);
  EXPECT_EQ(cpu_shares(1), 2);
  EXPECT_EQ(cpu_shares(250), 256);
  EXPECT_EQ(cpu_shares(4000), 4096);
  EXPECT_EQ(cpu_quota(0), 0);
  EXPECT_EQ(cpu_quota(500), 50'000);
  EXPECT_EQ(cpu_quota(1), 1000);
}

std::string resources(const std::string& requests, const std::string& limits) {
  return R"({"containers":[{"name":"app","resources":{"requests":)" + requests + R"(,"limits":)" + limits + "}}]}";
}

TEST(Resources, QosAndCgroupFollowRequestsAndLimits) {
  const auto guaranteed = make_pod(resources(R"({"cpu":"1","memory":"1Gi"})", R"({"cpu":"1000m","memory":"1024Mi"})"));
  const auto burstable = make_pod(resources(R"({"cpu":"1"})", R"({"cpu":"2"})"));
  const auto best_effort = make_pod(R"({"containers":[{"name":"app"}]})");
  EXPECT_EQ(qos_class_of(guaranteed), QosClass::Guaranteed);
  EXPECT_EQ(qos_class_of(burstable), QosClass::Burstable);
  EXPECT_EQ(qos_class_of(best_effort), QosClass::BestEffort);
  EXPECT_EQ(pod_cgroup(guaranteed, ""), "/kubepods/podu1");
  EXPECT_EQ(pod_cgroup(burstable, "/"), "/kubepods/burstable/podu1");
  EXPECT_EQ(pod_cgroup(best_effort, "/node1"), "/node1/kubepods/besteffort/podu1");
}

TEST(Resources, OomScoresFollowQosAndAreNeverBelowWhatIsAllowed) {
  const auto score = [](const api::Object& pod, std::int64_t lowest) {
    return oom_score_adj(pod, app_containers_of(pod)[0], 8LL << 30, lowest);
  };
  const auto guaranteed = make_pod(resources(R"({"cpu":"1","memory":"1Gi"})", R"({"cpu":"1","memory":"1Gi"})"));
  const auto burstable = make_pod(resources(R"({"memory":"4Gi"})", "{}"));
  EXPECT_EQ(score(guaranteed, -1000), -997);
  EXPECT_EQ(score(guaranteed, 0), 0);
  EXPECT_EQ(score(burstable, -1000), 500);
  EXPECT_EQ(score(make_pod(R"({"containers":[{"name":"app"}]})"), -1000), 1000);
}

TEST(Resources, APodIsLimitedOnlyWhenEveryContainerIs) {
  const auto one = make_pod(R"({"containers":[{"name":"a","resources":{"limits":{"memory":"64Mi","cpu":"500m"}}},
                                              {"name":"b","resources":{"limits":{"memory":"64Mi"}}}]})");
  EXPECT_EQ(pod_resources(one).memory_limit, 128LL << 20);
  EXPECT_EQ(pod_resources(one).cpu_quota_us, 0);
  EXPECT_EQ(pod_resources(one).cpu_shares, 512);
}

TEST(PodFiles, HostsNameThePodByAllItsAddresses) {
  const auto pod = make_pod(
      R"({"hostname":"db-0","subdomain":"db","hostAliases":[{"ip":"1.2.3.4","hostnames":["a","b"]}],"containers":[]})");
  const auto text = hosts_file(pod, {"10.1.0.1", "fd00::1"}, "cluster.local");
  EXPECT_NE(text.find("\n10.1.0.1\tdb-0.db.default.svc.cluster.local\tdb-0\n"), std::string::npos);
  EXPECT_NE(text.find("\nfd00::1\tdb-0.db.default.svc.cluster.local\tdb-0\n"), std::string::npos);
  EXPECT_NE(text.find("\n1.2.3.4\ta\tb\n"), std::string::npos);
  EXPECT_TRUE(text.starts_with("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n"));
}

TEST(PodFiles, DnsFollowsThePolicy) {
  const DnsInput input{{"10.96.0.10"}, "cluster.local", "nameserver 8.8.8.8\nsearch example.com\noptions timeout:1\n"};
  EXPECT_EQ(resolv_conf(make_pod("{}"), input),
            "nameserver 10.96.0.10\nsearch default.svc.cluster.local svc.cluster.local cluster.local "
            "example.com\noptions ndots:5\n");
  const std::string node = "nameserver 8.8.8.8\nsearch example.com\noptions timeout:1\n";
  EXPECT_EQ(resolv_conf(make_pod(R"({"dnsPolicy":"Default"})"), input), node);
  EXPECT_EQ(resolv_conf(make_pod(R"({"hostNetwork":true})"), input), node);
  EXPECT_TRUE(resolv_conf(make_pod(R"({"hostNetwork":true,"dnsPolicy":"ClusterFirstWithHostNet"})"), input)
                  .starts_with("nameserver 10.96.0.10\n"));
  EXPECT_EQ(
      resolv_conf(
          make_pod(
              R"({"dnsPolicy":"None","dnsConfig":{"nameservers":["1.1.1.1"],"searches":["x.y"],"options":[{"name":"ndots","value":"2"}]}})"),
          input),
      "nameserver 1.1.1.1\nsearch x.y\noptions ndots:2\n");
  EXPECT_TRUE(resolv_conf(make_pod(R"({"dnsConfig":{"options":[{"name":"ndots","value":"1"}]}})"), input)
                  .ends_with("options ndots:1\n"));
}

TEST(Spec, AHostnameHasAtMost63CharactersAndNoTrailingDash) {
  const std::string name = std::string(62, 'a') + "-bcd";
  EXPECT_EQ(hostname_of(make_pod("{}", R"("name":")" + name + R"(","namespace":"d","uid":"u")")), std::string(62, 'a'));
}

TEST(SecurityContext, RunAsNonRootIsChecked) {
  const runtime::Image root{.id = "sha256:x", .user = 0};
  const runtime::Image named{.id = "sha256:x", .username = "nginx"};
  const runtime::Image numbered{.id = "sha256:x", .user = 1000};
  const auto check = [](const std::string& pod_context, const runtime::Image& image) {
    const auto pod = make_pod(R"({"securityContext":)" + pod_context + R"(,"containers":[{"name":"app"}]})");
    const auto result = check_non_root(pod, app_containers_of(pod)[0], image);
    return result ? std::string() : result.error().message();
  };
  EXPECT_EQ(check("{}", root), "");
  EXPECT_TRUE(
      check(R"({"runAsNonRoot":true})", root).starts_with("container has runAsNonRoot and image will run as root"));
  EXPECT_TRUE(check(R"({"runAsNonRoot":true})", named)
                  .starts_with("container has runAsNonRoot and image has non-numeric user (nginx)"));
  EXPECT_EQ(check(R"({"runAsNonRoot":true})", numbered), "");
  EXPECT_EQ(check(R"({"runAsNonRoot":true,"runAsUser":7})", root), "");
  EXPECT_TRUE(check(R"({"runAsNonRoot":true,"runAsUser":0})", numbered)
                  .starts_with("container's runAsUser breaks non-root policy"));
}

TEST(ContainerConfig, CarriesSecurityCommandAndLabels) {
  const auto pod = make_pod(
      R"j({"securityContext":{"runAsUser":5,"supplementalGroups":[9],"fsGroup":7},"containers":[{"name":"app","image":"x:1",
    "command":["echo","$(A)"],"args":["$$(A)"],"workingDir":"/w","tty":true,"lifecycle":{"stopSignal":"SIGUSR1"},
    "securityContext":{"runAsUser":6,"capabilities":{"add":["CAP_NET_RAW"],"drop":["ALL"]},"allowPrivilegeEscalation":false,"readOnlyRootFilesystem":true}}]})j");
  const auto containers = app_containers_of(pod);
  const runtime::Image image{.id = "sha256:x"};
  const auto config = container_config({.pod = pod,
                                        .container = containers[0],
                                        .attempt = 3,
                                        .image = image,
                                        .environment = {{"A", "1"}},
                                        .mounts = {},
                                        .volume_groups = {7}});
  ASSERT_TRUE(config);
  EXPECT_EQ(config->command, (std::vector<std::string>{"echo", "1"}));
  EXPECT_EQ(config->args, std::vector<std::string>{"$(A)"});
  EXPECT_EQ(config->log_path, "app/3.log");
  EXPECT_EQ(config->stop_signal, "SIGUSR1");
  EXPECT_EQ(*config->security.run_as_user, 6);
  EXPECT_EQ(config->security.supplemental_groups, (std::vector<std::int64_t>{9, 7}));
  EXPECT_EQ(config->security.add_capabilities, std::vector<std::string>{"NET_RAW"});
  EXPECT_EQ(config->security.drop_capabilities, std::vector<std::string>{"ALL"});
  EXPECT_TRUE(config->security.no_new_privileges);
  EXPECT_TRUE(config->security.readonly_rootfs);
  EXPECT_FALSE(config->security.masked_paths.empty());
  EXPECT_EQ(config->labels.at("io.kubernetes.pod.uid"), "u1");
  EXPECT_EQ(config->annotations.at("io.kubernetes.container.restartCount"), "3");
}

TEST(SandboxConfig, CarriesThePodsLabelsAndAnnotationsButItsOwnAreStronger) {
  const auto pod = make_pod(R"({"containers":[{"name":"app"}]})", R"("name":"web","namespace":"default","uid":"u1",
    "labels":{"tier":"web","io.kubernetes.pod.uid":"forged"},
    "annotations":{"note":"x","kubernel.io/network-id":"forged","kubernel.io/pod-ips":"forged"})");
  const auto config = sandbox_config({.pod = pod,
                                      .attempt = 0,
                                      .log_directory = {},
                                      .cgroup_root = {},
                                      .cluster_domain = {},
                                      .network_namespace_path = {},
                                      .network_id = "u1-0",
                                      .pod_ips = {"10.1.0.2"}});
  EXPECT_EQ(config.labels.at("tier"), "web");
  EXPECT_EQ(config.labels.at("io.kubernetes.pod.uid"), "u1");
  EXPECT_EQ(config.annotations.at("note"), "x");
  EXPECT_EQ(config.annotations.at("kubernel.io/network-id"), "u1-0");
  EXPECT_EQ(config.annotations.at("kubernel.io/pod-ips"), "10.1.0.2");
}

TEST(ImageReference, RefusesWhatIsNone) {
  for (const char* good :
       {"busybox", "busybox:1.36", "localhost:5000/a/b", "Registry.example/a:b", "a@sha256:abc", "ghcr.io/x/y-z_0"}) {
    EXPECT_EQ(reference_problem(good), "") << good;
  }
  for (const char* bad : {"", "Busy", "a/B", "busy box", "busybox:", "a:b c"})
    EXPECT_NE(reference_problem(bad), "") << bad;
  EXPECT_EQ(registry_of("busybox"), "docker.io");
  EXPECT_EQ(registry_of("team/app"), "docker.io");
  EXPECT_EQ(registry_of("localhost/app"), "localhost");
  EXPECT_EQ(registry_of("reg.example:5000/a"), "reg.example:5000");
}

TEST(Backoff, DoublesToItsCapAndStartsOverAfterQuiet) {
  using namespace std::chrono_literals;
  Backoff backoff(10s, 300s);
  Clock::TimePoint now{1h};
  EXPECT_EQ(backoff.allowed_at("x", now), now);
  for (const auto wanted : {10s, 20s, 40s, 80s, 160s, 300s, 300s}) {
    backoff.note_try("x", now);
    EXPECT_EQ(backoff.allowed_at("x", now), now + wanted);
    now += wanted;
  }
  now += 11min;
  EXPECT_EQ(backoff.allowed_at("x", now), now);
  backoff.note_try("x", now);
  EXPECT_EQ(backoff.delay("x"), 10s);
}

}  // namespace
}  // namespace kubernel::kubelet
