// SPDX-License-Identifier: Apache-2.0
#include <kubernel/testing/controller_bench.h>

#include <cstdio>
#include <cstdlib>
#include <utility>

namespace kubernel::testing {

void RecordingEvents::record(const api::Object&, std::string_view type, std::string_view reason,
                             std::string_view message) {
  const std::lock_guard lock(mutex_);
  lines_.push_back(std::string(type) + " " + std::string(reason) + " " + std::string(message));
}

std::vector<std::string> RecordingEvents::lines() const {
  const std::lock_guard lock(mutex_);
  return lines_;
}

ControllerBench::ControllerBench(Make make, std::string config_json, int workers)
    : runner(controller::make_runner({log, metrics, clock, executor}, {"bench", workers})),
      make_(make),
      config_(std::move(config_json)) {}

ControllerBench::~ControllerBench() {
  // As the controller manager: no reconcile runs when the reconciler goes, no handler when the queue goes.
  if (const auto stopped = runner->stop({}); !stopped) std::fprintf(stderr, "%s\n", stopped.error().message().c_str());
  if (informers_) informers_->stop();
  reconciler_.reset();
}

void ControllerBench::start() {
  context_ = std::make_unique<controller::ControllerContext>(
      controller::ControllerContext{config_, cluster, events, log, metrics, clock, random, executor});
  informers_ = client::make_informer_factory({log, clock, random, executor}, cluster);
  auto made = make_(*context_);
  if (!made) {
    std::fprintf(stderr, "ControllerBench: %s\n", made.error().message().c_str());
    std::abort();
  }
  reconciler_ = *std::move(made);
  if (const auto watching = reconciler_->watch(*informers_, *runner); !watching) {
    std::fprintf(stderr, "ControllerBench: %s\n", watching.error().message().c_str());
    std::abort();
  }
  informers_->start();
  executor.run_all();
  runner->start(*reconciler_);
  settle();
}

void ControllerBench::settle() {
  executor.run_all();
}

void ControllerBench::advance(std::chrono::nanoseconds by) {
  const auto end = clock.now() + by;
  for (;;) {
    settle();
    const auto next = clock.next_timer();
    if (!next || *next > end) break;
    clock.advance(std::max(*next - clock.now(), Clock::TimePoint::duration::zero()));
  }
  clock.advance(end - clock.now());
  settle();
}

Result<controller::Next> ControllerBench::reconcile(const api::ObjectKey& key) {
  return reconciler_->reconcile({}, key);
}

}  // namespace kubernel::testing
