// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <kubernel/testing/fake_clock.h>

#include "simulated_network.h"
#include "simulated_runtime.h"

namespace kubernel::runtime::simulated {
namespace {

using nlohmann::json;
using testing::FakeClock;
using testing::ManualExecutor;
using namespace std::chrono_literals;

class Simulated : public ::testing::Test {
 protected:
  Simulated() {
    std::string pattern = (std::filesystem::temp_directory_path() / "simulated.XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) std::abort();
    directory_ = pattern;
  }
  ~Simulated() override {
    close();
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }

  void open(json config = json::object()) {
    config["root"] = directory_ + "/root";
    auto opened = open_runtime({config.dump(), log_, metrics_, clock_, random_, executor_, poller_});
    ASSERT_TRUE(opened) << opened.error().message();
    opened_ = *std::move(opened);
    exits_ = opened_.containers->access().on_exit([this](const std::string& id) { changes_.push_back(id); });
  }
  void close() {
    exits_.reset();
    opened_.containers.reset();
    opened_.images.reset();
  }

  // A sandbox with these annotations, and in it a started container "app".
  std::string start(Annotations annotations, std::uint32_t attempt = 0, const std::string& name = "app") {
    SandboxConfig sandbox;
    sandbox.pod_name = "web";
    sandbox.annotations = std::move(annotations);
    sandbox.log_directory = directory_;
    auto made = opened_.containers->run_sandbox({}, sandbox);
    EXPECT_TRUE(made) << made.error().message();
    sandbox_ = *made;
    auto image = opened_.images->pull({}, "busybox", std::nullopt);
    ContainerConfig config;
    config.name = name;
    config.attempt = attempt;
    config.image_id = image->id;
    config.log_path = name + ".log";
    auto container = opened_.containers->create_container({}, sandbox_, config);
    EXPECT_TRUE(container) << container.error().message();
    EXPECT_TRUE(opened_.containers->start_container({}, *container));
    return *container;
  }

  void advance(std::chrono::nanoseconds by) {
    clock_.advance(by);
    executor_.run_all();
  }

  // "Running", "Exited 1 Error", ….
  std::string state(const std::string& id) {
    const auto status = opened_.containers->access().status({}, id);
    if (!status) return status.error().message();
    if (status->state == State::Created) return status->starting ? "Starting" : "Created";
    if (status->state == State::Running) return "Running";
    return "Exited " + std::to_string(status->exit_code) + " " + status->reason;
  }

  std::string directory_, sandbox_;
  testing::RecordingLogger log_;
  testing::RecordingMetrics metrics_;
  FakeClock clock_;
  testing::SeededRandom random_{1};
  ManualExecutor executor_;
  testing::NoPoller poller_;
  OpenedRuntime opened_;
  std::vector<std::string> changes_;
  std::unique_ptr<Subscription> exits_;
};

TEST_F(Simulated, ContainersLiveAsTheirAnnotationsSay) {
  struct Row {
    const char* rule;
    Annotations annotations;
    std::uint32_t attempt;
    std::string at_once, after_3s, after_10s;
  };
  const std::vector<Row> rows = {
      {"by default it runs for ever", {}, 0, "Running", "Running", "Running"},
      {"run-for ends it well",
       {{"simulated.kubernel.io/run-for", "5s"}},
       0,
       "Running",
       "Running",
       "Exited 0 Completed"},
      {"exit-code is its end",
       {{"simulated.kubernel.io/run-for", "1s"}, {"simulated.kubernel.io/exit-code", "7"}},
       0,
       "Running",
       "Exited 7 Error",
       "Exited 7 Error"},
      {"each attempt has its exit code",
       {{"simulated.kubernel.io/run-for", "0s"}, {"simulated.kubernel.io/exit-code", "1,2,0"}},
       1,
       "Exited 2 Error",
       "Exited 2 Error",
       "Exited 2 Error"},
      {"the last exit code is that of all later attempts",
       {{"simulated.kubernel.io/run-for", "0s"}, {"simulated.kubernel.io/exit-code", "1,2,0"}},
       9,
       "Exited 0 Completed",
       "Exited 0 Completed",
       "Exited 0 Completed"},
      {"start-after delays its start",
       {{"simulated.kubernel.io/start-after", "4s"}},
       0,
       "Starting",
       "Starting",
       "Running"},
      {"it runs from its start on",
       {{"simulated.kubernel.io/start-after", "2s"}, {"simulated.kubernel.io/run-for", "2s"}},
       0,
       "Starting",
       "Running",
       "Exited 0 Completed"},
      {"a container's own annotation is stronger",
       {{"app.simulated.kubernel.io/run-for", "forever"}, {"simulated.kubernel.io/run-for", "1s"}},
       0,
       "Running",
       "Running",
       "Running"},
      {"another container's annotation does not count",
       {{"db.simulated.kubernel.io/run-for", "1s"}},
       0,
       "Running",
       "Running",
       "Running"},
  };
  open();
  for (const Row& row : rows) {
    const std::string id = start(row.annotations, row.attempt);
    EXPECT_EQ(state(id), row.at_once) << row.rule;
    advance(3s);
    EXPECT_EQ(state(id), row.after_3s) << row.rule;
    advance(7s);
    EXPECT_EQ(state(id), row.after_10s) << row.rule;
  }
}

TEST_F(Simulated, TheConfigurationSaysWhatPodsDoNot) {
  open({{"startAfter", "1s"}, {"runFor", "1s"}, {"exitCode", 3}});
  const std::string id = start({});
  EXPECT_EQ(state(id), "Starting");
  advance(1s);
  EXPECT_EQ(state(id), "Running");
  advance(1s);
  EXPECT_EQ(state(id), "Exited 3 Error");
  EXPECT_EQ(changes_, (std::vector<std::string>{id, id}));
}

TEST_F(Simulated, WrongConfigurationAndAnnotationsAreNamed) {
  const auto refusal = [&](const json& config) {
    const auto opened = open_runtime({config.dump(), log_, metrics_, clock_, random_, executor_, poller_});
    return opened ? std::string() : opened.error().message();
  };
  EXPECT_TRUE(refusal({{"root", ""}, {"runFor", "soon"}}).starts_with("runFor: ")) << refusal({{"runFor", "soon"}});
  open();
  const std::vector<std::pair<Annotations, std::string>> rows = {
      {{{"simulated.kubernel.io/run-for", "-1s"}}, "annotation simulated.kubernel.io/run-for: \"-1s\" is negative"},
      {{{"simulated.kubernel.io/exit-code", "1,256"}},
       "annotation simulated.kubernel.io/exit-code: \"1,256\" is no list of exit codes from 0 to 255"},
      {{{"simulated.kubernel.io/exit-code", ""}},
       "annotation simulated.kubernel.io/exit-code: \"\" is no list of exit codes from 0 to 255"},
      {{{"db.simulated.kubernel.io/runfor", "1s"}},
       "annotation db.simulated.kubernel.io/runfor: is not known: start-after, run-for, exit-code and stop-after are"},
  };
  for (const auto& [annotations, message] : rows) {
    SandboxConfig sandbox;
    sandbox.annotations = annotations;
    const auto made = opened_.containers->run_sandbox({}, sandbox);
    ASSERT_FALSE(made) << message;
    EXPECT_EQ(made.error().reason(), Reason::Invalid);
    EXPECT_EQ(made.error().message(), message);
  }
  SandboxConfig others;
  others.annotations = {{"mysimulated.kubernel.io/x", "y"}, {"plain", "z"}};
  EXPECT_TRUE(opened_.containers->run_sandbox({}, others)) << "others' annotations are not looked at";
}

TEST_F(Simulated, AStopTakesItsTimeAndAKillDoesNot) {
  struct Row {
    const char* rule;
    const char* stop_after;
    std::function<Result<void>(SimulatedRuntime&, const std::string&)> stop;
    std::string at_once, after_3s;
  };
  const auto ask = [](SimulatedRuntime& runtime, const std::string& id) { return runtime.request_stop({}, id); };
  const auto within = [](std::chrono::seconds grace) {
    return [grace](SimulatedRuntime& runtime, const std::string& id) { return runtime.stop_container({}, id, grace); };
  };
  const std::vector<Row> rows = {
      {"asked, it ends as by SIGTERM", "0s", ask, "Exited 143 Error", "Exited 143 Error"},
      {"asked, it takes its time", "2s", ask, "Running", "Exited 143 Error"},
      {"stopped without grace it is killed", "2s", within(0s), "Exited 137 Error", "Exited 137 Error"},
      {"stopped with grace it ends as by SIGTERM", "2s", within(5s), "Exited 143 Error", "Exited 143 Error"},
      {"too slow for its grace it is killed", "9s", within(5s), "Exited 137 Error", "Exited 137 Error"},
  };
  open();
  for (const Row& row : rows) {
    const std::string id = start({{"simulated.kubernel.io/stop-after", row.stop_after}});
    auto& runtime = dynamic_cast<SimulatedRuntime&>(*opened_.containers);
    ASSERT_TRUE(row.stop(runtime, id)) << row.rule;
    EXPECT_EQ(state(id), row.at_once) << row.rule;
    advance(3s);
    EXPECT_EQ(state(id), row.after_3s) << row.rule;
  }
}

TEST_F(Simulated, AStoppedSandboxTakesItsContainersAlong) {
  open();
  const std::string running = start({});
  ASSERT_TRUE(opened_.containers->stop_sandbox({}, sandbox_));
  EXPECT_EQ(state(running), "Exited 137 Error");
  const std::string starting = start({{"simulated.kubernel.io/start-after", "1s"}});
  ASSERT_TRUE(opened_.containers->stop_sandbox({}, sandbox_));
  EXPECT_EQ(state(starting), "Exited 137 Error");
  EXPECT_EQ(changes_, (std::vector<std::string>{running, starting}));
  ASSERT_TRUE(opened_.containers->remove_sandbox({}, sandbox_));
  EXPECT_FALSE(opened_.containers->access().status({}, starting));
  EXPECT_TRUE(opened_.containers->remove_sandbox({}, sandbox_)) << "a second time is fine";
}

TEST_F(Simulated, StartAndEndAreALineOfTheLogEach) {
  open();
  start({{"simulated.kubernel.io/run-for", "1500ms"}, {"simulated.kubernel.io/exit-code", "2"}});
  advance(2s);
  std::ifstream file(directory_ + "/app.log");
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_EQ(text.str(),
            "2026-01-01T00:00:00.000000000Z stdout F simulated container app started (attempt 0)\n"
            "2026-01-01T00:00:01.500000000Z stdout F simulated container app exited with code 2\n");
}

TEST_F(Simulated, ThereIsNoProcessToTalkTo) {
  open();
  const std::string id = start({});
  auto& access = opened_.containers->access();
  const auto exec = access.exec({}, id, {.command = {"sh"}});
  ASSERT_FALSE(exec);
  EXPECT_EQ(exec.error().message(), "container app is simulated: it has no process to run a command beside");
  EXPECT_FALSE(access.exec_sync({}, id, {"true"}));
  EXPECT_EQ(access.attach({}, id).error().message(), "container app is simulated: it has no process to attach to");
  EXPECT_EQ(access.usage({}, id)->cpu_nanoseconds, 0);
  EXPECT_EQ(access.exec({}, "other", {}).error().reason(), Reason::NotFound);
}

TEST_F(Simulated, TheNextProcessFindsContainersWhereTheyWouldBe) {
  open();
  const std::string ended = start({{"simulated.kubernel.io/run-for", "5s"}, {"simulated.kubernel.io/exit-code", "4"}});
  const std::string begun =
      start({{"simulated.kubernel.io/start-after", "8s"}, {"simulated.kubernel.io/run-for", "10s"}});
  const std::string runs = start({});
  close();
  advance(10s);
  open();
  EXPECT_EQ(state(ended), "Exited 4 Error");
  EXPECT_EQ(state(begun), "Running");
  EXPECT_EQ(state(runs), "Running");
  const auto status = opened_.containers->access().status({}, ended);
  EXPECT_EQ(*status->finished_at - *status->started_at, 5s) << "it ended when it should have, not when it was found";
  EXPECT_EQ(opened_.containers->list_sandboxes({})->size(), 3U);
  EXPECT_TRUE(opened_.images->find({}, "docker.io/library/busybox:latest")->has_value());
  advance(8s);
  EXPECT_EQ(state(begun), "Exited 0 Completed");
}

TEST_F(Simulated, ADamagedFileIsOneWarning) {
  open();
  const std::string kept = start({});
  start({});
  close();
  std::ofstream(directory_ + "/root/sandboxes/" + sandbox_ + ".json") << "{";
  open();
  EXPECT_EQ(state(kept), "Running");
  EXPECT_EQ(opened_.containers->list_sandboxes({})->size(), 1U);
}

TEST(SimulatedImages, NamesAreUpstreams) {
  const std::vector<std::pair<const char*, const char*>> rows = {
      {"busybox", "docker.io/library/busybox:latest"}, {"team/app:1", "docker.io/team/app:1"},
      {"localhost/app", "localhost/app:latest"},       {"host:5000/a/b:2", "host:5000/a/b:2"},
      {"host:5000/a/b", "host:5000/a/b:latest"},       {"app:1@sha256:ab", "docker.io/library/app@sha256:ab"},
  };
  for (const auto& [text, name] : rows) EXPECT_EQ(full_reference(text), name);
}

TEST(SimulatedNetwork, GivesEachPodAnAddressOfItsOwn) {
  auto network = SimulatedNetwork::open(*StateFiles::open({}));
  ASSERT_TRUE(network);
  EXPECT_EQ((*network)->problem(), "the node's pod ranges are not known yet");
  const auto attach = [&](const char* sandbox) {
    network::PodAttachment pod;
    pod.sandbox_id = sandbox;
    const auto made = (*network)->attach({}, pod);
    if (!made) return made.error().message();
    std::string out;
    for (const auto& ip : made->ips) out += (out.empty() ? "" : ",") + ip;
    return out;
  };
  EXPECT_EQ(attach("a"), "the node has no range of pod addresses yet");
  EXPECT_FALSE((*network)->configure({}, {"n1", {"10.0.0.0/33"}, {}}));
  ASSERT_TRUE((*network)->configure({}, {"n1", {"10.0.1.252/30", "fd00::/120"}, {}}));
  EXPECT_EQ((*network)->problem(), "");
  EXPECT_EQ(attach("a"), "10.0.1.254,fd00::2");
  EXPECT_EQ(attach("a"), "10.0.1.254,fd00::2") << "a second time is the same";
  EXPECT_EQ(attach("b"), "no address is free in 10.0.1.252/30");
  network::PodAttachment gone;
  gone.sandbox_id = "a";
  ASSERT_TRUE((*network)->detach({}, gone));
  EXPECT_EQ(attach("b"), "10.0.1.254,fd00::2");
}

}  // namespace
}  // namespace kubernel::runtime::simulated
