// SPDX-License-Identifier: Apache-2.0
#include "etcd_bench.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <grpcpp/grpcpp.h>

#include <kubernel/base/child_process.h>
#include <kubernel/testing/fake_clock.h>

#include "callbacks.h"
#include "core/base/system_clock.h"
#include "core/base/thread_pool.h"
#include "etcd_backend.h"
#include "etcd_process.h"
#include "facade.h"
#include "rpc.grpc.pb.h"
#include "server.h"
#include "sqlite_backend.h"

namespace kubernel::bench {
namespace {

using Steady = std::chrono::steady_clock;

constexpr int kClients = 64;
constexpr int kConnections = 8;
constexpr int kKeysEach = 200;

// Puts of 256 bytes per second, by 64 clients over 8 connections, each with keys of its own.
double puts_per_second(const std::string& url, double seconds) {
  std::vector<std::unique_ptr<etcdserverpb::KV::Stub>> stubs;
  for (int i = 0; i < kConnections; ++i) {
    grpc::ChannelArguments own;
    own.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    stubs.push_back(etcdserverpb::KV::NewStub(
        grpc::CreateCustomChannel(url.substr(url.find("//") + 2), grpc::InsecureChannelCredentials(), own)));
  }
  std::atomic<bool> stop = false;
  std::atomic<std::int64_t> done = 0;
  std::atomic<std::int64_t> failed = 0;
  const auto began = Steady::now();
  {
    std::vector<std::jthread> threads;
    for (int client = 0; client < kClients; ++client) {
      threads.emplace_back([&, client] {
        auto& stub = *stubs[static_cast<std::size_t>(client % kConnections)];
        etcdserverpb::PutRequest request;
        request.set_value(std::string(256, 'v'));
        etcdserverpb::PutResponse response;
        for (int i = 0; !stop; ++i) {
          request.set_key("/raw/" + std::to_string(client) + "/" + std::to_string(i % kKeysEach));
          grpc::ClientContext call;
          ++(stub.Put(&call, request, &response).ok() ? done : failed);
        }
      });
    }
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    stop = true;
  }
  if (failed != 0) throw std::runtime_error(std::to_string(failed) + " puts failed at " + url);
  return static_cast<double>(done) / std::chrono::duration<double>(Steady::now() - began).count();
}

// What a process has used of the processors so far.
double cpu_seconds(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string stat((std::istreambuf_iterator<char>(file)), {});
  std::istringstream rest(stat.substr(stat.rfind(')') + 1));
  std::string skipped;
  for (int i = 0; i < 11; ++i) rest >> skipped;
  double user = 0;
  double system = 0;
  rest >> user >> system;
  return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

// etcd-server in a process of its own, as etcd is: this program again (serve_etcd()).
class OurServer {
 public:
  explicit OurServer(const std::filesystem::path& directory) {
    std::array<int, 2> input{};
    std::array<int, 2> output{};
    if (::pipe2(input.data(), O_CLOEXEC) != 0 || ::pipe2(output.data(), O_CLOEXEC) != 0)
      throw std::runtime_error("no pipe");
    const UniqueFd its_input(input[0]);
    const UniqueFd its_output(output[1]);
    until_closed_ = UniqueFd(input[1]);
    const UniqueFd told(output[0]);
    ChildOptions options;
    options.argv = {std::filesystem::read_symlink("/proc/self/exe").string(), "serve-etcd", directory.string()};
    options.stdin_fd = its_input.get();
    options.stdout_fd = its_output.get();
    options.stderr_fd = STDERR_FILENO;
    auto spawned = spawn_child(options);
    if (!spawned) throw std::runtime_error(spawned.error().message());
    pid_ = *spawned;
    for (char c = 0; ::read(told.get(), &c, 1) == 1 && c != '\n';) url_ += c;
    if (url_.empty()) throw std::runtime_error("etcd-server did not start");
  }
  ~OurServer() {
    until_closed_.reset();
    if (const auto ended = wait_child({}, pid_); !ended) std::fprintf(stderr, "%s\n", ended.error().message().c_str());
  }
  OurServer(const OurServer&) = delete;
  OurServer& operator=(const OurServer&) = delete;

  const std::string& url() const { return url_; }
  pid_t pid() const { return pid_; }

 private:
  UniqueFd until_closed_;  // Its standard input.
  pid_t pid_ = -1;
  std::string url_;
};

struct Round {
  double puts = 0;  // A second.
  double cpu = 0;   // The server's, in seconds for one.
};

Round one_round(const std::string& url, pid_t server, double seconds) {
  const double cpu_before = cpu_seconds(server);
  Round round{.puts = puts_per_second(url, seconds)};
  round.cpu = (cpu_seconds(server) - cpu_before) / (round.puts * seconds);
  return round;
}

double middle(std::vector<double> all) {
  std::sort(all.begin(), all.end());
  return all[all.size() / 2];
}

// Peer and ours in turn, so that both meet the same machine; the first round warms up.
void measure(const testing::EtcdProcess& etcd, const std::filesystem::path& directory, double seconds) {
  constexpr int kRounds = 4;
  etcd_api::trust_lock_order();  // The clients' share of the processors is not what is measured.
  const OurServer our_server(directory);
  std::vector<double> theirs, their_cpu, ours, our_cpu, ratios;
  for (int round = 0; round < kRounds; ++round) {
    const Round one = one_round(etcd.url(), etcd.pid(), seconds / 2);
    const Round other = one_round(our_server.url(), our_server.pid(), seconds / 2);
    if (round == 0) continue;
    theirs.push_back(one.puts);
    their_cpu.push_back(one.cpu * 1e6);
    ours.push_back(other.puts);
    our_cpu.push_back(other.cpu * 1e6);
    ratios.push_back(other.puts / one.puts);
  }
  const auto [least, most] = std::minmax_element(ratios.begin(), ratios.end());
  std::printf("raw    64 clients of etcd, puts of 256 B: %8.0f writes/s, %5.1f us of the server's CPU each\n",
              middle(theirs), middle(their_cpu));
  std::printf(
      "C3 64 clients of etcd-server over sqlite: %8.0f writes/s, %5.1f us of the server's CPU each, "
      "%.2f times etcd (%.2f to %.2f in %zu rounds)\n",
      middle(ours), middle(our_cpu), middle(ratios), *least, *most, ratios.size());
}

// A watch of all keys with nothing around it.
class RawWatch {
 public:
  RawWatch(const std::string& url, std::function<void(storage::Revision)> seen)
      : stub_(etcdserverpb::Watch::NewStub(
            grpc::CreateChannel(url.substr(url.find("//") + 2), grpc::InsecureChannelCredentials()))),
        stream_(stub_->Watch(&call_)) {
    etcdserverpb::WatchRequest request;
    auto& create = *request.mutable_create_request();
    create.set_key(std::string(1, '\0'));
    create.set_range_end(std::string(1, '\0'));
    etcdserverpb::WatchResponse response;
    if (!stream_->Write(request) || !stream_->Read(&response)) throw std::runtime_error("no watch of " + url);
    reader_ = std::jthread([this, seen = std::move(seen)] {
      for (etcdserverpb::WatchResponse next; stream_->Read(&next); next.Clear()) {
        for (const auto& event : next.events()) seen(event.kv().mod_revision());
      }
    });
  }
  ~RawWatch() {
    call_.TryCancel();
    reader_.join();
    stream_->Finish();
  }
  RawWatch(const RawWatch&) = delete;
  RawWatch& operator=(const RawWatch&) = delete;

 private:
  std::unique_ptr<etcdserverpb::Watch::Stub> stub_;
  grpc::ClientContext call_;
  std::unique_ptr<grpc::ClientReaderWriter<etcdserverpb::WatchRequest, etcdserverpb::WatchResponse>> stream_;
  std::jthread reader_;
};

}  // namespace

MeasuredServer start_etcd(const std::filesystem::path& directory, std::string& why) {
  if (!testing::have_etcd()) {
    why = "etcd-server is not installed";
    return {};
  }
  ::setenv("TMPDIR", directory.c_str(), 1);
  const std::shared_ptr<testing::EtcdProcess> etcd =
      testing::EtcdProcess::start({"--unsafe-no-fsync=false", "--quota-backend-bytes=8000000000"});
  MeasuredServer measured;
  measured.process = etcd;
  measured.open = [etcd](storage::BackendContext context) {
    context.config_json = R"({"endpoints":[")" + etcd->url() + R"("]})";
    return storage_etcd::open_etcd(context);
  };
  measured.measure_raw = [etcd, directory](double seconds) { measure(*etcd, directory, seconds); };
  measured.watch_raw = [etcd](std::function<void(storage::Revision)> seen) -> std::shared_ptr<void> {
    return std::make_shared<RawWatch>(etcd->url(), std::move(seen));
  };
  return measured;
}

int serve_etcd(const std::string& directory) {
  testing::RecordingLogger log;
  testing::RecordingMetrics metrics;
  testing::NoPoller poller;
  core::SystemClock clock;
  core::ThreadPool pool{{.name = "blocking"}, log, metrics};
  auto store =
      storage_sqlite::open_sqlite({R"({"path":")" + directory + R"(/facade.db"})", log, metrics, clock, pool, poller});
  if (!store) throw std::runtime_error(store.error().message());
  auto server = etcd_server::Server::open({**store, clock, pool, log, metrics}, testing::facade_config());
  if (!server) throw std::runtime_error(server.error().message());
  std::printf("http://%s\n", (*server)->addresses().front().c_str());
  std::fflush(stdout);
  for (char c = 0; ::read(STDIN_FILENO, &c, 1) > 0;) continue;
  (*server)->stop({});
  return 0;
}

}  // namespace kubernel::bench
