// SPDX-License-Identifier: Apache-2.0
//
// scheduler-bench: one of upstream's scheduler_perf workloads against a control plane in this process.
//
//   scheduler-bench --plugins DIR --manifest FILE [--data DIR] [--memory] [--scale X] [--details] WORKLOAD.yaml
//
// Prints one line: pods bound a second from the first create to the last binding, as a multiple of what upstream's CI
// asks for, CPU time per pod (of everything: creating, storing, watching, scheduling, binding), and peak memory.
// --details adds a line for each of the scheduler's histograms. --scale multiplies every count. Storage is SQLite with
// durable commits; --memory takes the store in memory.

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <kubernel/api/resource.h>

#include "workload.h"
#include "world.h"

namespace {

using namespace kubernel;
using bench::Step;
using nlohmann::json;
using Steady = std::chrono::steady_clock;

constexpr int kWriters = 16;
constexpr std::chrono::seconds kPatience{30};  // Without a pod being bound.

[[noreturn]] void fail(const std::string& why) {
  std::fprintf(stderr, "scheduler-bench: %s\n", why.c_str());
  std::exit(1);
}

api::Resource resource_of(const Step& step) {
  const json& version = step.object.value("apiVersion", json("v1"));
  const auto gvk = api::make_gvk(version.get<std::string>(), "");
  return {gvk.group, gvk.version, step.resource};
}

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

std::filesystem::path temporary_directory() {
  std::string name = (std::filesystem::temp_directory_path() / "scheduler-bench-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) fail("cannot make a temporary directory");
  return name;
}

long peak_kb() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::atol(line.c_str() + 6);
  }
  return 0;
}

// Pods that have a node, as a watch reports them.
class BoundPods {
 public:
  explicit BoundPods(client::ApiClient& api) : api_(api) { open(); }

  // In that namespace, or those that differ from it by a number: others' pods are bound meanwhile.
  std::size_t count(const std::string& ns) const {
    const auto number = ns.find('$');
    if (number == std::string::npos) return counts_.contains(ns) ? counts_.at(ns) : 0;
    std::size_t sum = 0;
    for (const auto& [name, bound] : counts_) {
      if (name.starts_with(ns.substr(0, number))) sum += bound;
    }
    return sum;
  }
  Steady::time_point last() const { return last_; }

  // Returns when `wanted` pods of the namespace have a node; calls `meanwhile` every `pause` (never when zero).
  void wait_for(const std::string& ns, std::size_t wanted, std::chrono::milliseconds pause,
                const std::function<void()>& meanwhile) {
    last_ = Steady::now();
    auto next = last_ + pause;
    while (take(), count(ns) < wanted) {
      if (Steady::now() - last_ > kPatience) give_up(wanted - count(ns));
      std::unique_lock lock(mutex_);
      const auto until = pause.count() > 0 ? next : Steady::now() + std::chrono::seconds(1);
      changed_.wait_until(lock, until, [&] { return ready_; });
      ready_ = false;
      lock.unlock();
      if (pause.count() == 0 || Steady::now() < next) continue;
      meanwhile();
      next += pause;
    }
  }

  // Tells of each pod of the namespace that is bound from now on, for so long.
  void tell(const std::string& ns, std::chrono::seconds time, const std::function<void(const api::ObjectKey&)>& told) {
    const auto until = Steady::now() + time;
    told_ = [&](const api::ObjectKey& key) {
      if (key.ns == ns) told(key);
    };
    while (take(), Steady::now() < until) {
      std::unique_lock lock(mutex_);
      changed_.wait_until(lock, until, [&] { return ready_; });
      ready_ = false;
    }
    told_ = nullptr;
  }

 private:
  [[noreturn]] void give_up(std::size_t missing) {
    std::string why =
        "no pod was bound for " + std::to_string(kPatience.count()) + " s; " + std::to_string(missing) + " are missing";
    const auto waiting = api_.list({}, api::resources::kPods, {.field_selector = "spec.nodeName=", .limit = 1});
    if (waiting && !waiting->items.empty()) why += "; one of them: " + waiting->items.front().pointer("/status").dump();
    fail(why);
  }

