// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include <kubernel/client/events.h>
#include <kubernel/scheduler/framework.h>

namespace kubernel::testing {

/// A scheduler that offers nothing: no pod waits, every node fits. Derive from it to offer what a plugin needs.
class NoHandle : public scheduler::Handle {
 public:
  explicit NoHandle(client::EventRecorder& events) : events_(events) {}
  void for_each_waiting(const std::function<void(scheduler::WaitingPod&)>&) override {}
  Result<scheduler::Verdict> run_filters(const scheduler::Cycle&, const scheduler::NodeInfo&) override {
    return scheduler::Verdict::fits();
  }
  void pod_added(scheduler::Cycle&, const scheduler::PodInfo&, const scheduler::NodeInfo&) override {}
  void pod_removed(scheduler::Cycle&, const scheduler::PodInfo&, const scheduler::NodeInfo&) override {}
  std::vector<std::shared_ptr<const scheduler::PodInfo>> nominated_pods(std::string_view) override { return {}; }
  void parallel_for(std::size_t count, const std::function<void(std::size_t)>& work) override {
    for (std::size_t i = 0; i < count; ++i) work(i);
  }
  void activate(std::string_view) override {}
  std::vector<scheduler::PreemptExtender*> preempt_extenders() override { return {}; }
  client::EventRecorder& events() override { return events_; }
  void run_in_background(std::function<void(const CallContext&)> task) override { task({}); }

 private:
  client::EventRecorder& events_;
};

}  // namespace kubernel::testing
