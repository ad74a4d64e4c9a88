// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "testing.h"

namespace kubernel::kubelet {
namespace {

using namespace std::chrono_literals;
using testing::Bench;

constexpr const char* kOne = R"({"containers":[{"name":"app","image":"busybox:1","command":["sleep"]}]})";

TEST(PodWorker, RunsAPodWithOneContainerAndReportsIt) {
  Bench bench;
  bench.put_pod("web", kOne);
  bench.settle();
  EXPECT_EQ(bench.phase("web"), "Running");
  const auto status = bench.status("web");
  EXPECT_EQ(status["podIP"], "10.1.0.1");
  EXPECT_EQ(status["podIPs"][0]["ip"], "10.1.0.1");
  EXPECT_EQ(status["hostIP"], "192.168.0.7");
  EXPECT_EQ(status["qosClass"], "BestEffort");
  EXPECT_EQ(status["startTime"], "2026-01-01T00:00:00Z");
  const auto app = bench.container("web");
  EXPECT_EQ(app["ready"], true);
  EXPECT_EQ(app["started"], true);
  EXPECT_EQ(app["restartCount"], 0);
  EXPECT_EQ(app["image"], "busybox:1");
  EXPECT_TRUE(app["containerID"].get<std::string>().starts_with("fake://container-"));
  EXPECT_EQ(app["state"]["running"]["startedAt"], "2026-01-01T00:00:00Z");
  for (const char* type : {"PodScheduled", "Initialized", "ContainersReady", "Ready", "PodReadyToStartContainers"}) {
    EXPECT_EQ(bench.condition("web", type)["status"], "True") << type;
  }
  EXPECT_TRUE(bench.events.has("Normal Pulled: Container image \"busybox:1\" already present on machine"));
  EXPECT_TRUE(bench.events.has("Normal Started: Started container app"));
}

TEST(PodWorker, WritesNothingWhenNothingChanged) {
  Bench bench;
  bench.put_pod("web", kOne);
  bench.settle();
  const auto version = bench.pod("web").head().resource_version;
  bench.workers->wake_all();
  bench.settle();
  bench.advance(60s);
  EXPECT_EQ(bench.pod("web").head().resource_version, version);
}

TEST(PodWorker, RestartsAContainerThatFailsAtOnceAndThenWithBackOff) {
  Bench bench;
  bench.put_pod("web", kOne);
  bench.settle();
  bench.runtime.exit_container("app", 3);
  bench.settle();
  EXPECT_EQ(bench.container("web")["restartCount"], 1);
  EXPECT_EQ(bench.container("web")["lastState"]["terminated"]["exitCode"], 3);
  bench.runtime.exit_container("app", 4);
  bench.settle();
  auto app = bench.container("web");
  EXPECT_EQ(app["state"]["waiting"]["reason"], "CrashLoopBackOff");
  EXPECT_EQ(app["lastState"]["terminated"]["exitCode"], 4);
  EXPECT_EQ(app["ready"], false);
  EXPECT_EQ(bench.phase("web"), "Running");
  EXPECT_EQ(bench.condition("web", "Ready")["reason"], "ContainersNotReady");
  EXPECT_NE(app["state"]["waiting"]["message"].get<std::string>().find(
                "back-off 10s restarting failed container=app pod=web_default("),
            std::string::npos);
  bench.advance(9s);
  EXPECT_EQ(bench.runtime.count("start_container app"), 2U);
  bench.advance(1s);
  EXPECT_EQ(bench.runtime.count("start_container app"), 3U);
  EXPECT_EQ(bench.container("web")["restartCount"], 2);
  bench.runtime.exit_container("app", 5);
  bench.settle();
  bench.advance(19s);
  EXPECT_EQ(bench.runtime.count("start_container app"), 3U);
  bench.advance(1s);
  EXPECT_EQ(bench.runtime.count("start_container app"), 4U);
}

TEST(PodWorker, KeepsTheNewestDeadContainerForPreviousLogsAndRemovesOlderOnes) {
  Bench bench;
  bench.put_pod("web", kOne);
  bench.settle();
  for (int i = 0; i < 3; ++i) {
    bench.runtime.exit_container("app", 1);
    bench.advance(60s);
  }
  const auto left = bench.runtime.list_containers({});
  ASSERT_TRUE(left);
  EXPECT_EQ(left->size(), 2U);
}

TEST(PodWorker, WithOnFailureASuccessEndsThePod) {
  Bench bench;
  bench.put_pod("job", R"({"restartPolicy":"OnFailure","containers":[{"name":"app","image":"busybox:1"}]})");
  bench.settle();
  bench.runtime.exit_container("app", 0);
  bench.settle();
  EXPECT_EQ(bench.phase("job"), "Succeeded");
  EXPECT_EQ(bench.container("job")["state"]["terminated"]["reason"], "Completed");
  EXPECT_EQ(bench.condition("job", "Ready")["reason"], "PodCompleted");
  EXPECT_EQ(bench.runtime.count("stop_sandbox default/job"), 1U);
  EXPECT_TRUE(bench.network.attached.empty());
  EXPECT_EQ(bench.status("job")["podIP"], "10.1.0.1");
}

TEST(PodWorker, WithNeverAFailureFailsThePodAndNothingIsRestarted) {
  Bench bench;
  bench.put_pod("job", R"({"restartPolicy":"Never","containers":[{"name":"app","image":"busybox:1"}]})");
  bench.settle();
  bench.runtime.exit_container("app", 2);
  bench.settle();
  bench.advance(120s);
  EXPECT_EQ(bench.phase("job"), "Failed");
  EXPECT_EQ(bench.runtime.count("start_container app"), 1U);
  EXPECT_EQ(bench.runtime.count("run_sandbox default/job"), 1U);
}

TEST(PodWorker, RunsInitContainersOneAfterTheOther) {
  Bench bench;
  bench.put_pod("web", R"({"initContainers":[{"name":"one","image":"busybox:1"},{"name":"two","image":"busybox:1"}],
                           "containers":[{"name":"app","image":"busybox:1"}]})");
  bench.settle();
  EXPECT_EQ(bench.runtime.count("start_container one"), 1U);
  EXPECT_EQ(bench.runtime.count("start_container two"), 0U);
  EXPECT_EQ(bench.phase("web"), "Pending");
  EXPECT_EQ(bench.condition("web", "Initialized")["message"], "containers with incomplete status: [one two]");
  EXPECT_EQ(bench.container("web")["state"]["waiting"]["reason"], "PodInitializing");
  bench.runtime.exit_container("one", 0);
  bench.settle();
  EXPECT_EQ(bench.runtime.count("start_container two"), 1U);
  EXPECT_EQ(bench.runtime.count("start_container app"), 0U);
  bench.runtime.exit_container("two", 0);
  bench.settle();
  EXPECT_EQ(bench.phase("web"), "Running");
  EXPECT_EQ(bench.condition("web", "Initialized")["status"], "True");
  EXPECT_EQ(bench.status("web")["initContainerStatuses"][0]["ready"], true);
}

TEST(PodWorker, AFailedInitContainerIsRepeatedUnlessThePolicyIsNever) {
  Bench bench;
  const std::string init =
      R"("initContainers":[{"name":"one","image":"busybox:1"}],"containers":[{"name":"app","image":"busybox:1"}])";
  bench.put_pod("again", "{" + init + "}");
  bench.settle();
  bench.runtime.exit_container("one", 1);
  bench.settle();
  EXPECT_EQ(bench.runtime.count("start_container one"), 2U);
  EXPECT_EQ(bench.phase("again"), "Pending");
  bench.put_pod("once", R"({"restartPolicy":"Never",)" + init + "}");
  bench.settle();
  bench.runtime.exit_container("one", 1);
  bench.settle();
  EXPECT_EQ(bench.phase("once"), "Failed");
}

TEST(PodWorker, ASidecarRunsBesideTheAppAndEndsAfterIt) {
  Bench bench;
  bench.put_pod(
      "job",
      R"({"restartPolicy":"Never","initContainers":[{"name":"side","image":"busybox:1","restartPolicy":"Always"}],
                           "containers":[{"name":"app","image":"busybox:1"}]})");
  bench.settle();
  EXPECT_EQ(bench.runtime.count("start_container side"), 1U);
  EXPECT_EQ(bench.runtime.count("start_container app"), 1U);
  EXPECT_EQ(bench.phase("job"), "Running");
  bench.runtime.exit_container("side", 1);
  bench.settle();
  EXPECT_EQ(bench.runtime.count("start_container side"), 2U);
  bench.runtime.exit_container("app", 0);
  bench.settle();
  EXPECT_EQ(bench.runtime.count("request_stop side"), 1U);
  EXPECT_EQ(bench.phase("job"), "Succeeded");
}

