// SPDX-License-Identifier: Apache-2.0
//
// SchedulerPluginTest: what a scheduler plugin's unit test needs: objects from JSON text, a plugin made with given
// arguments.
//
//   class NodeNameTest : public kubernel::testing::SchedulerPluginTest {};
//   TEST_F(NodeNameTest, …) { auto plugin = make(make_node_name); EXPECT_EQ(filter(*plugin, pod(…), node(…)), "");

#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <kubernel/scheduler/framework.h>
#include <kubernel/testing/fake_clock.h>
#include <kubernel/testing/fake_cluster.h>
#include <kubernel/testing/scheduler_handle.h>

namespace kubernel::testing {

class SchedulerPluginTest : public ::testing::Test {
 protected:
  /// A pod called "p" (uid "u-p") in namespace "default" with that spec.
  static std::shared_ptr<const scheduler::PodInfo> pod(const std::string& spec, const std::string& name = "p") {
    auto object = api::Object::parse(R"({"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"default","name":")" +
                                     name + R"(","uid":"u-)" + name + R"("},"spec":)" + spec + "}");
    EXPECT_TRUE(object) << object.error().message();
    return std::make_shared<const scheduler::PodInfo>(*object);
  }

  /// A pod with labels in a namespace; its uid is "u-NAME".
  static std::shared_ptr<const scheduler::PodInfo> labeled_pod(const std::string& name, const std::string& labels,
                                                               const std::string& spec = "{}",
                                                               const std::string& ns = "default",
                                                               const std::string& more_metadata = "") {
    auto object = api::Object::parse(R"({"apiVersion":"v1","kind":"Pod","metadata":{"namespace":")" + ns +
                                     R"(","name":")" + name + R"(","uid":"u-)" + name + R"(","labels":)" + labels +
                                     more_metadata + R"(},"spec":)" + spec + "}");
    EXPECT_TRUE(object) << object.error().message();
    return std::make_shared<const scheduler::PodInfo>(*object);
  }

  /// A node with those members ("spec", "status") and labels.
  static scheduler::NodeInfo node(const std::string& name, const std::string& members = R"("spec":{})",
                                  const std::string& labels = "{}") {
    auto object = api::Object::parse(R"({"apiVersion":"v1","kind":"Node","metadata":{"name":")" + name +
                                     R"(","labels":)" + labels + "}," + members + "}");
    EXPECT_TRUE(object) << object.error().message();
    return scheduler::NodeInfo(*object);
  }

  using Make = Result<std::unique_ptr<scheduler::Plugin>> (*)(const scheduler::PluginContext&);
  std::unique_ptr<scheduler::Plugin> make(Make factory, const std::string& config = "{}") {
    auto made = factory(context(config));
    EXPECT_TRUE(made) << made.error().message();
    return *std::move(made);
  }
  /// What a plugin is made with; for tests of arguments that it refuses.
  scheduler::PluginContext context(const std::string& config = "{}") {
    return {config, 0, handle_, cluster_, *informers_, log_, clock_, metrics_, random_, device_resources_};
  }

  /// Runs PreFilter (when the plugin has one) and Filter: "" when the node fits, else the reasons joined by "; ".
  static std::string filter(scheduler::Plugin& plugin, const scheduler::PodInfo& pod, const scheduler::NodeInfo& node) {
    std::unique_ptr<scheduler::CycleData> data;
    if (auto* pre = dynamic_cast<scheduler::PreFilter*>(&plugin)) {
      const scheduler::Snapshot snapshot({std::make_shared<const scheduler::NodeInfo>(node)});
      auto result = pre->pre_filter({}, pod, snapshot);
      EXPECT_TRUE(result) << result.error().message();
      if (result->verdict.kind() == scheduler::Verdict::Kind::Skip) return "";
      if (!result->verdict.ok()) return joined(result->verdict);
      if (result->nodes && std::find(result->nodes->begin(), result->nodes->end(), node.name) == result->nodes->end()) {
        return "not among the pre-filtered nodes";
      }
      data = std::move(result->data);
    }
    const auto verdict = dynamic_cast<scheduler::Filter&>(plugin).filter(pod, data.get(), node);
    EXPECT_TRUE(verdict) << verdict.error().message();
    return joined(*verdict);
  }

  /// filter() on every node of a cluster that consists of them, in order.
  static std::vector<std::string> filter_all(scheduler::Plugin& plugin, const scheduler::PodInfo& pod,
                                             const std::vector<scheduler::NodeInfo>& nodes) {
    std::vector<std::shared_ptr<const scheduler::NodeInfo>> shared;
    for (const auto& info : nodes) shared.push_back(std::make_shared<const scheduler::NodeInfo>(info));
    const scheduler::Snapshot snapshot(shared);
    std::unique_ptr<scheduler::CycleData> data;
    if (auto* pre = dynamic_cast<scheduler::PreFilter*>(&plugin)) {
      auto result = pre->pre_filter({}, pod, snapshot);
      EXPECT_TRUE(result) << result.error().message();
      if (result->verdict.kind() == scheduler::Verdict::Kind::Skip) return std::vector<std::string>(nodes.size());
      if (!result->verdict.ok()) return std::vector<std::string>(nodes.size(), joined(result->verdict));
      data = std::move(result->data);
    }
    std::vector<std::string> out;
    for (const auto& info : shared) {
      const auto verdict = dynamic_cast<scheduler::Filter&>(plugin).filter(pod, data.get(), *info);
      EXPECT_TRUE(verdict) << verdict.error().message();
      out.push_back(joined(*verdict));
    }
    return out;
  }

  /// Scores of the nodes in order, normalized.
  static std::vector<std::int64_t> score(scheduler::Plugin& plugin, const scheduler::PodInfo& pod,
                                         const std::vector<scheduler::NodeInfo>& nodes) {
    std::vector<std::shared_ptr<const scheduler::NodeInfo>> shared;
    std::vector<const scheduler::NodeInfo*> fitting;
    for (const auto& info : nodes) shared.push_back(std::make_shared<const scheduler::NodeInfo>(info));
    for (const auto& info : shared) fitting.push_back(info.get());
    const scheduler::Snapshot snapshot(shared);
    std::unique_ptr<scheduler::CycleData> data;
    if (auto* pre = dynamic_cast<scheduler::PreScore*>(&plugin)) {
      auto result = pre->pre_score({}, pod, snapshot, fitting);
      EXPECT_TRUE(result) << result.error().message();
      if (result->verdict.kind() == scheduler::Verdict::Kind::Skip) return {};
      data = std::move(result->data);
    }
    auto& scorer = dynamic_cast<scheduler::Score&>(plugin);
    std::vector<std::int64_t> out;
    for (const auto* info : fitting) out.push_back(*scorer.score(pod, data.get(), *info, snapshot));
    scorer.normalize(pod, data.get(), out);
    return out;
  }

  /// Whether a pod that the plugin refused is worth another try after the event: its retry_on() lists it, and its hint
  /// agrees.
  static bool wakes(const scheduler::Plugin& plugin, scheduler::ClusterEvent event, const scheduler::PodInfo& pod,
                    const api::Object& before, const api::Object& after) {
    const auto interests = plugin.retry_on();
    return std::any_of(interests.begin(), interests.end(), [&](const scheduler::EventInterest& interest) {
      if (interest.event != event) return false;
      if (const auto names = interest.names_of_change ? interest.names_of_change(before, after) : std::nullopt) {
        const auto mine = interest.names_of_pod(pod);
        if (std::ranges::find_first_of(mine, *names) == mine.end()) return false;
      }
      return !interest.helps || interest.helps(pod, before, after);
    });
  }

  static std::string joined(const scheduler::Verdict& verdict) {
    std::string out;
    for (const std::string& reason : verdict.reasons()) out += (out.empty() ? "" : "; ") + reason;
    return out;
  }

  using NoHandle = testing::NoHandle;

  FakeClock clock_;
  RecordingLogger log_;
  RecordingMetrics metrics_;
  FakeCluster cluster_{clock_};
  ManualExecutor executor_;
  SeededRandom random_{1};
  std::shared_ptr<scheduler::DeviceResources> device_resources_ = std::make_shared<scheduler::DeviceResources>();
  std::unique_ptr<client::EventRecorder> recorder_ =
      client::make_event_recorder(cluster_, {"default-scheduler", ""}, log_, clock_, random_, executor_);
  NoHandle handle_{*recorder_};
  std::unique_ptr<client::InformerFactory> informers_ =
      client::make_informer_factory({log_, clock_, random_, executor_}, cluster_);
};

}  // namespace kubernel::testing
