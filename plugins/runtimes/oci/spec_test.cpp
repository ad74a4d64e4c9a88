// SPDX-License-Identifier: Apache-2.0
#include "spec.h"

#include <algorithm>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "monitor.h"
#include "records.h"
#include "seccomp.h"

namespace kubernel::runtime::oci {
namespace {

using nlohmann::json;

struct Given {
  ContainerConfig config;
  ImageConfig image;
  SandboxPlace sandbox;
  ProcessUser user;
  Machine machine;

  Given() {
    config.command = {"/app"};
    sandbox.pause_pid = 42;
    sandbox.network_namespace_path = "/run/netns/s";
    sandbox.hostname = "web-0";
    sandbox.hostname_file = "/s/hostname";
    sandbox.shm_path = "/s/shm";
    for (const char* name : {"CAP_CHOWN", "CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE", "CAP_SYS_ADMIN"})
      machine.capabilities.emplace_back(name);
  }
  json spec() {
    auto text = make_container_spec({config, image, sandbox, user, machine, "/c/rootfs", "/pods/p/c", ""});
    EXPECT_TRUE(text) << text.error().message();
    return text ? json::parse(*text) : json();
  }
  std::string error() {
    return make_container_spec({config, image, sandbox, user, machine, "/c/rootfs", "/pods/p/c", ""}).error().message();
  }
};

std::vector<std::string> args_of(const std::vector<std::string>& command, const std::vector<std::string>& args) {
  ContainerConfig config;
  config.command = command;
  config.args = args;
  ImageConfig image;
  image.entrypoint = {"entry"};
  image.command = {"cmd"};
  return command_line(config, image);
}

TEST(Spec, CommandAndArgsFollowTheApisTable) {
  using Words = std::vector<std::string>;
  EXPECT_EQ(args_of({}, {}), (Words{"entry", "cmd"}));
  EXPECT_EQ(args_of({"c"}, {}), Words{"c"});
  EXPECT_EQ(args_of({}, {"a"}), (Words{"entry", "a"}));
  EXPECT_EQ(args_of({"c"}, {"a"}), (Words{"c", "a"}));
}

TEST(Spec, APlainContainerLooksLikeThis) {
  Given given;
  given.image.env = {"PATH=/bin", "A=image", "broken"};
  given.config.env = {{"A", "mine"}, {"B", ""}};
  given.config.resources.memory_limit = 1000;
  given.config.resources.cpu_shares = 1;
  const json spec = given.spec();
  EXPECT_EQ(
      spec["process"].dump(),
      R"({"args":["/app"],"capabilities":{"bounding":["CAP_CHOWN","CAP_NET_BIND_SERVICE"],"effective":["CAP_CHOWN","CAP_NET_BIND_SERVICE"],)"
      R"("permitted":["CAP_CHOWN","CAP_NET_BIND_SERVICE"]},"cwd":"/","env":["PATH=/bin","HOSTNAME=web-0","A=mine","B="],"noNewPrivileges":false,)"
      R"("oomScoreAdj":0,"terminal":false,"user":{"gid":0,"uid":0}})");
  EXPECT_EQ(
      spec["linux"]["namespaces"].dump(),
      R"([{"type":"mount"},{"type":"pid"},{"path":"/proc/42/ns/ipc","type":"ipc"},{"path":"/run/netns/s","type":"network"},{"path":"/proc/42/ns/uts","type":"uts"}])");
  EXPECT_EQ(spec["linux"]["resources"].dump(),
            R"({"cpu":{"shares":2},"devices":[{"access":"rwm","allow":false}],"memory":{"limit":1000}})");
  EXPECT_EQ(spec["linux"]["cgroupsPath"], "/pods/p/c");
  EXPECT_EQ(spec["root"].dump(), R"({"path":"/c/rootfs","readonly":false})");
  EXPECT_TRUE(spec["linux"]["maskedPaths"].size() > 5);
  std::vector<std::string> mounts;
  for (const json& mount : spec["mounts"]) mounts.push_back(mount["destination"].get<std::string>());
  EXPECT_EQ(mounts, (std::vector<std::string>{"/proc", "/dev", "/sys", "/dev/pts", "/dev/mqueue", "/dev/shm",
                                              "/etc/hostname", "/sys/fs/cgroup"}));
}

TEST(Spec, NodeNamespacesAreLeftOut) {
  Given given;
  given.sandbox.network = given.sandbox.pid = given.sandbox.ipc = NamespaceMode::Node;
  EXPECT_EQ(given.spec()["linux"]["namespaces"].dump(), R"([{"type":"mount"}])");
  given.sandbox.pid = NamespaceMode::Pod;
  given.machine.cgroup_v2 = true;
  EXPECT_EQ(given.spec()["linux"]["namespaces"].dump(),
            R"([{"type":"mount"},{"path":"/proc/42/ns/pid","type":"pid"},{"type":"cgroup"}])");
}

TEST(Spec, CapabilitiesAreAddedDroppedAndBounded) {
  Machine machine;
  machine.capabilities = {"CAP_CHOWN", "CAP_KILL", "CAP_NET_ADMIN"};
  const auto held = [&](std::vector<std::string> add, std::vector<std::string> drop, bool privileged = false) {
    SecurityOptions security;
    security.add_capabilities = std::move(add);
    security.drop_capabilities = std::move(drop);
    security.privileged = privileged;
    return *container_capabilities(security, machine);
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(held({}, {}), (Names{"CAP_CHOWN", "CAP_KILL"}));
  EXPECT_EQ(held({"NET_ADMIN"}, {"CAP_KILL"}), (Names{"CAP_CHOWN", "CAP_NET_ADMIN"}));
  EXPECT_EQ(held({"KILL"}, {"ALL"}), Names{"CAP_KILL"});
  EXPECT_EQ(held({"all"}, {"KILL"}), (Names{"CAP_CHOWN", "CAP_NET_ADMIN"}));
  EXPECT_EQ(held({"SYS_ADMIN"}, {}), (Names{"CAP_CHOWN", "CAP_KILL"}));
  EXPECT_EQ(held({}, {"ALL"}, true), machine.capabilities);
}

TEST(Spec, TheOomScoreIsNotLoweredWithoutTheRight) {
  Given given;
  given.machine.oom_score_adj = 100;
  given.config.resources.oom_score_adj = -997;
  EXPECT_EQ(given.spec()["process"]["oomScoreAdj"], 100);
  given.config.resources.oom_score_adj = 1000;
  EXPECT_EQ(given.spec()["process"]["oomScoreAdj"], 1000);
  given.machine.may_lower_oom_score = true;
  given.config.resources.oom_score_adj = -997;
  EXPECT_EQ(given.spec()["process"]["oomScoreAdj"], -997);
}

TEST(Spec, PrivilegedHasDevicesAndNoMasks) {
  Given given;
  given.config.security.privileged = true;
  given.machine.devices = {{"/dev/fuse", "c", 10, 229, 0666, 0, 0}};
  const json spec = given.spec();
  EXPECT_FALSE(spec["linux"].contains("maskedPaths"));
  EXPECT_FALSE(spec["linux"].contains("readonlyPaths"));
  EXPECT_EQ(spec["linux"]["resources"]["devices"][0]["allow"], true);
  EXPECT_EQ(spec["linux"]["devices"][0]["path"], "/dev/fuse");
  const auto sysfs =
      std::ranges::find(spec["mounts"], "/sys", [](const json& m) { return m["destination"].get<std::string>(); });
  EXPECT_NE(std::ranges::count((*sysfs)["options"], "rw"), 0);
}

TEST(Spec, MountsReplaceTheStandardOnesAndLieInOrder) {
  Given given;
  given.config.mounts = {{"/data/inner", "/h/inner", true, Mount::Propagation::HostToContainer},
                         {"/data", "/h/data", false, Mount::Propagation::Private},
                         {"/dev/shm", "/h/shm", false, Mount::Propagation::Private}};
  const json spec = given.spec();
  std::vector<std::string> sources;
  for (const json& mount : spec["mounts"]) {
    if (mount["type"] == "bind") sources.push_back(mount["source"].get<std::string>());
  }
  EXPECT_EQ(sources, (std::vector<std::string>{"/h/data", "/s/hostname", "/h/inner", "/h/shm"}));
  EXPECT_EQ(spec["linux"]["rootfsPropagation"], "rslave");
}

TEST(Spec, RefusesWhatCannotRun) {
  Given none;
  none.config.command.clear();
  EXPECT_EQ(none.error(), "no command specified");
  Given relative;
  relative.config.working_dir = "here";
  EXPECT_EQ(relative.error(), "working directory \"here\" is not absolute");
  Given root;
  root.config.mounts = {{"/x/..", "/h", false, Mount::Propagation::Private}};
  EXPECT_EQ(root.error(), "a mount cannot replace the root of a container");
}

TEST(Spec, AnExecIsTheContainersProcessWithAnotherCommand) {
  Given given;
  given.user.uid = 7;
  const std::string spec = given.spec().dump();
  const json process = json::parse(*make_exec_process(spec, {{"sh", "-c", "x"}, true, true}));
  EXPECT_EQ(process["args"].dump(), R"(["sh","-c","x"])");
  EXPECT_EQ(process["terminal"], true);
  EXPECT_EQ(process["user"]["uid"], 7);
  EXPECT_EQ(process["env"].back(), "TERM=xterm");
  EXPECT_FALSE(make_exec_process("{}", {}));
}

TEST(Spec, SignalsHaveManySpellings) {
  EXPECT_EQ(parse_signal("SIGTERM"), 15);
  EXPECT_EQ(parse_signal("QUIT"), 3);
  EXPECT_EQ(parse_signal("9"), 9);
  EXPECT_EQ(parse_signal("SIGRTMIN+3"), SIGRTMIN + 3);
  EXPECT_EQ(parse_signal("RTMAX-1"), SIGRTMAX - 1);
  for (const char* bad : {"", "SIGNOTHING", "0", "-1", "SIGRTMIN+99", "99"}) EXPECT_FALSE(parse_signal(bad)) << bad;
}

TEST(Seccomp, KeepsWhatTheContainersCapabilitiesAllow) {
  const std::string profile = R"({"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,
    "archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]},{"architecture":"SCMP_ARCH_AARCH64","subArchitectures":[]}],
    "syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[],"includes":{},"excludes":{}},
      {"names":["mount"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN"]}},
      {"names":["mount"],"action":"SCMP_ACT_ERRNO","errnoRet":1,"excludes":{"caps":["CAP_SYS_ADMIN"]}},
      {"names":["arm_thing"],"action":"SCMP_ACT_ALLOW","includes":{"arches":["arm64"]}},
      {"names":["new"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"99.1"}}]})";
  const auto plain = convert_seccomp(profile, {"CAP_CHOWN"}, "amd64");
  ASSERT_TRUE(plain);
  EXPECT_EQ(
      *plain,
      R"({"architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86"],"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"syscalls":[)"
      R"({"action":"SCMP_ACT_ALLOW","names":["read"]},{"action":"SCMP_ACT_ERRNO","errnoRet":1,"names":["mount"]}]})");
  const auto admin = convert_seccomp(profile, {"CAP_SYS_ADMIN"}, "amd64");
  EXPECT_NE(admin->find(R"({"action":"SCMP_ACT_ALLOW","names":["mount"]})"), std::string::npos);
  EXPECT_FALSE(convert_seccomp("{}", {}, "amd64"));
}

TEST(Monitor, MessagesOfBothApisAreRead) {
  EXPECT_EQ(parse_message(R"({"data": 123})")->data, 123);
  EXPECT_EQ(parse_message(R"({"pid": 5})")->data, 5);
  EXPECT_EQ(parse_message(R"({"data": -1, "message": "no"})")->message, "no");
  EXPECT_FALSE(parse_message("garbage"));
}

TEST(Monitor, TheRuntimesMessageIsTakenFromItsLog) {
  EXPECT_EQ(runtime_message(
                "time=\"x\" level=warning msg=\"first\"\ntime=\"y\" level=error msg=\"exec: \\\"no\\\": not found\"\n"),
            "exec: \"no\": not found");
  EXPECT_EQ(runtime_message("crun: executable file `no` not found\n"), "crun: executable file `no` not found");
  EXPECT_EQ(runtime_message(""), "");
}

TEST(Records, SurviveTheWayToDiskAndBack) {
  ContainerRecord record;
  record.id = "c";
  record.labels = {{"k", "v"}};
  record.chain_ids = {"sha256:1"};
  record.state = State::Exited;
  record.exit_code = 137;
  record.message = "bad \xff byte";
  record.monitor = {5, 77};
  const auto read = parse_container(to_json(record));
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(read->labels, record.labels);
  EXPECT_EQ(read->chain_ids, record.chain_ids);
  EXPECT_EQ(read->state, State::Exited);
  EXPECT_EQ(read->exit_code, 137);
  EXPECT_EQ(read->monitor.start_time, 77U);
  SandboxRecord sandbox;
  sandbox.id = "s";
  sandbox.config.pid = NamespaceMode::Pod;
  sandbox.config.sysctls = {{"net.core.somaxconn", "9"}};
  const auto again = parse_sandbox(to_json(sandbox));
  ASSERT_TRUE(again);
  EXPECT_EQ(again->config.pid, NamespaceMode::Pod);
  EXPECT_EQ(again->config.sysctls, sandbox.config.sysctls);
  EXPECT_FALSE(parse_sandbox("{}"));
  EXPECT_FALSE(parse_container("half a rec"));
}

}  // namespace
}  // namespace kubernel::runtime::oci