TEST(PodWorker, ADeletedPodGetsTermAndIsDeletedFromTheApiWhenItsContainersHaveEnded) {
  Bench bench;
  const auto uid = bench.put_pod("web", kOne);
  bench.settle();
  bench.remove_pod("web");
  EXPECT_EQ(bench.runtime.count("request_stop app"), 1U);
  EXPECT_FALSE(bench.pod("web"));
  EXPECT_EQ(bench.runtime.count("stop_container app 0"), 0U);
  EXPECT_EQ(bench.runtime.count("remove_sandbox default/web"), 1U);
  EXPECT_TRUE(bench.network.attached.empty());
  EXPECT_FALSE(std::filesystem::exists(bench.volumes->pod_directory(uid)));
  EXPECT_FALSE(std::filesystem::exists(bench.config.log_directory + "/default_web_" + uid));
  EXPECT_TRUE(bench.workers->all().empty());
  EXPECT_TRUE(bench.events.has("Normal Killing: Stopping container app"));
}

TEST(PodWorker, AContainerThatIgnoresTermIsKilledAtTheEndOfTheGracePeriod) {
  Bench bench;
  bench.put_pod("web", R"({"terminationGracePeriodSeconds":10,"containers":[{"name":"app","image":"busybox:1"}]})");
  bench.settle();
  bench.runtime.ignore_stop("app");
  bench.remove_pod("web");
  bench.advance(9s);
  EXPECT_TRUE(bench.pod("web"));
  EXPECT_EQ(bench.runtime.count("stop_container app 0"), 0U);
  bench.advance(1s);
  EXPECT_EQ(bench.runtime.count("stop_container app 0"), 1U);
  EXPECT_FALSE(bench.pod("web"));
}

