// SPDX-License-Identifier: Apache-2.0
#include "etcd_process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <stdexcept>
#include <string_view>

namespace kubernel::testing {

bool have_etcd() {
  return ::access("/usr/bin/etcd", X_OK) == 0;
}

// Below those that the kernel gives to connections: one of them could have the port by the time etcd listens, or is
// started again.
int free_port() {
  std::random_device random;
  std::uniform_int_distribution<int> ports(10'000, 32'767);
  for (int tries = 0; tries < 100; ++tries) {
    const int port = ports(random);
    const UniqueFd probe(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    if (::bind(probe.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return port;
  }
  throw std::runtime_error("no free port");
}

EtcdProcess::EtcdProcess(std::string name, std::vector<std::string> arguments)
    : arguments_(std::move(arguments)), name_(std::move(name)) {
  std::string pattern = (std::filesystem::temp_directory_path() / "kubernel-etcd-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no directory for etcd");
  directory_ = pattern;
  bool secure = false;
  for (const std::string& argument : arguments_) secure |= argument.starts_with("--cert-file");
  url_ = (secure ? "https" : "http") + std::string("://127.0.0.1:") + std::to_string(free_port());
  peer_url_ = "http://127.0.0.1:" + std::to_string(free_port());
  cluster_ = name_ + "=" + peer_url_;
}

std::unique_ptr<EtcdProcess> EtcdProcess::start(std::vector<std::string> arguments) {
  std::unique_ptr<EtcdProcess> etcd(new EtcdProcess("n1", std::move(arguments)));
  etcd->spawn();
  etcd->wait_until_it_serves();
  return etcd;
}

std::vector<std::unique_ptr<EtcdProcess>> EtcdProcess::start_cluster(int members) {
  std::vector<std::unique_ptr<EtcdProcess>> etcds;
  std::string cluster;
  for (int i = 1; i <= members; ++i) {
    etcds.emplace_back(new EtcdProcess("n" + std::to_string(i)));
    cluster += (i == 1 ? "" : ",") + etcds.back()->cluster_;
  }
  for (auto& etcd : etcds) {
    etcd->cluster_ = cluster;
    etcd->spawn();
  }
  for (auto& etcd : etcds) etcd->wait_until_it_serves();
  return etcds;
}

void EtcdProcess::spawn() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
  log_ = UniqueFd(ends[0]);
  UniqueFd write_end(ends[1]);
  const bool alone = cluster_.find(',') == std::string::npos;
  ChildOptions options;
  options.argv = {"/usr/bin/etcd", "--name", name_, "--data-dir", (directory_ / "data").string(),
                  "--listen-client-urls", url_, "--advertise-client-urls", url_, "--listen-peer-urls", peer_url_,
                  "--initial-advertise-peer-urls", peer_url_, "--initial-cluster", cluster_, "--unsafe-no-fsync",
                  // A member alone elects itself after one time-out, and gives no lease less than one and a half.
                  "--heartbeat-interval", alone ? "10" : "50", "--election-timeout", alone ? "100" : "500"};
  options.argv.insert(options.argv.end(), arguments_.begin(), arguments_.end());
  options.stderr_fd = write_end.get();
  auto spawned = spawn_child(options);
  if (!spawned) throw std::runtime_error(spawned.error().message());
  pid_ = *spawned;
}

void EtcdProcess::wait_until_it_serves() {
  std::string log;
  std::array<char, 4096> buffer{};
  while (log.find("ready to serve client requests") == std::string::npos &&
         log.find("serving insecure client requests") == std::string::npos) {
    const auto got = ::read(log_.get(), buffer.data(), buffer.size());
    if (got <= 0) throw std::runtime_error("etcd did not start: " + log);
    log.append(buffer.data(), static_cast<std::size_t>(got));
  }
  reader_ = std::jthread([fd = std::move(log_)] {
    std::array<char, 4096> dropped{};
    while (::read(fd.get(), dropped.data(), dropped.size()) > 0) {
    }
  });
}

void EtcdProcess::freeze() {
  ::kill(pid_, SIGSTOP);
  // The signal takes its time to reach all threads.
  siginfo_t stopped{};
  while (waitid(P_PID, static_cast<id_t>(pid_), &stopped, WSTOPPED) != 0 && errno == EINTR) continue;
}

void EtcdProcess::thaw() {
  ::kill(pid_, SIGCONT);
}

void EtcdProcess::kill() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  const auto ended = wait_child({}, pid_);
  if (!ended) std::fprintf(stderr, "etcd: %s\n", ended.error().message().c_str());
  pid_ = -1;
  if (reader_.joinable()) reader_.join();
}

void EtcdProcess::start_again() {
  spawn();
  wait_until_it_serves();
}

EtcdProcess::~EtcdProcess() {
  kill();
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

}  // namespace kubernel::testing