  void open() {
    auto watch =
        api_.watch({}, api::resources::kPods, {.field_selector = "spec.nodeName!=", .resource_version = version_});
    if (!watch) fail("cannot watch pods: " + watch.error().message());
    watch_ = *std::move(watch);
    watch_->notify([this] {
      const std::lock_guard lock(mutex_);
      ready_ = true;
      changed_.notify_one();
    });
  }

  void take() {
    for (;;) {
      auto events = watch_->take(1000);
      if (!events) {
        if (events.error().reason() != Reason::Timeout) fail("the watch of pods ended: " + events.error().message());
        open();
        continue;
      }
      if (events->empty()) return;
      for (const auto& event : *events) {
        version_ = event.object.head().resource_version;
        if (event.type != client::EventType::Added) continue;
        ++counts_[event.object.ns()];
        last_ = Steady::now();
        if (told_) told_(event.object.key());
      }
    }
  }

  client::ApiClient& api_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ready_ = false;
  std::unique_ptr<client::Watch> watch_;
  std::int64_t version_ = 0;
  std::map<std::string, std::size_t> counts_;
  Steady::time_point last_;
  std::function<void(const api::ObjectKey&)> told_;
};

class Run {
 public:
  Run(bench::World& world, const bench::Workload& workload) : world_(world), workload_(workload), bound_(world.api()) {}

  void play() {
    for (const Step& step : workload_.steps) {
      if (step.kind == Step::Kind::Create) {
        play(step);
      } else if (step.kind == Step::Kind::Steady) {
        play_steadily(step);
      } else {
        churns_.push_back({&step, 0});
      }
    }
  }

  void print() const {
    const double rate = static_cast<double>(pods_) / wall_;
    const auto beside = [rate](double upstream) {
      if (upstream == 0) return std::string("   -       ");
      std::array<char, 32> text{};
      std::snprintf(text.data(), text.size(), "%5.1f x %-4.0f", rate / upstream, upstream);
      return std::string(text.data());
    };
    std::printf("%-50s %6zu pods %7.0f pods/s; upstream's floor: %s, of 1.36: %s; %6.0f us CPU/pod %5ld MB\n",
                workload_.name.c_str(), pods_, rate, beside(workload_.upstream_highest).c_str(),
                beside(workload_.upstream_136).c_str(), cpu_ / static_cast<double>(pods_) * 1e6, peak_kb() / 1024);
  }

 private:
  struct Churn {
    const Step* step;
    std::size_t made;
  };

  void play(const Step& step) {
    const bool pods = step.resource == "pods";
    const std::string ns = step.object.value("/metadata/namespace"_json_pointer, "");
    const std::size_t before = bound_.count(ns);
    const auto began = Steady::now();
    const double cpu = cpu_seconds();
    create(step);
    if (pods && step.bound) {
      const auto pause = step.measured && !churns_.empty() ? churns_.front().step->every_milliseconds : 0;
      bound_.wait_for(ns, before + step.count, std::chrono::milliseconds(pause), [this] { churn(); });
    }
    finish_writing();
    if (!step.measured) return;
    pods_ += step.count;
    wall_ += std::chrono::duration<double>(bound_.last() - began).count();
    cpu_ += cpu_seconds() - cpu;
  }

  // As many as the step says are waiting to be bound at any time.
  void play_steadily(const Step& step) {
    const double cpu = cpu_seconds();
    std::atomic<std::size_t> next = 0;
    const auto one = [&] { make(resource_of(step), bench::numbered(step.object, next++)); };
    for (std::size_t i = 0; i < step.count; ++i) submit(one);
    std::size_t bound = 0;
    bound_.tell(step.object.value("/metadata/namespace"_json_pointer, ""), std::chrono::seconds(step.seconds),
                [&](const api::ObjectKey& key) {
                  ++bound;
                  submit([&, key] {
                    remove(step, key);
                    one();
                  });
                });
    finish_writing();
    pods_ += bound;
    wall_ += step.seconds;
    cpu_ += cpu_seconds() - cpu;
  }