TEST(PodWorker, AForcedDeletionStillEndsTheContainers) {
  Bench bench;
  bench.put_pod("web", kOne);
  bench.settle();
  bench.remove_pod("web", 0);
  EXPECT_FALSE(bench.pod("web"));
  EXPECT_EQ(bench.runtime.count("remove_sandbox default/web"), 1U);
}

TEST(PodWorker, RunsThePreStopHookBeforeTheSignal) {
  Bench bench;
  bench.put_pod(
      "web",
      R"({"containers":[{"name":"app","image":"busybox:1","lifecycle":{"preStop":{"exec":{"command":["bye"]}}}}]})");
  bench.settle();
  bool asked_before = true;
  bench.handlers.answer = [&](const ProbeTarget&, api::Value handler) {
    EXPECT_EQ(handler["exec"]["command"].at(0).string(), "bye");
    asked_before = bench.runtime.count("request_stop app") > 0;
    return ProbeOutcome{ProbeOutcome::Verdict::Success, {}};
  };
  bench.remove_pod("web");
  EXPECT_FALSE(asked_before);
  EXPECT_EQ(bench.runtime.count("request_stop app"), 1U);
  EXPECT_FALSE(bench.pod("web"));
}

TEST(PodWorker, AContainerIsNotStartedBeforeItsPostStartHookIsThrough) {
  Bench bench;
  bench.handlers.answer = [](const ProbeTarget&, api::Value) {
    return ProbeOutcome{ProbeOutcome::Verdict::Failure, "no"};
  };
  bench.put_pod(
      "web",
      R"({"containers":[{"name":"app","image":"busybox:1","lifecycle":{"postStart":{"exec":{"command":["hi"]}}}}]})");
  bench.settle();
  EXPECT_TRUE(bench.events.has("Warning FailedPostStartHook: PostStartHook failed: no")) << bench.events.all();
  EXPECT_GE(bench.runtime.count("request_stop app"), 1U);
}

