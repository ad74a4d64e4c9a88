// SPDX-License-Identifier: Apache-2.0
#include "up.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <functional>

#include <kubernel/base/child_process.h>
#include <kubernel/crypto/cluster_pki.h>

#include "api_access.h"
#include "cgroup_tree.h"
#include "files.h"
#include "images.h"
#include "install_paths.h"
#include "sandbox.h"

namespace kubernel::cluster {
namespace {

using SteadyClock = std::chrono::steady_clock;
namespace fs = std::filesystem;

// Says what is being done and how long it took.
Result<void> step(const std::string& what, const std::function<Result<void>()>& work) {
  std::fprintf(stderr, "  %s ...", what.c_str());
  const auto begin = SteadyClock::now();
  auto outcome = work();
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(SteadyClock::now() - begin);
  std::fprintf(stderr, outcome ? " %lld ms\n" : " failed\n", static_cast<long long>(took.count()));
  return outcome;
}

Result<void> check_machine() {
  if (geteuid() != 0) return Error(Reason::Forbidden, "a cluster needs root: it makes namespaces, mounts and cgroups");
  for (const char* program : {"unshare", "ip", "conmon"}) {
    const auto found = run_child({}, {.argv = {"sh", "-c", std::string("command -v ") + program},
                                      .env = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}});
    if (!found || found->exit_code != 0) {
      return Error(Reason::NotFound,
                   std::string("the program ") + program + " is not installed; `./dev build` installs what is needed");
    }
  }
  return {};
}

// The API's door on the host: opened here, handed down into namespaces that have no other way out.
Result<UniqueFd> listen_on_loopback(int port, int* bound_port) {
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return system_error("open", "socket");
  const int yes = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  const std::string name = "127.0.0.1:" + std::to_string(port);
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return Error(Reason::ServiceUnavailable, "address " + name +
                                                 (errno == EADDRINUSE ? " is already in use; choose another with --port"
                                                                      : ": " + std::string(std::strerror(errno))));
  }
  if (listen(fd.get(), SOMAXCONN) != 0) return system_error("listen on", name);
  socklen_t size = sizeof(address);
  if (getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
    return system_error("read address of", name);
  *bound_port = ntohs(address.sin_port);
  return fd;
}

Result<void> write_credentials(const ClusterPaths& paths, const UpOptions& options, int port) {
  const auto now = std::chrono::system_clock::now();
  crypto::ServerNames names{{"localhost"}, {"127.0.0.1", node_ip(1)}};
  KUBERNEL_TRY(const crypto::ClusterPki pki, crypto::open_cluster_pki(paths.pki(), names, now));
  KUBERNEL_TRY(const crypto::KeyPair admin, crypto::issue_client(pki.ca, "kubernetes-admin", {"system:masters"}, now));
  KUBERNEL_CHECK_OK(crypto::write_private_file(
      paths.kubeconfig(), crypto::kubeconfig("https://127.0.0.1:" + std::to_string(port), options.name,
                                             "kubernetes-admin", pki.ca.certificate_pem, admin)));
  for (int node = 2; node <= options.nodes; ++node) {
    KUBERNEL_CHECK_OK(make_directory(paths.node(node)));
    const std::string user = "system:node:" + node_name(node);
    KUBERNEL_TRY(const crypto::KeyPair pair, crypto::issue_client(pki.ca, user, {"system:nodes"}, now));
    KUBERNEL_CHECK_OK(crypto::write_private_file(
        paths.node(node) + "/kubeconfig",
        crypto::kubeconfig("https://" + node_ip(1) + ":6443", options.name, user, pki.ca.certificate_pem, pair)));
  }
  return {};
}

// Where nodes say that they are ready, or why not.
Result<UniqueFd> listen_for_notices(const ClusterPaths& paths) {
  UniqueFd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = paths.notify_socket();
  if (path.size() >= sizeof(address.sun_path)) {
    return Error(Reason::BadRequest, "path " + path + " is too long for a socket; choose a shorter --state-dir");
  }
  std::memcpy(address.sun_path, path.c_str(), path.size());
  unlink(path.c_str());
  if (!fd || bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
    return system_error("bind", path);
  if (chmod(path.c_str(), 0600) != 0) return system_error("protect", path);
  return fd;
}

// Reads notices until `count` nodes are ready. `holder` is a pidfd: readable once the cluster's process has ended.
Result<void> wait_until_ready(int notices, int holder, int count, SteadyClock::time_point deadline) {
  int ready = 0;
  while (ready < count) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - SteadyClock::now());
    pollfd waiting[] = {{notices, POLLIN, 0}, {holder, POLLIN, 0}};
    if (left.count() <= 0 || poll(waiting, 2, static_cast<int>(left.count())) == 0) {
      return Error(Reason::Timeout,
                   std::to_string(ready) + " of " + std::to_string(count) + " nodes said they are ready");
    }
    if ((waiting[0].revents & POLLIN) != 0) {
      char buffer[4096];
      const ssize_t size = recv(notices, buffer, sizeof(buffer), 0);
      const std::string notice(buffer, size > 0 ? static_cast<std::size_t>(size) : 0);
      if (notice.starts_with("FAILED=")) return Error(Reason::Internal, notice.substr(7));
      if (notice.find("READY=1") != std::string::npos) ++ready;
      continue;
    }
    if (waiting[1].revents != 0) return Error(Reason::Internal, "the cluster's process ended");
  }
  return {};
}