  // Written by several at once, as clients do; pods are being bound meanwhile.
  void create(const Step& step) {
    const api::Resource resource = resource_of(step);
    std::size_t& number = numbers_[step.resource + "/" + step.object.value("/metadata/namespace"_json_pointer, "")];
    const std::size_t first = number;
    number += step.count;
    const auto next = std::make_shared<std::atomic<std::size_t>>(0);
    const int writers = static_cast<int>(std::min<std::size_t>(kWriters / 2, step.count));
    for (int i = 0; i < writers; ++i) {
      submit([this, &step, resource, first, next] {
        for (std::size_t n = (*next)++; n < step.count; n = (*next)++)
          make(resource, bench::numbered(step.object, first + n));
      });
    }
    if (step.resource != "pods" || !step.bound) finish_writing();
  }

  // finish_writing() waits for it.
  void submit(std::function<void()> work) {
    ++writing_;
    const auto submitted = world_.blocking().submit([this, work = std::move(work)] {
      work();
      const std::lock_guard lock(mutex_);
      if (--writing_ == 0) written_.notify_all();
    });
    if (!submitted) fail(submitted.error().message());
  }

  void finish_writing() {
    std::unique_lock lock(mutex_);
    written_.wait(lock, [this] { return writing_ == 0; });
  }

  void make(const api::Resource& resource, const json& document) {
    const std::string ns = document.value("/metadata/namespace"_json_pointer, "");
    auto made = world_.api().create({}, resource, {ns, {}}, document, {});
    if (!made) fail("cannot create " + resource.plural + ": " + made.error().message());
    if (resource.plural == "namespaces") {
      // Its controller does not run here, and no pod is admitted without.
      const json account = {{"metadata", {{"name", "default"}}}};
      const auto given = world_.api().create({}, api::resources::kServiceAccounts, {made->name(), {}}, account, {});
      if (!given) fail("cannot create a service account: " + given.error().message());
    }
    if (resource.plural == "nodes" && (*made)["spec"]["taints"]) {
      // Admission taints a new node until the node life cycle, which does not run here, has seen it ready.
      json untainted = made->to_json();
      untainted["spec"].erase("taints");
      if (document.contains("/spec/taints"_json_pointer)) untainted["spec"]["taints"] = document["spec"]["taints"];
      const auto written = world_.api().update({}, resource, made->key(), untainted, {});
      if (!written) fail("cannot remove the taints of a node: " + written.error().message());
    }
    if (!document.contains("status")) return;
    if (resource.plural != "persistentvolumes" && resource.plural != "persistentvolumeclaims") return;
    json with_status = made->to_json();
    with_status["status"] = document["status"];
    auto written = world_.api().update({}, resource, made->key(), with_status, {.subresource = "status"});
    if (!written) fail("cannot write the status of " + resource.plural + ": " + written.error().message());
  }

  void churn() {
    for (Churn& churn : churns_) {
      if (churn.step->kind == Step::Kind::Remove) {
        remove(*churn.step, churn.made++);
        continue;
      }
      make(resource_of(*churn.step), bench::numbered(churn.step->object, churn.made));
      if (churn.made++ > 0 && !churn.step->keep) remove(*churn.step, churn.made - 2);
    }
  }

  void remove(const Step& step, std::size_t index) {
    const json old = bench::numbered(step.object, index);
    remove(step, {old.value("/metadata/namespace"_json_pointer, ""), old.at("metadata").at("name").get<std::string>()});
  }

  void remove(const Step& step, const api::ObjectKey& key) {
    const auto removed = world_.api().remove({}, resource_of(step), key, {.grace_period_seconds = 0});
    if (!removed && removed.error().reason() != Reason::NotFound)
      fail("cannot delete " + key.name + ": " + removed.error().message());
  }

  bench::World& world_;
  const bench::Workload& workload_;
  BoundPods bound_;
  std::vector<Churn> churns_;
  std::map<std::string, std::size_t> numbers_;  // Copies made of each resource in each namespace.
  std::mutex mutex_;
  std::condition_variable written_;
  std::atomic<int> writing_ = 0;
  std::size_t pods_ = 0;
  double wall_ = 0, cpu_ = 0;
};