TEST(PodWorker, AdoptsRunningContainersAfterARestart) {
  Bench bench;
  bench.put_pod("web", kOne);
  bench.settle();
  const auto before = bench.container("web")["containerID"];
  bench.restart_kubelet();
  EXPECT_EQ(bench.runtime.count("start_container app"), 1U);
  EXPECT_EQ(bench.runtime.count("run_sandbox default/web"), 1U);
  EXPECT_EQ(bench.container("web")["containerID"], before);
  EXPECT_EQ(bench.status("web")["podIP"], "10.1.0.1");
  EXPECT_EQ(bench.phase("web"), "Running");
}

TEST(PodWorker, ARestartedKubeletDoesNotTakeReadinessAway) {
  Bench bench;
  bench.put_pod("web", R"({"containers":[{"name":"app","image":"busybox:1",
    "startupProbe":{"exec":{"command":["start"]},"periodSeconds":1},
    "readinessProbe":{"exec":{"command":["ready"]},"periodSeconds":10}}]})");
  bench.settle();
  bench.advance(20s);
  ASSERT_EQ(bench.condition("web", "Ready")["status"], "True");
  const auto before = bench.pod("web").json();
  int startups = 0;
  bench.handlers.answer = [&](const ProbeTarget&, api::Value handler) {
    if (handler["exec"]["command"].at(0).string() == "start") ++startups;
    return ProbeOutcome{ProbeOutcome::Verdict::Success, {}};
  };
  bench.restart_kubelet();
  bench.advance(30s);
  EXPECT_EQ(bench.pod("web").json(), before);
  EXPECT_EQ(startups, 0);
}

TEST(PodWorker, FilesOfPodsThatNobodyKnowsAreRemoved) {
  Bench bench;
  const auto uid = bench.put_pod("web", kOne);
  bench.settle();
  const std::string lost = bench.volumes->pod_directory("lost-uid"),
                    logs = bench.config.log_directory + "/default_gone_lost-uid";
  std::filesystem::create_directories(lost + "/volumes/kubernetes.io~empty-dir/x");
  std::filesystem::create_directories(logs);
  bench.workers->end_orphans(bench.cluster.all(api::resources::kPods));
  bench.settle();
  EXPECT_FALSE(std::filesystem::exists(lost));
  EXPECT_FALSE(std::filesystem::exists(logs));
  EXPECT_TRUE(std::filesystem::exists(bench.volumes->pod_directory(uid)));
  EXPECT_TRUE(std::filesystem::exists(bench.config.log_directory + "/default_web_" + uid));
}

TEST(PodWorker, EndsPodsThatWereDeletedWhileNoKubeletRan) {
  Bench bench;
  bench.put_pod("web", kOne);
  bench.settle();
  bench.cluster.erase(api::resources::kPods, {"default", "web"});
  bench.restart_kubelet();
  EXPECT_EQ(bench.runtime.count("request_stop app"), 1U);
  EXPECT_EQ(bench.runtime.count("remove_sandbox default/web"), 1U);
  EXPECT_TRUE(bench.network.attached.empty());
}

TEST(PodWorker, APodWhoseEventIsStillOnItsWayAfterARestartIsNoOrphan) {
  Bench bench;
  const auto uid = bench.put_pod("web", kOne);
  bench.settle();
  const auto before = bench.pod("web").json();
  bench.restart_before_events();
  bench.workers->end_orphans(bench.cluster.all(api::resources::kPods));
  bench.executor.run_all();
  EXPECT_EQ(bench.runtime.count("request_stop app"), 0U);
  EXPECT_TRUE(std::filesystem::exists(bench.volumes->pod_directory(uid)));
  EXPECT_TRUE(std::filesystem::exists(bench.config.log_directory + "/default_web_" + uid));
  bench.settle();
  EXPECT_EQ(bench.pod("web").json(), before);
  EXPECT_EQ(bench.runtime.count("start_container app"), 1U);
}