Result<pid_t> start_holder(const ClusterPaths& paths, SandboxOptions sandbox, const UniqueFd& api_socket) {
  constexpr int kFirstInheritedFd = 3;
  sandbox.listen_fd = kFirstInheritedFd;
  const UniqueFd log(open(paths.log().c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!log) return system_error("open", paths.log());
  ChildOptions child;
  child.argv = {"setsid",
                "unshare",
                "--net",
                "--mount",
                "--pid",
                "--uts",
                "--ipc",
                "--fork",
                "--kill-child=SIGKILL",
                "--mount-proc",
                "--propagation",
                "private",
                sandbox.self,
                "switch",
                paths.directory,
                to_argument(sandbox),
                "0"};
  for (char** entry = environ; *entry != nullptr; ++entry) child.env.emplace_back(*entry);
  child.working_dir = "/";
  child.stdout_fd = log.get();
  child.stderr_fd = log.get();
  child.inherit.emplace_back(kFirstInheritedFd, api_socket.get());
  return spawn_child(child);
}

std::string last_lines(const std::string& path, int count) {
  const std::string text = read_text(path);
  std::size_t begin = text.size();
  // The newline that ends the last line does not count, so one more is passed.
  for (int i = 0; i <= count && begin > 0; ++i) {
    const auto newline = text.rfind('\n', begin - 1);
    if (newline == std::string::npos) return text;
    begin = newline;
  }
  return begin < text.size() ? text.substr(begin + 1) : "";
}

Result<UniqueFd> process_handle(int pid) {
  UniqueFd fd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!fd) return system_error("watch process", std::to_string(pid));
  return fd;
}

// Waits for the end of a process; true when it came before `patience` was over.
bool has_ended(int handle, std::chrono::milliseconds patience) {
  pollfd waiting{handle, POLLIN, 0};
  return poll(&waiting, 1, static_cast<int>(patience.count())) > 0;
}

Result<void> stop_holder(const ClusterRecord& record) {
  if (!is_running(record)) return {};
  KUBERNEL_TRY(const UniqueFd holder, process_handle(record.pid));
  // The holder is `unshare`, which ignores SIGTERM; its child, the switch, stops the nodes in order.
  if (const int inner = first_child(record.pid); inner > 0) kill(inner, SIGTERM);
  if (has_ended(holder.get(), std::chrono::seconds(25))) return {};
  kill(record.pid, SIGKILL);  // Takes the switch with it, and that every process of the cluster.
  if (has_ended(holder.get(), std::chrono::seconds(5))) return {};
  return Error(Reason::Internal, "process " + std::to_string(record.pid) + " does not end");
}

// Brings a cluster up step by step; what the steps share.
class Start {
 public:
  Start(const ClusterPaths& paths, const UpOptions& options, ClusterRecord& record)
      : paths_(paths), options_(options), record_(record), deadline_(SteadyClock::now() + options.timeout) {}

  Result<void> run() {
    KUBERNEL_CHECK_OK(step("certificates and kubeconfig", [this] { return prepare(); }));
    KUBERNEL_CHECK_OK(step("nodes", [this] { return start_nodes(); }));
    KUBERNEL_TRY(const auto api, ApiAccess::open(paths_, record_.api_port));
    KUBERNEL_CHECK_OK(step("nodes Ready", [&] { return api->wait_for_nodes(options_.nodes, deadline_); }));
    for (const std::string& image : options_.images) {
      KUBERNEL_CHECK_OK(
          step("image " + fs::path(image).filename().string(), [&] { return load_image(*api, record_, image); }));
    }
    return {};
  }