// "name{a="b",le="0.5"} 3": the series without its le, and the bound.
std::optional<std::pair<std::string, double>> bucket_of(std::string& series) {
  auto at = series.find(",le=\"");
  if (at == std::string::npos) at = series.find("{le=\"");
  if (at == std::string::npos) return std::nullopt;
  const auto begin = at + 5;
  const auto end = series.find('"', begin);
  const std::string bound = series.substr(begin, end - begin);
  series.erase(at + 1, end - at);
  return std::pair(series, bound == "+Inf" ? 1e9 : std::strtod(bound.c_str(), nullptr));
}

double quantile(const std::vector<std::pair<double, double>>& buckets, double share) {
  const double wanted = buckets.back().second * share;
  double low = 0, below = 0;
  for (const auto& [bound, count] : buckets) {
    if (count >= wanted) return count == below ? bound : low + (bound - low) * (wanted - below) / (count - below);
    low = bound;
    below = count;
  }
  return low;
}

using Histograms = std::map<std::string, std::vector<std::pair<double, double>>>;

Histograms histograms_of(const std::string& metrics) {
  Histograms out;
  std::istringstream in(metrics);
  for (std::string line; std::getline(in, line);) {
    const auto space = line.rfind(' ');
    if (!line.starts_with("scheduler_") || space == std::string::npos || line.find("_bucket") == std::string::npos)
      continue;
    std::string series = line.substr(0, space);
    if (auto bucket = bucket_of(series))
      out[bucket->first].emplace_back(bucket->second, std::strtod(line.c_str() + space + 1, nullptr));
  }
  for (auto& [series, buckets] : out) std::ranges::sort(buckets);
  std::erase_if(out, [](const auto& entry) { return entry.second.back().second == 0; });
  return out;
}

// One line: the points of the framework, each with its median and 99th percentile. What lies in the first bucket shows
// as its bound.
void print_points(const std::string& metrics) {
  const Histograms all = histograms_of(metrics);
  std::printf("    p50/p99 us:");
  for (const char* point :
       {"PreFilter", "Filter", "PostFilter", "PreScore", "Score", "Reserve", "Permit", "PreBind", "Bind"}) {
    for (const auto& [series, buckets] : all) {
      const bool worked = series.find("\"Success\"") != std::string::npos || std::string_view(point) == "PostFilter";
      if (!worked || series.find("extension_point=\"" + std::string(point) + "\"") == std::string::npos) continue;
      const double first = buckets.front().first;
      std::printf(" %s %.0f/%.0f", point, std::max(first, quantile(buckets, 0.5)) * 1e6,
                  std::max(first, quantile(buckets, 0.99)) * 1e6);
      break;
    }
  }
  std::printf("\n");
}

void print_details(const std::string& metrics) {
  for (const auto& [series, buckets] : histograms_of(metrics)) {
    std::printf("    %-100s p50 %8.0f us  p99 %8.0f us  n %.0f\n", series.c_str(), quantile(buckets, 0.5) * 1e6,
                quantile(buckets, 0.99) * 1e6, buckets.back().second);
  }
}

}  // namespace

int main(int argc, char** argv) {
  bench::World::Options options;
  double scale = 1;
  bool details = false;
  std::filesystem::path file;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const auto value = [&] {
      return i + 1 < argc ? std::string(argv[++i]) : (fail(word + " needs a value"), std::string());
    };
    if (word == "--plugins")
      options.plugins = value();
    else if (word == "--manifest")
      options.manifest = value();
    else if (word == "--data")
      options.data = value();
    else if (word == "--scale")
      scale = std::strtod(value().c_str(), nullptr);
    else if (word == "--memory")
      options.durable = false;
    else if (word == "--details")
      details = true;
    else if (word.starts_with("--"))
      fail("unknown option " + word);
    else
      file = word;
  }
  if (file.empty() || options.plugins.empty() || options.manifest.empty() || scale <= 0)
    fail("needs --plugins, --manifest and a workload");
  if (options.data.empty()) options.data = temporary_directory();
  bench::Workload workload;
  if (const std::string problem = bench::Workload::load(file, scale, workload); !problem.empty()) fail(problem);
  options.also = workload.also_runs;
  bench::World world(options);
  Run run(world, workload);
  run.play();
  run.print();
  print_points(world.metrics());
  if (details) print_details(world.metrics());
  return 0;
}