TEST(PodWorker, PodsOfOneNameInTwoNamespacesAreTwoPods) {
  Bench bench;
  bench.cluster.put_text(api::resources::kNamespaces, R"({"metadata":{"name":"other"}})");
  bench.put_pod("web", kOne);
  bench.put_pod("web", kOne, "other");
  bench.put_pod("web-2", kOne);
  bench.settle();
  bench.remove_pod("web");
  EXPECT_EQ(bench.phase("web", "other"), "Running");
  EXPECT_EQ(bench.phase("web-2"), "Running");
  EXPECT_EQ(bench.runtime.count("remove_sandbox other/web"), 0U);
  EXPECT_EQ(bench.runtime.count("remove_sandbox default/web-2"), 0U);
}

TEST(PodWorker, ADeadSandboxIsReplacedAndItsContainersAreStartedAgain) {
  Bench bench;
  bench.put_pod("web", kOne);
  bench.settle();
  bench.runtime.kill_sandbox(bench.runtime.list_sandboxes({})->front().id);
  bench.settle();
  EXPECT_EQ(bench.runtime.count("run_sandbox default/web"), 2U);
  EXPECT_EQ(bench.runtime.sandbox_configs().back().attempt, 1U);
  EXPECT_EQ(bench.container("web")["restartCount"], 1);
  EXPECT_EQ(bench.status("web")["podIP"], "10.1.0.2");
  EXPECT_EQ(bench.network.attached.size(), 1U);
}

TEST(PodWorker, ASandboxThatCannotBeMadeIsTriedAgainWithAnEvent) {
  Bench bench;
  bench.runtime.fail_next("run_sandbox", Error(Reason::Internal, "no space"));
  bench.put_pod("web", kOne);
  bench.settle();
  EXPECT_TRUE(bench.events.has("Warning FailedCreatePodSandBox: Failed to create pod sandbox: no space"));
  EXPECT_EQ(bench.container("web")["state"]["waiting"]["reason"], "ContainerCreating");
  bench.advance(2s);
  EXPECT_EQ(bench.phase("web"), "Running");
}

TEST(PodWorker, PullsAnImageThatIsNotThere) {
  Bench bench;
  bench.runtime.add_remote_image("app:2");
  bench.put_pod("web", R"({"containers":[{"name":"app","image":"app:2"}]})");
  bench.settle();
  EXPECT_EQ(bench.runtime.count("pull app:2"), 1U);
  EXPECT_EQ(bench.phase("web"), "Running");
  EXPECT_TRUE(bench.events.has("Normal Pulling: Pulling image \"app:2\""));
  EXPECT_TRUE(bench.events.has("Normal Pulled: Successfully pulled image \"app:2\""));
}

TEST(PodWorker, AlwaysPullsExceptWhatOnlyThisNodeCanHave) {
  Bench bench;
  bench.runtime.add_image("app:latest");
  bench.runtime.add_remote_image("app:latest");
  bench.runtime.add_image("localhost/app:latest");
  bench.put_pod("remote", R"({"containers":[{"name":"app","image":"app:latest","imagePullPolicy":"Always"}]})");
  bench.put_pod("local",
                R"({"containers":[{"name":"app","image":"localhost/app:latest","imagePullPolicy":"Always"}]})");
  bench.settle();
  EXPECT_EQ(bench.runtime.count("pull app:latest"), 1U);
  EXPECT_EQ(bench.runtime.count("pull localhost/app:latest"), 0U);
  EXPECT_EQ(bench.phase("local"), "Running");
}

TEST(PodWorker, AFailedPullIsErrImagePullThenImagePullBackOffAndIsTriedAgain) {
  Bench bench;
  bench.put_pod("web", R"({"containers":[{"name":"app","image":"gone:1"}]})");
  bench.settle();
  EXPECT_EQ(bench.container("web")["state"]["waiting"]["reason"], "ErrImagePull");
  bench.advance(4s);
  EXPECT_EQ(bench.container("web")["state"]["waiting"]["reason"], "ImagePullBackOff");
  EXPECT_TRUE(bench.events.has("Normal BackOff: Back-off pulling image \"gone:1\""));
  bench.runtime.add_remote_image("gone:1");
  bench.advance(7s);
  EXPECT_EQ(bench.phase("web"), "Running");
}

