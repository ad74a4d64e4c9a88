// SPDX-License-Identifier: Apache-2.0
//
// scheduler-core-bench: decisions alone, on a snapshot: filter, score, choose, and the pod counts on its node. No API,
// no store, no queue.
//
//   scheduler-core-bench [NODES [PODS]]
//
// Prints a line for each kind of pod: decisions a second, CPU time of each, and how many nodes one looked at.

#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <typeinfo>
#include <vector>

#include <kubernel/testing/fake_clock.h>
#include <kubernel/testing/fake_cluster.h>
#include <kubernel/testing/scheduler_handle.h>

#include "algorithm.h"
#include "cache.h"
#include "core/base/log_sink.h"
#include "core/base/process_metrics.h"
#include "core/base/system_clock.h"
#include "core/base/thread_pool.h"
#include "default_binder.h"
#include "image_locality.h"
#include "inter_pod_affinity.h"
#include "node_affinity.h"
#include "node_name.h"
#include "node_ports.h"
#include "node_resources_balanced_allocation.h"
#include "node_resources_fit.h"
#include "node_unschedulable.h"
#include "nominator.h"
#include "pod_topology_spread.h"
#include "priority_sort.h"
#include "profile.h"
#include "taint_toleration.h"

namespace {

using namespace kubernel;
using scheduler::PluginSpec;

[[noreturn]] void fail(const std::string& why) {
  std::fprintf(stderr, "scheduler-core-bench: %s\n", why.c_str());
  std::exit(1);
}

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

class Core {
 public:
  explicit Core(std::size_t nodes)
      : sink_(2, LogLevel::Error, core::LogFormat::Text, clock_),
        log_(sink_.logger("bench")),
        compute_({"compute", std::max<std::size_t>(1, std::thread::hardware_concurrency()), 65536}, *log_, metrics_),
        handle_(*recorder_) {
    namespace p = plugins;
    provide("PrioritySort", p::make_priority_sort, 1);
    provide("NodeUnschedulable", p::make_node_unschedulable, 1);
    provide("NodeName", p::make_node_name, 1);
    provide("TaintToleration", p::make_taint_toleration, 3);
    provide("NodeAffinity", p::make_node_affinity, 2);
    provide("NodePorts", p::make_node_ports, 1);
    provide("NodeResourcesFit", p::make_node_resources_fit, 1);
    provide("PodTopologySpread", p::make_pod_topology_spread, 2);
    provide("InterPodAffinity", p::make_inter_pod_affinity, 2);
    provide("NodeResourcesBalancedAllocation", p::make_node_resources_balanced_allocation, 1);
    provide("ImageLocality", p::make_image_locality, 1);
    provide("DefaultBinder", p::make_default_binder, 1);
    std::vector<plugin::Provided<PluginSpec>> provided;
    for (std::size_t i = 0; i < specs_.size(); ++i) provided.push_back({extensions_[i].get(), specs_[i].get()});
    auto profile = p::Profile::make(provided, {}, {handle_, cluster_, *informers_, *log_, clock_, metrics_, random_});
    if (!profile) fail(profile.error().message());
    profile_ = *std::move(profile);
    algorithm_ = std::make_unique<p::Algorithm>(
        p::Algorithm::Surroundings{*profile_, nominator_, extenders_, profile_metrics_, clock_, compute_, random_,
                                   *log_},
        p::Algorithm::Options{0, std::max<std::size_t>(1, std::thread::hardware_concurrency()) - 1});
    informers_->start();
    informer_executor_.run_all();
    for (std::size_t i = 0; i < nodes; ++i) add_node(i);
  }

  void measure(const char* name, const std::string& labels, const std::string& spec, std::size_t pods) {
    std::vector<std::shared_ptr<const scheduler::PodInfo>> waiting;
    for (std::size_t i = 0; i < pods; ++i) {
      const std::string id = std::string(name) + "-" + std::to_string(i);
      waiting.push_back(std::make_shared<const scheduler::PodInfo>(
          parse(R"({"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"test","name":")" + id + R"(","uid":")" +
                id + R"(","labels":)" + labels + R"(},"spec":)" + spec + "}")));
    }
    std::size_t looked_at = 0;
    std::size_t placed = 0;
    const double cpu = cpu_seconds();
    const auto began = std::chrono::steady_clock::now();
    for (const auto& pod : waiting) {
      scheduler::Cycle cycle{pod, cache_.snapshot(), {}, {}, {}};
      auto decision = algorithm_->decide({}, cycle);
      if (!decision) fail(decision.error().message());
      looked_at += decision->evaluated;
      if (decision->node.empty()) continue;
      ++placed;
      cycle.snapshot.reset();
      cache_.assume(*pod, decision->node);
    }
    const double wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    const auto count = static_cast<double>(pods);
    std::printf("%-16s %7zu pods, %7zu placed  %8.0f decisions/s  %6.1f us CPU each  %5.0f nodes looked at\n", name,
                pods, placed, count / wall, (cpu_seconds() - cpu) / count * 1e6,
                static_cast<double>(looked_at) / count);
    for (const auto& pod : waiting) cache_.forget(pod->uid());
  }

