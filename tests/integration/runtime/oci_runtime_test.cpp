// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <future>

#include <gmock/gmock.h>

#include "runtime_fixture.h"

namespace kubernel::runtime {
namespace {

using OciRuntime = RuntimeFixture;

// Reads until the other side closes, or `until` has been seen.
std::string read_all(int fd, const std::string& until = "\1never") {
  std::string out;
  std::array<char, 4096> buffer{};
  while (out.find(until) == std::string::npos) {
    pollfd readable{fd, POLLIN, 0};
    if (poll(&readable, 1, 20'000) <= 0) return out + "<timed out>";
    const ssize_t got = read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EAGAIN) continue;
    if (got <= 0) return out;
    out.append(buffer.data(), static_cast<std::size_t>(got));
  }
  return out;
}

void write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    pollfd writable{fd, POLLOUT, 0};
    ASSERT_GT(poll(&writable, 1, 20'000), 0);
    const ssize_t written = write(fd, text.data(), text.size());
    if (written < 0 && errno == EAGAIN) continue;
    ASSERT_GT(written, 0);
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

int exit_code_of(Session& session) {
  std::promise<int> code;
  session.on_exit([&](int exit_code) { code.set_value(exit_code); });
  auto future = code.get_future();
  return future.wait_for(std::chrono::seconds(20)) == std::future_status::ready ? future.get() : -1;
}

TEST_F(OciRuntime, RunsACommandAndKeepsItsOutputAndExitCode) {
  const std::string sandbox = run_sandbox(sandbox_config());
  const ContainerStatus ended = run_to_end(sandbox, shell("echo out; echo err >&2; printf partial; exit 7"));
  EXPECT_EQ(ended.state, State::Exited);
  EXPECT_EQ(ended.exit_code, 7);
  EXPECT_EQ(ended.reason, "Error");
  EXPECT_EQ(ended.pid, 0);
  EXPECT_LE(*ended.created_at, *ended.started_at);
  EXPECT_EQ(ended.image_id, image_);
  const auto lines = log_lines();
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_NE(std::ranges::count(lines, "stdout F out"), 0);
  EXPECT_NE(std::ranges::count(lines, "stderr F err"), 0);
  EXPECT_NE(std::ranges::count(lines, "stdout P partial"), 0);
  std::ifstream log(ended.log_path);
  std::string first;
  std::getline(log, first);
  EXPECT_THAT(first, ::testing::MatchesRegex("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{9}(Z|[+-]["
                                             "0-9]{2}:[0-9]{2}) std(out|err) [FP] .*"));
}

TEST_F(OciRuntime, SuccessIsCompleted) {
  const ContainerStatus ended = run_to_end(run_sandbox(sandbox_config()), shell("true"));
  EXPECT_EQ(ended.exit_code, 0);
  EXPECT_EQ(ended.reason, "Completed");
}

TEST_F(OciRuntime, ACommandThatDoesNotExistFailsToStart) {
  const std::string sandbox = run_sandbox(sandbox_config());
  ContainerConfig config = shell("");
  config.command = {"no-such-command"};
  auto id = opened_.containers->create_container(context(), sandbox, config);
  ASSERT_TRUE(id) << id.error().message();
  const auto started = opened_.containers->start_container(context(), *id);
  ASSERT_FALSE(started);
  EXPECT_THAT(started.error().message(), ::testing::ContainsRegex("no-such-command.*not found in [$]PATH"));
  const ContainerStatus ended = status(*id);
  EXPECT_EQ(ended.state, State::Exited);
  EXPECT_EQ(ended.exit_code, 128);
  EXPECT_EQ(ended.reason, "StartError");
  EXPECT_EQ(ended.message, started.error().message());
}

TEST_F(OciRuntime, ContainersOfAPodShareHostnameAndIpcButNotProcesses) {
  SandboxConfig config = sandbox_config();
  config.network = NamespaceMode::Pod;
  config.network_namespace_path = "/proc/" + std::to_string(getpid()) + "/ns/net";
  const std::string sandbox = run_sandbox(config);
  const std::string first = start(sandbox, shell("echo shared > /dev/shm/x; exec sleep 1000", "a"));
  const std::string second = start(sandbox, shell("exec sleep 1000", "b"));
  EXPECT_EQ(exec(second, "hostname; cat /etc/hostname; echo $HOSTNAME"), "web-0\nweb-0\nweb-0\n");
  EXPECT_EQ(exec(first, "cat /dev/shm/x"), "shared\n");
  EXPECT_EQ(exec(second, "cat /dev/shm/x"), "shared\n");
  EXPECT_EQ(exec(second, "readlink /proc/1/ns/ipc"), exec(first, "readlink /proc/1/ns/ipc"));
  EXPECT_NE(exec(second, "readlink /proc/1/ns/pid"), exec(first, "readlink /proc/1/ns/pid"));
  EXPECT_EQ(exec(first, "cat /proc/1/comm"), "sleep\n");
}

TEST_F(OciRuntime, ASharedProcessNamespaceEndsWithItsContainer) {
  SandboxConfig config = sandbox_config();
  config.pid = NamespaceMode::Pod;
  const std::string sandbox = run_sandbox(config);
  const std::string first = start(sandbox, shell("sleep 1000 & exec sleep 1000", "a"));
  const std::string second = start(sandbox, shell("exec sleep 1000", "b"));
  EXPECT_EQ(exec(second, "cat /proc/1/comm"), "pause\n");
  EXPECT_EQ(exec(second, "ps -o args | grep -c '^sleep 1000'"), "3\n");
  ASSERT_TRUE(opened_.containers->stop_container(context(), first, std::chrono::seconds(0)));
  EXPECT_EQ(exec(second, "ps -o args | grep -c '^sleep 1000'"), "1\n");
}

TEST_F(OciRuntime, AppliesUserGroupsDirectoryAndEnvironment) {
  ContainerConfig config = shell("id -u; id -g; id -G; pwd; echo $A $PATH");
  config.security.run_as_user = 1234;
  config.security.run_as_group = 55;
  config.security.supplemental_groups = {77};
  config.working_dir = "/tmp";
  config.env = {{"A", "b=c"}};
  EXPECT_EQ(run_to_end(run_sandbox(sandbox_config()), config).exit_code, 0);
  const auto lines = log_lines();
  ASSERT_EQ(lines.size(), 5U);
  EXPECT_EQ(lines[0], "stdout F 1234");
  EXPECT_EQ(lines[1], "stdout F 55");
  EXPECT_EQ(lines[2], "stdout F 55 77");
  EXPECT_EQ(lines[3], "stdout F /tmp");
  EXPECT_EQ(lines[4], "stdout F b=c /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
}

TEST_F(OciRuntime, ConfinesAnOrdinaryContainer) {
  ContainerConfig config = shell(
      "grep CapEff /proc/self/status; echo x > /sys/x || echo ro; mknod /tmp/d b 8 0 && cat /tmp/d || echo denied; cat "
      "/proc/keys | wc -c");
  config.security.no_new_privileges = true;
  config.security.seccomp_unconfined = true;
  EXPECT_EQ(run_to_end(run_sandbox(sandbox_config()), config).exit_code, 0);
  const auto lines = log_lines();
  EXPECT_NE(std::ranges::count(lines, "stdout F CapEff:\t00000000a80425fb"), 0) << lines.at(0);
  EXPECT_NE(std::ranges::count(lines, "stdout F ro"), 0);
  EXPECT_NE(std::ranges::count(lines, "stdout F denied"), 0);
  EXPECT_NE(std::ranges::count(lines, "stdout F 0"), 0);
}

TEST_F(OciRuntime, PrivilegedHasWhatThisProcessHas) {
  ContainerConfig config = shell("grep CapEff /proc/self/status; ls /dev/fuse");
  config.security.privileged = true;
  EXPECT_EQ(run_to_end(run_sandbox(sandbox_config()), config).exit_code, 0);
  std::ifstream status("/proc/self/status");
  std::string bounding;
  while (std::getline(status, bounding) && !bounding.starts_with("CapBnd:")) {
  }
  EXPECT_EQ(log_lines().at(0), "stdout F CapEff" + bounding.substr(6));
}

TEST_F(OciRuntime, TheDefaultSeccompProfileLetsAShellRunAndStopsTheRest) {
  if (!std::filesystem::exists("/usr/share/containers/seccomp.json"))
    GTEST_SKIP() << "no seccomp profile: apt-get install golang-github-containers-common";
  ContainerConfig config = shell("grep Seccomp: /proc/self/status; unshare -m true || echo refused");
  config.security.seccomp_unconfined = false;
  EXPECT_EQ(run_to_end(run_sandbox(sandbox_config()), config).exit_code, 0);
  EXPECT_EQ(log_lines().at(0), "stdout F Seccomp:\t2");
}

TEST_F(OciRuntime, MountsFilesAndDirectories) {
  std::filesystem::create_directories(directory_ + "/volume");
  std::ofstream(directory_ + "/hosts") << "1.2.3.4 me\n";
  ContainerConfig config = shell(
      "cat /etc/hosts; echo hi > /data/deep/file; echo x > /etc/hosts || echo readonly; touch /new || echo rootro");
  config.mounts = {{"/data/deep", directory_ + "/made-by-the-runtime"},
                   {"/data", directory_ + "/volume"},
                   {"/etc/hosts", directory_ + "/hosts", true}};
  config.security.readonly_rootfs = true;
  EXPECT_EQ(run_to_end(run_sandbox(sandbox_config()), config).exit_code, 0);
  const auto lines = log_lines();
  EXPECT_EQ(lines.at(0), "stdout F 1.2.3.4 me");
  EXPECT_NE(std::ranges::count(lines, "stdout F readonly"), 0);
  EXPECT_NE(std::ranges::count(lines, "stdout F rootro"), 0);
  EXPECT_TRUE(std::filesystem::exists(directory_ + "/made-by-the-runtime/file"));
}

TEST_F(OciRuntime, ReportsAContainerKilledForWantOfMemory) {
  ContainerConfig config = shell("exec tail /dev/zero");
  config.resources.memory_limit = 16 << 20;
  const ContainerStatus ended = run_to_end(run_sandbox(sandbox_config()), config);
  EXPECT_EQ(ended.exit_code, 137);
  EXPECT_EQ(ended.reason, "OOMKilled");
}

TEST_F(OciRuntime, APodsLimitHoldsForItsContainers) {
  SandboxConfig config = sandbox_config();
  config.resources.memory_limit = 16 << 20;
  const ContainerStatus ended = run_to_end(run_sandbox(config), shell("exec tail /dev/zero"));
  EXPECT_EQ(ended.reason, "OOMKilled");
}

TEST_F(OciRuntime, UpdatesResourcesAndReportsUsage) {
  const std::string id = start(run_sandbox(sandbox_config()), shell("exec sleep 1000"));
  Resources resources;
  resources.memory_limit = 32 << 20;
  resources.cpu_shares = 512;
  ASSERT_TRUE(opened_.containers->access().update_resources(context(), id, resources));
  EXPECT_EQ(exec(id, "cat /sys/fs/cgroup/memory/memory.limit_in_bytes || cat /sys/fs/cgroup/memory.max"), "33554432\n");
  const auto usage = opened_.containers->access().usage(context(), id);
  ASSERT_TRUE(usage) << usage.error().message();
  EXPECT_GT(usage->cpu_nanoseconds, 0);
  EXPECT_GT(usage->memory_working_set_bytes, 0);
}

TEST_F(OciRuntime, StopsWithTheStopSignalAndKillsAfterTheGracePeriod) {
  const std::string sandbox = run_sandbox(sandbox_config());
  const std::string polite =
      start(sandbox, shell("trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done", "polite"));
  const std::string deaf = start(sandbox, shell("trap '' TERM; echo ready; while :; do sleep 0.05; done", "deaf"));
  ContainerConfig own = shell("trap 'exit 5' USR1; echo ready; while :; do sleep 0.05; done", "own");
  own.stop_signal = "SIGUSR1";
  const std::string custom = start(sandbox, own);
  for (const std::string& id : {polite, deaf, custom}) exec(id, "while ! [ -e /proc/1 ]; do :; done");
  ASSERT_TRUE(opened_.containers->stop_container(context(), polite, std::chrono::seconds(20)));
  EXPECT_EQ(status(polite).exit_code, 3);
  ASSERT_TRUE(opened_.containers->access().request_stop(context(), custom));
  EXPECT_TRUE(ended_.wait_for(custom));
  EXPECT_EQ(status(custom).exit_code, 5);
  ASSERT_TRUE(opened_.containers->stop_container(context(), deaf, std::chrono::seconds(1)));
  EXPECT_EQ(status(deaf).exit_code, 137);
  EXPECT_TRUE(opened_.containers->stop_container(context(), deaf, std::chrono::seconds(1)));
  EXPECT_TRUE(opened_.containers->stop_container(context(), "unknown", std::chrono::seconds(1)));
}

TEST_F(OciRuntime, ExecSyncGivesOutputAndExitCodeAndTimesOut) {
  const std::string id = start(run_sandbox(sandbox_config()), shell("exec sleep 1000"));
  auto result = opened_.containers->access().exec_sync(context(), id, {"sh", "-c", "echo out; echo err >&2; exit 9"});
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(result->exit_code, 9);
  EXPECT_NE(result->output.find("out\n"), std::string::npos);
  EXPECT_NE(result->output.find("err\n"), std::string::npos);
  result = opened_.containers->access().exec_sync(context(), id, {"sh", "-c", "yes | head -c 100000"});
  ASSERT_TRUE(result);
  EXPECT_EQ(result->output.size(), 16U * 1024U);
  result = opened_.containers->access().exec_sync(context(), id, {"nonsense"});
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message(), ::testing::ContainsRegex("nonsense.*not found in [$]PATH"));
  result = opened_.containers->access().exec_sync(context(std::chrono::seconds(1)), id, {"sh", "-c", "exec sleep 998"});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().reason(), Reason::Timeout);
  EXPECT_EQ(exec(id, "ps -o args | grep -c '^sleep 998' || true"), "0\n");
}

TEST_F(OciRuntime, ExecStreamsKeepStdoutAndStderrApart) {
  const std::string id = start(run_sandbox(sandbox_config()), shell("exec sleep 1000"));
  auto session =
      opened_.containers->access().exec(context(), id, {{"sh", "-c", "cat; echo done >&2; exit 4"}, true, false});
  ASSERT_TRUE(session) << session.error().message();
  std::string sent;
  for (int i = 0; i < 20'000; ++i) sent += std::to_string(i) + "\n";
  auto echoed = std::async(std::launch::async, [&] { return read_all((*session)->stdout_fd()); });
  write_all((*session)->stdin_fd(), sent);
  (*session)->close_stdin();
  EXPECT_EQ(echoed.get(), sent);
  EXPECT_EQ(read_all((*session)->stderr_fd()), "done\n");
  EXPECT_EQ(exit_code_of(**session), 4);
}

TEST_F(OciRuntime, ExecWithATerminalResizes) {
  const std::string id = start(run_sandbox(sandbox_config()), shell("exec sleep 1000"));
  auto session = opened_.containers->access().exec(context(), id, {{"sh"}, true, true});
  ASSERT_TRUE(session) << session.error().message();
  EXPECT_EQ((*session)->stderr_fd(), -1);
  ASSERT_TRUE((*session)->resize(132, 43));
  write_all((*session)->stdin_fd(),
            "until [ \"$(stty size)\" = '43 132' ]; do :; done; tty; echo $TERM; echo si''ze $(stty size)\n");
  const std::string text = read_all((*session)->stdout_fd(), "size 43 132");
  EXPECT_NE(text.find("/dev/pts/"), std::string::npos) << text;
  EXPECT_NE(text.find("xterm"), std::string::npos) << text;
  write_all((*session)->stdin_fd(), "exit 6\n");
  read_all((*session)->stdout_fd());
  EXPECT_EQ(exit_code_of(**session), 6);
}

TEST_F(OciRuntime, EndingASessionKillsItsCommand) {
  const std::string id = start(run_sandbox(sandbox_config()), shell("exec sleep 1000"));
  auto session = opened_.containers->access().exec(context(), id, {{"sleep", "997"}, false, false});
  ASSERT_TRUE(session) << session.error().message();
  EXPECT_EQ(exec(id, "ps -o args | grep -c '^sleep 997'"), "1\n");
  session->reset();
  EXPECT_EQ(exec(id, "while ps -o args | grep -q '^sleep 997'; do :; done; echo gone"), "gone\n");
}

TEST_F(OciRuntime, AttachesToTheFirstProcess) {
  ContainerConfig config = shell("read line; echo got $line; exit 2");
  config.stdin_open = true;
  config.stdin_once = true;
  const std::string id = start(run_sandbox(sandbox_config()), config);
  auto session = opened_.containers->access().attach(context(), id);
  ASSERT_TRUE(session) << session.error().message();
  write_all((*session)->stdin_fd(), "hello\n");
  EXPECT_EQ(read_all((*session)->stdout_fd()), "got hello\n");
  EXPECT_EQ(exit_code_of(**session), 2);
}

TEST_F(OciRuntime, AttachesToATerminalTwice) {
  ContainerConfig config = shell("stty -echo; echo ready; exec sh");
  config.stdin_open = true;
  config.tty = true;
  const std::string id = start(run_sandbox(sandbox_config()), config);
  {
    auto session = opened_.containers->access().attach(context(), id);
    ASSERT_TRUE(session) << session.error().message();
    ASSERT_TRUE((*session)->resize(111, 33));
    write_all((*session)->stdin_fd(), "until [ \"$(stty size)\" = '33 111' ]; do :; done; echo si''ze $(stty size)\n");
    EXPECT_NE(read_all((*session)->stdout_fd(), "size 33 111").find("size 33 111"), std::string::npos);
  }
  EXPECT_EQ(status(id).state, State::Running);
  auto session = opened_.containers->access().attach(context(), id);
  ASSERT_TRUE(session) << session.error().message();
  write_all((*session)->stdin_fd(), "exit 8\n");
  read_all((*session)->stdout_fd());
  EXPECT_EQ(exit_code_of(**session), 8);
}

TEST_F(OciRuntime, ReopensTheLogAfterRotation) {
  const std::string id =
      start(run_sandbox(
                sandbox_config()),  // A writer that has not closed yet gives the next read an end of file, not a line.
            shell("mkfifo /tmp/f; while :; do if read x < /tmp/f; then echo $x; fi; done"));
  const std::string path = status(id).log_path;
  exec(id, "while ! [ -p /tmp/f ]; do :; done; echo first > /tmp/f");
  std::filesystem::rename(path, path + ".1");
  ASSERT_TRUE(opened_.containers->access().reopen_log(context(), id));
  exec(id, "echo second > /tmp/f");
  ASSERT_TRUE(opened_.containers->stop_container(context(), id, std::chrono::seconds(0)));
  EXPECT_EQ(log_lines(), std::vector<std::string>{"stdout F second"});
}

TEST_F(OciRuntime, IsTakenOverByTheNextProcess) {
  const std::string sandbox = run_sandbox(sandbox_config());
  const std::string running = start(sandbox, shell("exec sleep 1000", "a"));
  const std::string ending = start(sandbox, shell("while ! [ -e /tmp/go ]; do sleep 0.02; done; exit 21", "b"));
  ContainerConfig labelled = shell("true", "c");
  labelled.labels = {{"k", "v"}};
  auto created = opened_.containers->create_container(context(), sandbox, labelled);
  ASSERT_TRUE(created);
  const ContainerStatus before = status(running);
  exec(ending, "touch /tmp/go");
  reopen();
  EXPECT_TRUE(status(ending).state == State::Exited || ended_.wait_for(ending));
  EXPECT_EQ(status(ending).exit_code, 21);
  const ContainerStatus after = status(running);
  EXPECT_EQ(after.state, State::Running);
  EXPECT_EQ(after.pid, before.pid);
  EXPECT_EQ(after.started_at, before.started_at);
  EXPECT_EQ(exec(running, "echo alive"), "alive\n");
  EXPECT_EQ(status(*created).state, State::Created);
  EXPECT_EQ(status(*created).labels, labelled.labels);
  ASSERT_TRUE(opened_.containers->start_container(context(), *created));
  EXPECT_TRUE(ended_.wait_for(*created));
  const auto sandboxes = opened_.containers->list_sandboxes({});
  ASSERT_EQ(sandboxes->size(), 1U);
  EXPECT_TRUE(sandboxes->front().ready);
  EXPECT_EQ(sandboxes->front().pod_name, "web-0");
}

// Not a test of its own: what the next one starts and loses.
TEST_F(OciRuntime, DISABLED_StartsContainersAndIsKilled) {
  const std::string sandbox = run_sandbox(sandbox_config());
  const std::string lasting = start(sandbox, shell("exec sleep 1000", "lasting"));
  start(sandbox, shell("exec sleep 1000", "other"));
  ASSERT_FALSE(HasFailure());
  auto session = opened_.containers->access().exec(context(), lasting, {{"cat"}, true, false});
  ASSERT_TRUE(session) << session.error().message();
  kill(getpid(), SIGKILL);
}

TEST_F(OciRuntime, IsTakenOverAfterItWasKilled) {
  close();
  ChildOptions child;
  child.argv = {std::filesystem::read_symlink("/proc/self/exe").string(), "--gtest_also_run_disabled_tests",
                "--gtest_filter=*DISABLED_StartsContainersAndIsKilled"};
  child.env = {"KUBERNEL_TEST_SHARED_NAME=" +
               std::string(::testing::UnitTest::GetInstance()->current_test_info()->name())};
  for (const char* name : {"KUBERNEL_TEST_DIRECTORY", "KUBERNEL_TEST_CGROUP", "KUBERNEL_TEST_PAUSE", "PATH"}) {
    child.env.push_back(std::string(name) + "=" + std::getenv(name));
  }
  const auto output = run_child(context(std::chrono::seconds(60)), child);
  ASSERT_TRUE(output) << output.error().message();
  ASSERT_EQ(output->exit_code, 137) << output->standard_output;
  open();
  const auto sandboxes = opened_.containers->list_sandboxes({});
  ASSERT_TRUE(sandboxes);
  ASSERT_EQ(sandboxes->size(), 1U);
  EXPECT_TRUE(sandboxes->front().ready);
  const auto containers = opened_.containers->list_containers({});
  ASSERT_EQ(containers->size(), 2U);
  for (const ContainerStatus& container : *containers) {
    EXPECT_EQ(container.state, State::Running);
    EXPECT_EQ(exec(container.id, "echo alive"), "alive\n");
    ASSERT_TRUE(opened_.containers->stop_container(context(), container.id, std::chrono::seconds(0)));
    EXPECT_TRUE(ended_.wait_for(container.id));
    EXPECT_EQ(status(container.id).exit_code, 137);
  }
}

TEST_F(OciRuntime, AnExitWhileNobodyWatchedKeepsItsCode) {
  const std::string id =
      start(run_sandbox(sandbox_config()), shell("while ! [ -e /tmp/go ]; do sleep 0.02; done; exit 33"));
  const pid_t pid = static_cast<pid_t>(status(id).pid);
  close();
  std::ofstream("/proc/" + std::to_string(pid) + "/root/tmp/go");
  const UniqueFd process(static_cast<int>(syscall(434 /* pidfd_open */, pid, 0)));
  pollfd ended{process.get(), POLLIN, 0};
  ASSERT_TRUE(!process || poll(&ended, 1, 20'000) == 1);
  open();
  EXPECT_TRUE(status(id).state == State::Exited || ended_.wait_for(id));
  EXPECT_EQ(status(id).exit_code, 33);
}

TEST_F(OciRuntime, TheEndOfASandboxIsReported) {
  const std::string sandbox = run_sandbox(sandbox_config());
  const std::string id = start(sandbox, shell("exec sleep 1000"));
  ASSERT_TRUE(opened_.containers->stop_sandbox(context(), sandbox));
  EXPECT_TRUE(ended_.wait_for(sandbox));
  EXPECT_EQ(status(id).exit_code, 137);
  EXPECT_FALSE(opened_.containers->list_sandboxes({})->front().ready);
  EXPECT_TRUE(opened_.containers->stop_sandbox(context(), sandbox));
  ASSERT_TRUE(opened_.containers->remove_sandbox(context(), sandbox));
  EXPECT_TRUE(opened_.containers->remove_sandbox(context(), sandbox));
}

TEST_F(OciRuntime, RefusesWhatCannotRun) {
  const std::string sandbox = run_sandbox(sandbox_config());
  const auto message_of = [&](const ContainerConfig& config) {
    auto id = opened_.containers->create_container(context(), sandbox, config);
    return id ? "created" : id.error().message();
  };
  ContainerConfig user = shell("true");
  user.security.run_as_username = "nobody-at-all";
  EXPECT_EQ(message_of(user), "unable to find user nobody-at-all: no matching entries in passwd file");
  ContainerConfig image = shell("true");
  image.image_id = "sha256:" + std::string(64, '0');
  EXPECT_EQ(message_of(image), "image \"" + image.image_id + "\" not found");
  ContainerConfig capability = shell("true");
  capability.security.add_capabilities = {"FLY"};
  EXPECT_EQ(message_of(capability), "unknown capability \"CAP_FLY\"");
  EXPECT_EQ(opened_.containers->create_container(context(), "none", shell("true")).error().reason(), Reason::NotFound);
  SandboxConfig bad = sandbox_config();
  bad.cgroup_parent = "relative";
  EXPECT_EQ(opened_.containers->run_sandbox(context(), bad).error().reason(), Reason::Invalid);
}

}  // namespace
}  // namespace kubernel::runtime
