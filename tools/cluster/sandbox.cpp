// SPDX-License-Identifier: Apache-2.0
#include "sandbox.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>

#include <nlohmann/json.hpp>

#include <kubernel/base/child_process.h>

#include "cgroup_tree.h"
#include "child_signals.h"
#include "files.h"

namespace kubernel::cluster {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

constexpr const char* kBridge = "sw0";
constexpr const char* kGateway = "172.30.0.1";
constexpr const char* kSwitchNetwork = "switch";  // The outer network namespace, by the name `ip -n` knows.
constexpr int kFirstInheritedFd = 3;  // Where a service finds the sockets LISTEN_FDS counts (sd_listen_fds(3)).
constexpr std::chrono::milliseconds kStopPatience = 20s;
constexpr std::chrono::milliseconds kFirstRestartPause = 100ms;
constexpr std::chrono::milliseconds kLongestRestartPause = 10s;
constexpr std::chrono::milliseconds kLongRun = 60s;  // Whoever ran this long did not die of its start.

std::vector<std::string> own_environment() {
  std::vector<std::string> out;
  for (char** entry = environ; *entry != nullptr; ++entry) out.emplace_back(*entry);
  return out;
}

int fail(const ClusterPaths& paths, const std::string& where, const Error& error) {
  std::fprintf(stderr, "%s: %s\n", where.c_str(), error.message().c_str());
  notify(paths, "FAILED=" + where + ": " + error.message());
  return 1;
}

Result<void> run(const std::vector<std::string>& argv) {
  KUBERNEL_TRY(const ChildOutput output, run_child({}, {.argv = argv, .env = own_environment()}));
  if (output.exit_code == 0) return {};
  std::string command;
  for (const std::string& word : argv) command += (command.empty() ? "" : " ") + word;
  return Error(Reason::Internal, command + ": " + output.standard_error);
}

Result<void> ip(const std::string& words) {
  std::vector<std::string> argv{"ip"};
  std::size_t at = 0;
  while (at < words.size()) {
    const auto space = std::min(words.find(' ', at), words.size());
    argv.push_back(words.substr(at, space - at));
    at = space + 1;
  }
  return run(argv);
}

Result<void> set_sysctls(std::initializer_list<std::pair<const char*, const char*>> settings) {
  for (const auto& [name, value] : settings) {
    KUBERNEL_CHECK_OK(write_control_file(std::string("/proc/sys/") + name, value));
  }
  return {};
}

// Only loopback may exist here. Anything else means this is not the new namespace it should be, and nothing may be
// programmed in it.
Result<void> check_new_network() {
  std::ifstream devices("/proc/self/net/dev");
  std::string line;
  while (std::getline(devices, line)) {
    const auto colon = line.find(':');
    if (colon == std::string::npos) continue;  // The two lines of headings.
    const auto first = line.find_first_not_of(' ');
    if (line.substr(first, colon - first) != "lo") {
      return Error(Reason::Forbidden,
                   "this network namespace is not a new one: it has " + line.substr(first, colon - first));
    }
  }
  return {};
}

Result<void> private_run_directory() {
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return system_error("make private", "/");
  if (mount("run", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755") != 0) return system_error("mount", "/run");
  for (const char* directory : {"/run/netns", "/run/lock"}) KUBERNEL_CHECK_OK(make_directory(directory));
  return {};
}

Result<void> make_switch() {
  KUBERNEL_CHECK_OK(check_new_network());
  KUBERNEL_CHECK_OK(private_run_directory());
  KUBERNEL_CHECK_OK(ip("link set lo up"));
  KUBERNEL_CHECK_OK(ip(std::string("link add ") + kBridge + " type bridge"));
  KUBERNEL_CHECK_OK(ip(std::string("link set ") + kBridge + " up"));
  KUBERNEL_CHECK_OK(ip(std::string("addr add ") + kGateway + "/24 dev " + kBridge));
  KUBERNEL_CHECK_OK(set_sysctls({{"net/ipv4/ip_forward", "1"}, {"net/ipv4/icmp_ratelimit", "0"}}));
  // What leads nowhere fails at once instead of timing out.
  KUBERNEL_CHECK_OK(ip("route add unreachable default metric 9999"));
  // Nodes find this network here when they plug themselves in.
  const std::string handle = std::string("/run/netns/") + kSwitchNetwork;
  std::ofstream(handle).flush();
  if (mount("/proc/self/ns/net", handle.c_str(), nullptr, MS_BIND, nullptr) != 0) return system_error("mount", handle);
  return {};
}

std::vector<std::string> command(const ClusterPaths& paths, const SandboxOptions& options, const char* role, int node) {
  return {options.self, role, paths.directory, to_argument(options), std::to_string(node)};
}

Result<pid_t> start_node(const ClusterPaths& paths, const SandboxOptions& options, int node) {
  KUBERNEL_CHECK_OK(make_directory(paths.node(node)));
  const UniqueFd log(::open(paths.node_log(node).c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!log) return system_error("open", paths.node_log(node));
  ChildOptions child{.argv = command(paths, options, "enter-node", node), .env = own_environment()};
  child.stdout_fd = log.get();
  child.stderr_fd = log.get();
  if (node == 1 && options.listen_fd >= 0) child.inherit.emplace_back(kFirstInheritedFd, options.listen_fd);
  return spawn_child(child);
}

// Collects every child that has ended, also those a dead parent left to us. Gives the exit code of `awaited` when it is
// among them.
std::optional<int> collect_children(pid_t awaited) {
  std::optional<int> out;
  int status = 0;
  for (pid_t pid = waitpid(-1, &status, WNOHANG); pid > 0; pid = waitpid(-1, &status, WNOHANG)) {
    if (pid == awaited) out = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  return out;
}

Result<void> make_node(const ClusterPaths& paths, int node) {
  KUBERNEL_CHECK_OK(mount_own_cgroups(CgroupTree(paths.cgroup())));
  KUBERNEL_CHECK_OK(private_run_directory());
  const std::string resolver = paths.node(node) + "/resolv.conf";
  std::ofstream(resolver) << "# No name server leads out of a sandboxed cluster.\n";
  const std::string target = std::filesystem::canonical("/etc/resolv.conf");
  if (mount(resolver.c_str(), target.c_str(), nullptr, MS_BIND, nullptr) != 0)
    return system_error("mount over", target);
  // Mounts made for a pod's volumes are seen by its containers.
  if (mount(nullptr, "/", nullptr, MS_REC | MS_SHARED, nullptr) != 0) return system_error("make shared", "/");
  const std::string name = node_name(node);
  if (sethostname(name.c_str(), name.size()) != 0) return system_error("set host name", name);
  return {};
}

// A cable from the node's eth0 to the switch. Before the node gets its own /run, which hides the switch's handle.
Result<void> plug_in(int node) {
  KUBERNEL_CHECK_OK(check_new_network());
  const std::string port = "n" + std::to_string(node);
  KUBERNEL_CHECK_OK(ip("link add eth0 type veth peer name " + port + " netns " + kSwitchNetwork));
  KUBERNEL_CHECK_OK(ip(std::string("-n ") + kSwitchNetwork + " link set " + port + " master " + kBridge + " up"));
  KUBERNEL_CHECK_OK(ip("link set lo up"));
  KUBERNEL_CHECK_OK(ip("link set eth0 up"));
  KUBERNEL_CHECK_OK(ip("addr add " + node_ip(node) + "/24 dev eth0"));
  KUBERNEL_CHECK_OK(ip(std::string("route add default via ") + kGateway));
  return set_sysctls({{"net/ipv4/ip_forward", "1"},
                      {"net/ipv4/icmp_ratelimit", "0"},
                      {"net/ipv4/conf/all/send_redirects", "0"},
                      {"net/ipv4/conf/default/send_redirects", "0"}});
}

Result<pid_t> start_kubernel(const ClusterPaths& paths, const SandboxOptions& options, int node) {
  ChildOptions child{
      .argv = {options.kubernel, "run", "--manifest", node == 1 ? options.first_manifest : options.other_manifest},
      .env = own_environment()};
  child.stdout_fd = STDOUT_FILENO;
  child.stderr_fd = STDERR_FILENO;
  const std::map<std::string, std::string> variables = {{"KUBERNEL_DATA", paths.node(node)},
                                                        {"KUBERNEL_PKI", paths.pki()},
                                                        {"KUBERNEL_NODE_NAME", node_name(node)},
                                                        {"KUBERNEL_NODE_IP", node_ip(node)},
                                                        {"KUBERNEL_POD_CIDR", pod_cidr(node)},
                                                        {"KUBERNEL_API_ADDRESS", node_ip(1)},
                                                        {"KUBERNEL_KUBECONFIG", paths.node(node) + "/kubeconfig"},
                                                        {"NOTIFY_SOCKET", paths.notify_socket()}};
  for (const auto& [name, value] : variables) child.env.push_back(name + "=" + value);
  if (node == 1 && options.listen_fd >= 0) {
    child.env.emplace_back("LISTEN_FDS=1");
    child.inherit.emplace_back(kFirstInheritedFd, kFirstInheritedFd);
  }
  return spawn_child(child);
}

// Waits, and goes on collecting children. Returns whether the node was told to stop meanwhile.
bool wait_before_restart(ChildSignals& signals, std::chrono::milliseconds pause) {
  const auto until = std::chrono::steady_clock::now() + pause;
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    if (left <= 0ms) return false;
    const auto signal = signals.next(left);
    if (signal == SIGTERM || signal == SIGINT) return true;
    collect_children(-1);
  }
}

}  // namespace

std::string to_argument(const SandboxOptions& options) {
  return json{{"self", options.self},
              {"kubernel", options.kubernel},
              {"nodes", options.nodes},
              {"first", options.first_manifest},
              {"other", options.other_manifest},
              {"fd", options.listen_fd}}
      .dump();
}

Result<SandboxOptions> parse_sandbox_options(const std::string& argument) {
  return catch_as_error("sandbox options", [&]() -> Result<SandboxOptions> {
    const json j = json::parse(argument);
    return SandboxOptions{j.at("self").get<std::string>(),  j.at("kubernel").get<std::string>(),
                          j.at("nodes").get<int>(),         j.at("first").get<std::string>(),
                          j.at("other").get<std::string>(), j.at("fd").get<int>()};
  });
}

void notify(const ClusterPaths& paths, const std::string& line) {
  const UniqueFd socket_fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = paths.notify_socket();
  if (!socket_fd || path.size() >= sizeof(address.sun_path)) return;
  std::memcpy(address.sun_path, path.c_str(), path.size());
  // Nobody listening is the normal case once `up` has returned.
  (void)sendto(socket_fd.get(), line.data(), line.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&address),
               sizeof(address));
}

int switch_main(const ClusterPaths& paths, const SandboxOptions& options) {
  auto signals = ChildSignals::open();
  if (!signals) return fail(paths, "switch", signals.error());
  if (const auto made = make_switch(); !made) return fail(paths, "switch", made.error());
  const CgroupTree cgroups(paths.cgroup());
  std::vector<pid_t> nodes;
  for (int node = 1; node <= options.nodes; ++node) {
    if (const auto made = cgroups.create(node_name(node)); !made) return fail(paths, node_name(node), made.error());
    const auto pid = start_node(paths, options, node);
    if (!pid) return fail(paths, node_name(node), pid.error());
    nodes.push_back(*pid);
  }
  bool stopping = false;
  auto deadline = std::chrono::steady_clock::time_point::max();
  while (!nodes.empty()) {
    const auto signal = signals->next(stopping ? std::optional(100ms) : std::nullopt);
    if (signal == SIGTERM || signal == SIGINT) {
      if (!stopping) deadline = std::chrono::steady_clock::now() + kStopPatience;
      stopping = true;
      // A node's first process is the child of the `unshare` we started.
      for (const pid_t pid : nodes) {
        if (const int inner = first_child(pid); inner > 0) kill(inner, SIGTERM);
      }
    }
    std::erase_if(nodes, [](pid_t pid) { return waitpid(pid, nullptr, WNOHANG) == pid; });
    if (std::chrono::steady_clock::now() > deadline) break;
  }
  return 0;  // The system ends whatever is left.
}

int enter_node_main(const ClusterPaths& paths, const SandboxOptions& options, int node) {
  if (const auto entered = CgroupTree(paths.cgroup()).enter(node_name(node)); !entered) {
    return fail(paths, node_name(node), entered.error());
  }
  std::vector<std::string> argv = {
      "unshare",      "--cgroup",      "--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "--kill-child=SIGKILL",
      "--mount-proc", "--propagation", "private"};
  for (const std::string& word : command(paths, options, "node", node)) argv.push_back(word);
  std::vector<char*> pointers;
  for (std::string& word : argv) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  execvp(pointers[0], pointers.data());
  return fail(paths, node_name(node), system_error("run", "unshare"));
}

int node_main(const ClusterPaths& paths, const SandboxOptions& options, int node) {
  const std::string name = node_name(node);
  auto signals = ChildSignals::open();
  if (!signals) return fail(paths, name, signals.error());
  if (const auto plugged = plug_in(node); !plugged) return fail(paths, name, plugged.error());
  if (const auto made = make_node(paths, node); !made) return fail(paths, name, made.error());

  // The service manager of the node: a kubernel that ends is started again, later each time, until it stays.
  auto pause = kFirstRestartPause;
  bool stopping = false;
  while (!stopping) {
    const auto started = std::chrono::steady_clock::now();
    const auto pid = start_kubernel(paths, options, node);
    if (!pid) return fail(paths, name, pid.error());
    std::optional<int> code;
    while (!code) {
      const auto signal = signals->next(std::nullopt);
      if (signal == SIGTERM || signal == SIGINT) {
        stopping = true;
        kill(*pid, SIGTERM);
      }
      code = collect_children(*pid);
    }
    if (stopping) return *code;
    notify(paths, "FAILED=" + name + ": kubernel ended with exit code " + std::to_string(*code));
    if (std::chrono::steady_clock::now() - started > kLongRun) pause = kFirstRestartPause;
    std::fprintf(stderr, "%s: kubernel ended with exit code %d; starting it again in %lld ms\n", name.c_str(), *code,
                 static_cast<long long>(pause.count()));
    stopping = wait_before_restart(*signals, pause);
    pause = std::min(pause * 2, kLongestRestartPause);
  }
  return 0;
}

}  // namespace kubernel::cluster
