// SPDX-License-Identifier: Apache-2.0
#include "etcd_bench.h"

#include <stdlib.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <grpcpp/grpcpp.h>

#include <kubernel/testing/fake_clock.h>

#include "core/base/system_clock.h"
#include "core/base/thread_pool.h"
#include "etcd_backend.h"
#include "etcd_process.h"
#include "facade.h"
#include "rpc.grpc.pb.h"
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

// Peer and ours in turn, so that both meet the same machine; the first round warms up.
void measure(const testing::EtcdProcess& etcd, const std::filesystem::path& directory, double seconds) {
  constexpr int kRounds = 4;
  testing::RecordingLogger log;
  testing::RecordingMetrics metrics;
  testing::NoPoller poller;
  core::SystemClock clock;
  core::ThreadPool pool{{.name = "blocking", .threads = 4}, log, metrics};
  auto store = storage_sqlite::open_sqlite(
      {R"({"path":")" + (directory / "facade.db").string() + R"("})", log, metrics, clock, pool, poller});
  if (!store) throw std::runtime_error(store.error().message());
  const testing::Facade facade(**store, clock);
  std::vector<double> theirs;
  std::vector<double> ours;
  std::vector<double> ratios;
  for (int round = 0; round < kRounds; ++round) {
    const double etcd_puts = puts_per_second(etcd.url(), seconds / 2);
    const double our_puts = puts_per_second(facade.url(), seconds / 2);
    if (round == 0) continue;
    theirs.push_back(etcd_puts);
    ours.push_back(our_puts);
    ratios.push_back(our_puts / etcd_puts);
  }
  for (auto* all : {&theirs, &ours, &ratios}) std::sort(all->begin(), all->end());
  const auto middle = theirs.size() / 2;
  std::printf("raw    64 clients of etcd, puts of 256 B: %8.0f writes/s\n", theirs[middle]);
  std::printf("C3 64 clients of etcd-server over sqlite: %8.0f writes/s, %.2f times etcd (%.2f to %.2f in %zu rounds)\n",
              ours[middle], ratios[middle], ratios.front(), ratios.back(), ratios.size());
}

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
  return measured;
}

}  // namespace kubernel::bench