 private:
  Result<void> prepare() {
    KUBERNEL_TRY(api_socket_, listen_on_loopback(record_.api_port, &record_.api_port));
    KUBERNEL_CHECK_OK(write_credentials(paths_, options_, record_.api_port));
    KUBERNEL_TRY(notices_, listen_for_notices(paths_));
    return {};
  }

  Result<void> start_nodes() {
    KUBERNEL_TRY(const InstallPaths install, find_install_paths());
    SandboxOptions sandbox{.self = install.self, .kubernel = install.kubernel, .nodes = options_.nodes};
    sandbox.first_manifest =
        options_.manifest.empty() ? install.config + "/all-in-one.yaml" : fs::absolute(options_.manifest).string();
    sandbox.other_manifest =
        options_.node_manifest.empty() ? install.config + "/node.yaml" : fs::absolute(options_.node_manifest).string();
    KUBERNEL_TRY(record_.pid, start_holder(paths_, sandbox, api_socket_));
    record_.started = process_start_time(record_.pid);
    KUBERNEL_CHECK_OK(save_record(paths_, record_));
    KUBERNEL_TRY(const UniqueFd holder, process_handle(record_.pid));
    return wait_until_ready(notices_.get(), holder.get(), options_.nodes, deadline_);
  }

  const ClusterPaths& paths_;
  const UpOptions& options_;
  ClusterRecord& record_;
  const SteadyClock::time_point deadline_;
  UniqueFd api_socket_;
  UniqueFd notices_;
};

// The cluster runs already: well, unless another one was asked for.
Result<ClusterRecord> go_on_with(const ClusterPaths& paths, const ClusterRecord& running, const UpOptions& options) {
  const bool other_port = options.port != 0 && options.port != running.api_port;
  if (running.nodes != options.nodes || other_port || !options.manifest.empty() || !options.node_manifest.empty()) {
    return Error(Reason::AlreadyExists, "cluster \"" + options.name + "\" is running with " +
                                            std::to_string(running.nodes) + " node(s) on port " +
                                            std::to_string(running.api_port) +
                                            "; `kubernel down` stops it, then it can start in another shape");
  }
  std::fprintf(stderr, "  is running already\n");
  KUBERNEL_TRY(const auto api, ApiAccess::open(paths, running.api_port));
  for (const std::string& image : options.images) {
    KUBERNEL_CHECK_OK(
        step("image " + fs::path(image).filename().string(), [&] { return load_image(*api, running, image); }));
  }
  return running;
}

}  // namespace

Result<ClusterRecord> up(const ClusterPaths& paths, const UpOptions& options) {
  KUBERNEL_CHECK_OK(check_machine());
  ClusterRecord record{options.name, options.nodes, options.port, 0, 0};
  if (const auto existing = load_record(paths)) {
    if (is_running(*existing)) return go_on_with(paths, *existing, options);
    if (options.port == 0) record.api_port = existing->api_port;  // Old kubeconfigs go on working.
  }
  KUBERNEL_CHECK_OK(make_directory(paths.directory));
  if (chmod(paths.directory.c_str(), 0700) != 0) return system_error("protect", paths.directory);
  auto started = Start(paths, options, record).run();
  unlink(paths.notify_socket().c_str());
  if (started) return record;

  std::string log;
  for (int node = 1; node <= options.nodes; ++node) log += last_lines(paths.node_log(node), 8);
  const std::string from_switch = last_lines(paths.log(), 8);
  if (const auto stopped = stop_holder(record); !stopped)
    std::fprintf(stderr, "kubernel up: %s\n", stopped.error().message().c_str());
  if (const auto removed = CgroupTree(paths.cgroup()).remove(); !removed)
    std::fprintf(stderr, "kubernel up: %s\n", removed.error().message().c_str());
  std::fprintf(stderr, "%s%s", from_switch.c_str(), log.c_str());
  return std::move(started).error();
}

Result<void> down(const ClusterPaths& paths, bool keep_data) {
  KUBERNEL_TRY(const ClusterRecord record, load_record(paths));
  KUBERNEL_CHECK_OK(stop_holder(record));
  waitpid(record.pid, nullptr, WNOHANG);  // When `up` ran in this very process.
  KUBERNEL_CHECK_OK(CgroupTree(paths.cgroup()).remove());
  if (keep_data) return {};
  std::error_code failure;
  fs::remove_all(paths.directory, failure);
  if (failure) return Error(Reason::Internal, "remove " + paths.directory + ": " + failure.message());
  return {};
}

}  // namespace kubernel::cluster