TEST(PodWorker, WithPolicyNeverAMissingImageIsNotPulled) {
  Bench bench;
  bench.put_pod("web", R"({"containers":[{"name":"app","image":"gone:1","imagePullPolicy":"Never"}]})");
  bench.settle();
  EXPECT_EQ(bench.container("web")["state"]["waiting"]["reason"], "ErrImageNeverPull");
  EXPECT_EQ(bench.runtime.count("pull gone:1"), 0U);
}

TEST(PodWorker, UsesTheCredentialsOfTheImagePullSecretThatCoversTheRegistry) {
  Bench bench;
  bench.runtime.add_remote_image("reg.example:5000/team/app:1");
  // {"auths":{"reg.example:5000":{"auth":"<joe:pw>"},"other":{"auth":"<x:y>"}}}
  bench.cluster.put_text(api::resources::kSecrets,
                         R"({"metadata":{"name":"pull","namespace":"default"},"type":"kubernetes.io/dockerconfigjson",
    "data":{".dockerconfigjson":"eyJhdXRocyI6eyJyZWcuZXhhbXBsZTo1MDAwIjp7ImF1dGgiOiJhbTlsT25CMyJ9LCJvdGhlciI6eyJhdXRoIjoiZURwNSJ9fX0="}})");
  bench.put_pod(
      "web",
      R"({"imagePullSecrets":[{"name":"pull"}],"containers":[{"name":"app","image":"reg.example:5000/team/app:1"}]})");
  bench.settle();
  const auto used = bench.runtime.pull_credentials();
  ASSERT_EQ(used.size(), 1U);
  ASSERT_TRUE(used[0]);
  EXPECT_EQ(used[0]->username, "joe");
  EXPECT_EQ(used[0]->password, "pw");
}

TEST(PodWorker, AMissingConfigMapIsCreateContainerConfigErrorUntilItIsThere) {
  Bench bench;
  bench.put_pod(
      "web",
      R"({"containers":[{"name":"app","image":"busybox:1","env":[{"name":"A","valueFrom":{"configMapKeyRef":{"name":"conf","key":"a"}}}]}]})");
  bench.settle();
  EXPECT_EQ(bench.container("web")["state"]["waiting"]["reason"], "CreateContainerConfigError");
  bench.cluster.put_text(api::resources::kConfigMaps,
                         R"({"metadata":{"name":"conf","namespace":"default"},"data":{"a":"1"}})");
  bench.settle();
  EXPECT_EQ(bench.phase("web"), "Running");
  const auto env = bench.runtime.config_of("app")->env;
  EXPECT_EQ(env.front(), (std::pair<std::string, std::string>("A", "1")));
}

TEST(PodWorker, ALivenessFailureRestartsTheContainer) {
  Bench bench;
  bool alive = true;
  bench.handlers.answer = [&](const ProbeTarget&, api::Value) {
    return ProbeOutcome{alive ? ProbeOutcome::Verdict::Success : ProbeOutcome::Verdict::Failure, "stuck"};
  };
  bench.put_pod("web", R"({"containers":[{"name":"app","image":"busybox:1",
    "livenessProbe":{"exec":{"command":["x"]},"periodSeconds":5,"failureThreshold":3}}]})");
  bench.settle();
  bench.advance(20s);
  EXPECT_EQ(bench.container("web")["restartCount"], 0);
  alive = false;
  bench.advance(10s);
  EXPECT_EQ(bench.container("web")["restartCount"], 0);
  bench.advance(6s);
  EXPECT_EQ(bench.container("web")["restartCount"], 1);
  EXPECT_TRUE(bench.events.has("Warning Unhealthy: Liveness probe failed: stuck"));
  EXPECT_TRUE(bench.events.has("Normal Killing: Container app failed liveness probe, will be restarted"));
}