 private:
  static api::Object parse(const std::string& text) {
    auto parsed = api::Object::parse(text);
    if (!parsed) fail(parsed.error().message());
    return *std::move(parsed);
  }

  void add_node(std::size_t i) {
    const std::string name = "node-" + std::to_string(i);
    const std::string zone = "zone-" + std::to_string(i % 3);
    cache_.set_node(parse(R"({"apiVersion":"v1","kind":"Node","metadata":{"name":")" + name +
                          R"(","labels":{"kubernetes.io/hostname":")" + name + R"(","topology.kubernetes.io/zone":")" +
                          zone +
                          R"("}},"spec":{},"status":{"allocatable":{"cpu":"4","memory":"32Gi","pods":"110"}}})"));
  }

  using Make = Result<std::unique_ptr<scheduler::Plugin>> (*)(const scheduler::PluginContext&);
  void provide(const std::string& name, Make make, int weight) {
    specs_.push_back(std::make_shared<const PluginSpec>(PluginSpec{weight, make}));
    extensions_.push_back(std::make_unique<plugin::Extension>(
        plugin::Extension{"scheduler", name, name, "{}", &typeid(PluginSpec), specs_.back()}));
  }

  core::SystemClock clock_;
  core::LogSink sink_;
  std::unique_ptr<Logger> log_;
  core::ProcessMetrics metrics_;
  testing::SeededRandom random_{1};
  core::ThreadPool compute_;
  testing::FakeClock api_clock_;
  testing::FakeCluster cluster_{api_clock_};
  testing::ManualExecutor informer_executor_;
  std::unique_ptr<client::EventRecorder> recorder_ =
      client::make_event_recorder(cluster_, {"default-scheduler", ""}, *log_, api_clock_, random_, informer_executor_);
  testing::NoHandle handle_;
  std::unique_ptr<client::InformerFactory> informers_ =
      client::make_informer_factory({*log_, api_clock_, random_, informer_executor_}, cluster_);
  std::vector<std::shared_ptr<const PluginSpec>> specs_;
  std::vector<std::unique_ptr<plugin::Extension>> extensions_;
  std::unique_ptr<plugins::Profile> profile_;
  plugins::Nominator nominator_;
  const std::vector<std::unique_ptr<plugins::Extender>> extenders_;
  plugins::ProfileMetrics profile_metrics_{metrics_, "default-scheduler", {}};
  plugins::SchedulerCache cache_;
  std::unique_ptr<plugins::Algorithm> algorithm_;
};

}  // namespace

int main(int argc, char** argv) {
  const std::size_t nodes = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 5000;
  const std::size_t pods = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 10000;
  if (nodes == 0 || pods == 0) fail("usage: scheduler-core-bench [NODES [PODS]]");
  const std::string containers =
      R"("containers":[{"name":"c","image":"pause","resources":{"requests":{"cpu":"1m","memory":"1Mi"}}}])";
  Core core(nodes);
  core.measure("plain", "{}", "{" + containers + "}", pods);
  core.measure(
      "spreading", R"({"app":"a"})",
      "{" + containers +
          R"(,"topologySpreadConstraints":[{"maxSkew":5,"topologyKey":"topology.kubernetes.io/zone","whenUnsatisfiable":"DoNotSchedule",)" +
          R"("labelSelector":{"matchLabels":{"app":"a"}}}]})",
      pods);
  core.measure(
      "anti-affinity", R"({"app":"b"})",
      "{" + containers +
          R"(,"affinity":{"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"topologyKey":"kubernetes.io/hostname",)" +
          R"("labelSelector":{"matchLabels":{"app":"b"}}}]}}})",
      std::min(pods, nodes / 2));
  return 0;
}
