// SPDX-License-Identifier: Apache-2.0
//
// For this folder's tests: a scheduler whose only filter is the cpu of a node.
#pragma once

#include <kubernel/testing/scheduler.h>

namespace kubernel::plugins {

class PreemptionTest : public testing::SchedulerPluginTest {
 protected:
  class CpuHandle final : public NoHandle {
   public:
    using NoHandle::NoHandle;
    Result<scheduler::Verdict> run_filters(const scheduler::Cycle& cycle, const scheduler::NodeInfo& node) override {
      ++questions;
      return node.requested.milli_cpu + cycle.pod->requests.milli_cpu <= node.allocatable.milli_cpu
                 ? scheduler::Verdict::fits()
                 : scheduler::Verdict::unschedulable("Insufficient cpu");
    }
    std::vector<std::shared_ptr<const scheduler::PodInfo>> nominated_pods(std::string_view) override {
      return nominated;
    }
    std::vector<scheduler::PreemptExtender*> preempt_extenders() override { return extenders; }

    void activate(std::string_view uid) override { activated.emplace_back(uid); }
    void run_in_background(std::function<void(const CallContext&)> task) override {
      held_back.push_back(std::move(task));
      if (!hold_back) catch_up();
    }
    void catch_up() {
      for (auto& task : std::exchange(held_back, {})) task({});
    }

    bool hold_back = false;
    int questions = 0;
    std::vector<std::function<void(const CallContext&)>> held_back;
    std::vector<std::string> activated;
    std::vector<std::shared_ptr<const scheduler::PodInfo>> nominated;
    std::vector<scheduler::PreemptExtender*> extenders;
  };

  static std::string spec(int priority, const std::string& cpu, const std::string& more = "") {
    return R"({"priority":)" + std::to_string(priority) + R"(,"containers":[{"resources":{"requests":{"cpu":")" + cpu +
           R"("}}}])" + more + "}";
  }
  // A pod the API knows too.
  std::shared_ptr<const scheduler::PodInfo> running(const std::string& name, int priority, const std::string& cpu,
                                                    const std::string& start = "", const std::string& labels = "{}",
                                                    const std::string& status = "") {
    const std::string started = start.empty() ? "" : R"("startTime":")" + start + "\"";
    auto object = api::Object::parse(R"({"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"default","name":")" +
                                     name + R"(","uid":"u-)" + name + R"(","labels":)" + labels + R"(},"spec":)" +
                                     spec(priority, cpu) + R"(,"status":{)" + started + status + "}}");
    EXPECT_TRUE(object) << object.error().message();
    return std::make_shared<const scheduler::PodInfo>(*object);
  }
  static scheduler::NodeInfo cpu_node(const std::string& name, const std::string& cpu) {
    return node(name, R"("status":{"allocatable":{"cpu":")" + cpu + R"(","pods":"110"}})");
  }
  static api::Object budget(int allowed, const std::string& app) {
    return *api::Object::parse(
        R"({"apiVersion":"policy/v1","kind":"PodDisruptionBudget","metadata":{"namespace":"default","name":"b"},
        "spec":{"selector":{"matchLabels":{"app":")" +
        app + R"("}}},"status":{"disruptionsAllowed":)" + std::to_string(allowed) + "}}");
  }
  static scheduler::Cycle wanting(int priority, const std::string& cpu, const std::string& more = "") {
    return {pod(spec(priority, cpu, more), "preemptor"), nullptr, {}, {}, {}};
  }
  static std::string names(const std::vector<std::shared_ptr<const scheduler::PodInfo>>& pods) {
    std::string out;
    for (const auto& one : pods) out += (out.empty() ? "" : " ") + one->key().name;
    return out;
  }

  CpuHandle handle_{*recorder_};
};

}  // namespace kubernel::plugins