TEST(PodWorker, AReadinessProbeDecidesReadinessBothWays) {
  Bench bench;
  bool good = false;
  bench.handlers.answer = [&](const ProbeTarget& target, api::Value) {
    EXPECT_EQ(target.pod_ip, "10.1.0.1");
    return ProbeOutcome{good ? ProbeOutcome::Verdict::Success : ProbeOutcome::Verdict::Failure, "no"};
  };
  bench.put_pod("web", R"({"containers":[{"name":"app","image":"busybox:1",
    "readinessProbe":{"httpGet":{"port":80},"periodSeconds":1,"failureThreshold":2}}]})");
  bench.settle();
  EXPECT_EQ(bench.phase("web"), "Running");
  EXPECT_EQ(bench.condition("web", "Ready")["status"], "False");
  good = true;
  bench.advance(1s);
  EXPECT_EQ(bench.condition("web", "Ready")["status"], "True");
  good = false;
  bench.advance(1s);
  EXPECT_EQ(bench.condition("web", "Ready")["status"], "True");
  bench.advance(1s);
  EXPECT_EQ(bench.condition("web", "Ready")["status"], "False");
  EXPECT_EQ(bench.container("web")["restartCount"], 0);
}

TEST(PodWorker, OtherProbesWaitForTheStartupProbe) {
  Bench bench;
  bool up = false;
  int readiness = 0;
  bench.handlers.answer = [&](const ProbeTarget&, api::Value handler) {
    if (handler["exec"]["command"].at(0).string() == "ready")
      ++readiness;
    else if (!up)
      return ProbeOutcome{ProbeOutcome::Verdict::Failure, "not yet"};
    return ProbeOutcome{ProbeOutcome::Verdict::Success, {}};
  };
  bench.put_pod("web", R"({"containers":[{"name":"app","image":"busybox:1",
    "startupProbe":{"exec":{"command":["start"]},"periodSeconds":1,"failureThreshold":100},
    "readinessProbe":{"exec":{"command":["ready"]},"periodSeconds":1}}]})");
  bench.settle();
  bench.advance(5s);
  EXPECT_EQ(readiness, 0);
  EXPECT_EQ(bench.container("web")["started"], false);
  up = true;
  bench.advance(3s);
  EXPECT_GT(readiness, 0);
  EXPECT_EQ(bench.container("web")["started"], true);
  EXPECT_EQ(bench.condition("web", "Ready")["status"], "True");
}

TEST(PodWorker, ActiveDeadlineEndsAPodAsFailed) {
  Bench bench;
  bench.put_pod("job", R"({"activeDeadlineSeconds":30,"containers":[{"name":"app","image":"busybox:1"}]})");
  bench.settle();
  bench.advance(29s);
  EXPECT_EQ(bench.phase("job"), "Running");
  bench.advance(2s);
  EXPECT_EQ(bench.phase("job"), "Failed");
  EXPECT_EQ(bench.status("job")["reason"], "DeadlineExceeded");
  EXPECT_EQ(bench.runtime.count("request_stop app"), 1U);
}

TEST(PodWorker, AStatusThatCannotBeWrittenIsWrittenLater) {
  Bench bench;
  bench.cluster.fail_next("update/status", api::resources::kPods, Error(Reason::ServiceUnavailable, "away"), 3);
  bench.put_pod("web", kOne);
  bench.settle();
  EXPECT_EQ(bench.phase("web"), "");
  bench.advance(30s);
  EXPECT_EQ(bench.phase("web"), "Running");
}

TEST(PodWorker, APodOnTheHostsNetworkHasTheNodesAddress) {
  Bench bench;
  bench.put_pod("agent", R"({"hostNetwork":true,"containers":[{"name":"app","image":"busybox:1"}]})");
  bench.settle();
  EXPECT_EQ(bench.status("agent")["podIP"], "192.168.0.7");
  EXPECT_TRUE(bench.network.attached.empty());
  EXPECT_EQ(bench.runtime.sandbox_configs().front().network, runtime::NamespaceMode::Node);
}

TEST(PodWorker, ATerminationMessageIsReadFromItsFile) {
  Bench bench;
  const auto uid =
      bench.put_pod("job", R"({"restartPolicy":"Never","containers":[{"name":"app","image":"busybox:1"}]})");
  bench.settle();
  std::ofstream(bench.volumes->pod_directory(uid) + "/containers/app/0") << "last words";
  bench.runtime.exit_container("app", 1);
  bench.settle();
  EXPECT_EQ(bench.container("job")["state"]["terminated"]["message"], "last words");
}

}  // namespace
}  // namespace kubernel::kubelet
