// SPDX-License-Identifier: Apache-2.0
//
// The plugins against the reference scheduler, on random clusters that change: the same feasible nodes, the same
// scores. Each plugin instance lives through a whole sequence, so what it keeps between pods is checked too. A failure
// prints the seed and the step.
#include <algorithm>
#include <random>

#include <kubernel/testing/scheduler.h>

#include "cache.h"
#include "image_locality.h"
#include "inter_pod_affinity.h"
#include "node_affinity.h"
#include "node_name.h"
#include "node_ports.h"
#include "node_resources_balanced_allocation.h"
#include "node_resources_fit.h"
#include "node_unschedulable.h"
#include "pod_topology_spread.h"
#include "reference.h"
#include "taint_toleration.h"

namespace kubernel {
namespace {

using nlohmann::json;
using scheduler::NodeInfo;
using scheduler::PodInfo;

// Random objects with few distinct labels, so that most rules meet something.
class Dice {
 public:
  explicit Dice(unsigned seed) : random_(seed) {}

  std::size_t below(std::size_t count) { return random_() % count; }
  bool once_in(std::size_t n) { return below(n) == 0; }
  std::string one_of(std::initializer_list<const char*> words) { return *(words.begin() + below(words.size())); }

  json node(const std::string& name) {
    json labels = {{"kubernetes.io/hostname", name}};
    if (!once_in(6)) labels["zone"] = one_of({"a", "b", "c"});
    if (once_in(2)) labels["disk"] = one_of({"ssd", "hdd"});
    json spec = json::object();
    if (once_in(8)) spec["unschedulable"] = true;
    if (once_in(3)) spec["taints"] = json::array({taint()});
    json images = json::array();
    for (const char* image : {"big", "small"}) {
      if (once_in(2))
        images.push_back({{"names", json::array({std::string(image) + ":latest"})},
                          {"sizeBytes", image[0] == 'b' ? 900LL << 20 : 40LL << 20}});
    }
    return {{"metadata", {{"name", name}, {"labels", labels}}},
            {"spec", spec},
            {"status",
             {{"allocatable",
               {{"cpu", std::to_string(500 + 500 * below(8)) + "m"},
                {"memory", std::to_string((1 + below(8)) << 30)},
                {"pods", std::to_string(2 + below(8))},
                {"example.com/gpu", std::to_string(below(3))}}},
              {"images", images}}}};
  }

  json pod(const std::string& name) {
    json labels = json::object();
    if (!once_in(5)) labels["app"] = one_of({"web", "db"});
    if (once_in(2)) labels["version"] = one_of({"1", "2"});
    json first = container("c");
    if (once_in(4)) first["ports"] = json::array({port()});
    json spec = {{"containers", json::array({first})}};
    if (once_in(4)) spec["containers"].push_back(container("d"));
    for (std::size_t i = below(4); i > 0 && once_in(2); --i) {
      spec["initContainers"].push_back(container("i" + std::to_string(i)));
      if (once_in(2)) spec["initContainers"].back()["restartPolicy"] = "Always";
    }
    if (once_in(6)) spec["resources"]["requests"] = requests();
    if (once_in(8)) spec["overhead"] = {{"cpu", "50m"}, {"memory", std::to_string(1 << 26)}};
    if (once_in(5)) spec["nodeSelector"] = {{"disk", "ssd"}};
    if (once_in(3)) spec["tolerations"] = json::array({toleration()});
    json affinity = json::object();
    if (once_in(4)) affinity["nodeAffinity"] = node_affinity();
    if (once_in(2)) affinity["podAffinity"] = pod_terms();
    if (once_in(2)) affinity["podAntiAffinity"] = pod_terms();
    if (!affinity.empty()) spec["affinity"] = affinity;
    for (std::size_t i = below(3); i > 0 && once_in(2); --i) spec["topologySpreadConstraints"].push_back(constraint());
    json metadata = {{"name", name}, {"uid", "u-" + name}, {"namespace", one_of({"x", "y"})}, {"labels", labels}};
    if (once_in(12)) metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z";
    return {{"metadata", metadata}, {"spec", spec}};
  }

 private:
  json taint() {
    return {{"key", one_of({"k", "l"})},
            {"value", "v"},
            {"effect", one_of({"NoSchedule", "NoExecute", "PreferNoSchedule"})}};
  }

  json toleration() {
    json out = {{"operator", one_of({"Exists", "Equal"})}, {"key", one_of({"k", "l"})}};
    if (out["operator"] == "Equal") out["value"] = one_of({"v", "w"});
    if (once_in(2)) out["effect"] = one_of({"NoSchedule", "NoExecute", "PreferNoSchedule"});
    return out;
  }

  json requests() {
    json out = json::object();
    if (!once_in(3)) out["cpu"] = std::to_string(100 * below(8)) + "m";
    if (!once_in(3)) out["memory"] = std::to_string(below(8) << 27);
    if (once_in(5)) out["example.com/gpu"] = "1";
    return out;
  }

  json container(const std::string& name) {
    return {{"name", name}, {"image", one_of({"big", "small", "other"})}, {"resources", {{"requests", requests()}}}};
  }

  json port() {
    json out = {{"containerPort", 80}, {"hostPort", 80 + below(3)}};
    if (once_in(3)) out["hostIP"] = one_of({"127.0.0.1", "127.0.0.2"});
    if (once_in(4)) out["protocol"] = "UDP";
    return out;
  }

  json node_affinity() {
    const auto term = [&]() -> json {
      json expression = {{"key", one_of({"disk", "zone"})},
                         {"operator", one_of({"In", "NotIn", "Exists", "DoesNotExist"})}};
      if (expression["operator"] == "In" || expression["operator"] == "NotIn")
        expression["values"] = json::array({one_of({"ssd", "a"}), one_of({"hdd", "b"})});
      return {{"matchExpressions", json::array({expression})}};
    };
    json out = json::object();
    if (once_in(2))
      out["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"] = json::array({term(), term()});
    json weighted = {{"weight", 1 + below(100)}, {"preference", term()}};
    out["preferredDuringSchedulingIgnoredDuringExecution"] = json::array({weighted});
    return out;
  }

  json selector() {
    if (once_in(8)) return json::object();
    if (once_in(3))
      return {{"matchExpressions",
               json::array({{{"key", one_of({"app", "version"})}, {"operator", one_of({"Exists", "DoesNotExist"})}}})}};
    return {{"matchLabels", {{"app", one_of({"web", "db"})}}}};
  }

  json pod_term() {
    json out = {{"topologyKey", one_of({"zone", "kubernetes.io/hostname"})}};
    if (!once_in(10)) out["labelSelector"] = selector();
    if (once_in(4)) out["namespaces"] = json::array({one_of({"x", "y"})});
    if (once_in(4))
      out["namespaceSelector"] =
          once_in(2) ? json::object() : json{{"matchLabels", {{"team", one_of({"red", "blue"})}}}};
    return out;
  }

  json pod_terms() {
    json out = json::object();
    json weighted = {{"weight", 1 + below(100)}, {"podAffinityTerm", pod_term()}};
    if (once_in(3))
      out["requiredDuringSchedulingIgnoredDuringExecution"] =
          once_in(3) ? json::array({pod_term(), pod_term()}) : json::array({pod_term()});
    if (once_in(2)) out["preferredDuringSchedulingIgnoredDuringExecution"] = json::array({weighted});
    return out;
  }

  json constraint() {
    json out = {{"maxSkew", 1 + below(3)},
                {"topologyKey", one_of({"zone", "kubernetes.io/hostname"})},
                {"whenUnsatisfiable", one_of({"DoNotSchedule", "ScheduleAnyway"})},
                {"labelSelector", selector()}};
    if (once_in(4) && out["whenUnsatisfiable"] == "DoNotSchedule") out["minDomains"] = 1 + below(4);
    if (once_in(4)) out["nodeAffinityPolicy"] = one_of({"Honor", "Ignore"});
    if (once_in(4)) out["nodeTaintsPolicy"] = one_of({"Honor", "Ignore"});
    if (once_in(4)) out["matchLabelKeys"] = json::array({"version"});
    return out;
  }

  std::mt19937 random_;
};

class ReferenceTest : public testing::SchedulerPluginTest {
 protected:
  ReferenceTest() {
    add("NodeName", plugins::make_node_name);
    add("NodeUnschedulable", plugins::make_node_unschedulable);
    add("TaintToleration", plugins::make_taint_toleration);
    add("NodeAffinity", plugins::make_node_affinity);
    add("NodePorts", plugins::make_node_ports);
    add("NodeResourcesFit", plugins::make_node_resources_fit);
    add("NodeResourcesBalancedAllocation", plugins::make_node_resources_balanced_allocation);
    add("ImageLocality", plugins::make_image_locality);
    add("InterPodAffinity", plugins::make_inter_pod_affinity);
    add("PodTopologySpread", plugins::make_pod_topology_spread);
    cluster_.put_text(api::resources::kNamespaces, R"({"metadata":{"name":"x","labels":{"team":"red"}}})");
    cluster_.put_text(api::resources::kNamespaces, R"({"metadata":{"name":"y","labels":{"team":"blue"}}})");
    informers_->start();
    executor_.run_all();
    world_.namespaces["x"] = json::parse(R"({"team":"red"})");
    world_.namespaces["y"] = json::parse(R"({"team":"blue"})");
  }

  void add(const std::string& name, Make factory) { plugins_.emplace_back(name, make(factory)); }

  static api::Object object(const json& document) {
    auto parsed = api::Object::from_json(document);
    EXPECT_TRUE(parsed) << parsed.error().message();
    return *parsed;
  }

  reference::Node* find(const std::string& name) {
    const auto found = std::ranges::find(world_.nodes, name, &reference::Node::name);
    return found == world_.nodes.end() ? nullptr : &*found;
  }

  // One thing happens, to the reference's world and to the scheduler's cache alike.
  void change(Dice& dice) {
    const std::string name = "n" + std::to_string(dice.below(8));
    reference::Node* node = find(name);
    switch (dice.below(8)) {
      case 0: {
        const json document = dice.node(name);
        cache_.set_node(object(document));
        if (node != nullptr) {
          node->object = document;
        } else {
          world_.nodes.push_back({document, {}});
          std::ranges::sort(world_.nodes, {}, &reference::Node::name);
        }
        break;
      }
      case 1:
        if (node == nullptr || !dice.once_in(3)) break;
        for (const json& pod : node->pods) cache_.remove_pod(pod["metadata"]["uid"].get<std::string>());
        cache_.remove_node(name);
        world_.nodes.erase(world_.nodes.begin() + (node - world_.nodes.data()));
        break;
      case 2:
        if (node == nullptr || node->pods.empty()) break;
        cache_.remove_pod(node->pods.front()["metadata"]["uid"].get<std::string>());
        node->pods.erase(node->pods.begin());
        break;
      case 3:
        // A running pod gets other labels.
        if (node == nullptr || node->pods.empty()) break;
        node->pods.front()["metadata"]["labels"]["app"] = dice.one_of({"web", "db"});
        cache_.set_pod(std::make_shared<const PodInfo>(object(node->pods.front())));
        break;
      default: {
        if (node == nullptr) break;
        json pod = dice.pod("p" + std::to_string(pods_++));
        pod["spec"]["nodeName"] = name;
        cache_.set_pod(std::make_shared<const PodInfo>(object(pod)));
        node->pods.push_back(pod);
      }
    }
  }

  // As the scheduling cycle asks one plugin.
  static std::vector<std::string> feasible(scheduler::Plugin& plugin, const PodInfo& pod,
                                           const scheduler::Snapshot& snapshot) {
    std::vector<std::string> out;
    std::unique_ptr<scheduler::CycleData> data;
    std::optional<std::vector<std::string>> only;
    bool skip = false;
    if (auto* pre = dynamic_cast<scheduler::PreFilter*>(&plugin)) {
      auto result = pre->pre_filter({}, pod, snapshot);
      EXPECT_TRUE(result);
      if (!result->verdict.ok()) return out;
      skip = result->verdict.kind() == scheduler::Verdict::Kind::Skip;
      data = std::move(result->data);
      only = std::move(result->nodes);
    }
    auto* filter = dynamic_cast<scheduler::Filter*>(&plugin);
    for (const auto& node : snapshot.nodes()) {
      if (only && std::ranges::find(*only, node->name) == only->end()) continue;
      if (skip || filter->filter(pod, data.get(), *node)->ok()) out.push_back(node->name);
    }
    std::ranges::sort(out);  // The snapshot's order is by zone; the reference's by name.
    return out;
  }

  static std::vector<std::int64_t> scored(scheduler::Plugin& plugin, const PodInfo& pod,
                                          const scheduler::Snapshot& snapshot,
                                          const std::vector<const NodeInfo*>& nodes) {
    std::unique_ptr<scheduler::CycleData> data;
    if (auto* pre = dynamic_cast<scheduler::PreScore*>(&plugin)) {
      auto result = pre->pre_score({}, pod, snapshot, nodes);
      EXPECT_TRUE(result);
      if (result->verdict.kind() == scheduler::Verdict::Kind::Skip) return std::vector<std::int64_t>(nodes.size(), 0);
      data = std::move(result->data);
    }
    auto& scorer = dynamic_cast<scheduler::Score&>(plugin);
    std::vector<std::int64_t> out;
    for (const NodeInfo* node : nodes) out.push_back(*scorer.score(pod, data.get(), *node, snapshot));
    scorer.normalize(pod, data.get(), out);
    return out;
  }

  void compare(const json& document) {
    const PodInfo pod(object(document));
    const auto snapshot = cache_.snapshot();
    const auto wanted = reference::feasible(world_, document);
    std::vector<std::string> candidates;
    for (const auto& node : world_.nodes) candidates.push_back(node.name());
    for (const auto& [name, plugin] : plugins_) {
      if (dynamic_cast<scheduler::Filter*>(plugin.get()) == nullptr) continue;
      const auto found = feasible(*plugin, pod, *snapshot);
      EXPECT_EQ(found, wanted.at(name)) << name << " filters " << document.dump();
      std::erase_if(candidates, [&](const std::string& node) { return std::ranges::find(found, node) == found.end(); });
    }
    // Half of the time all nodes are scored: few fit everything.
    if (candidates.empty() || pods_ % 2 == 0) {
      candidates.clear();
      for (const auto& node : world_.nodes) candidates.push_back(node.name());
    }
    if (candidates.empty()) return;
    std::vector<const NodeInfo*> nodes;
    for (const std::string& name : candidates) nodes.push_back(snapshot->find(name));
    const auto right = reference::scores(world_, document, candidates);
    for (const auto& [name, plugin] : plugins_) {
      if (dynamic_cast<scheduler::Score*>(plugin.get()) == nullptr) continue;
      auto found = scored(*plugin, pod, *snapshot, nodes);
      auto expected = right.at(name);
      EXPECT_EQ(found, expected) << name << " scores " << document.dump();
    }
  }

  // One node looks different in thought only: a nominated pod has come, or a victim has gone. What plugins adjust then
  // must be what a look at that world would say. A plugin that had nothing to say of the pod is not asked again, as
  // upstream.
  void imagine(Dice& dice, const json& document) {
    if (world_.nodes.empty()) return;
    const PodInfo pod(object(document));
    const auto snapshot = cache_.snapshot();
    reference::Cluster imagined = world_;
    reference::Node& there = imagined.nodes[dice.below(imagined.nodes.size())];
    NodeInfo node = *snapshot->find(there.name());
    const bool gone = !there.pods.empty() && dice.once_in(2);
    json other = gone ? there.pods.front() : dice.pod("nominated");
    other["spec"]["nodeName"] = there.name();
    const auto info = std::make_shared<const PodInfo>(object(other));
    if (gone) {
      node.remove_pod(info->uid());
      there.pods.erase(there.pods.begin());
    } else {
      node.add_pod(info);
      there.pods.push_back(other);
    }
    const auto wanted = reference::feasible(imagined, document);
    for (const auto& [name, plugin] : plugins_) {
      const auto* const filter = dynamic_cast<scheduler::Filter*>(plugin.get());
      if (filter == nullptr) continue;
      std::unique_ptr<scheduler::CycleData> data;
      if (auto* pre = dynamic_cast<scheduler::PreFilter*>(plugin.get())) {
        auto prepared = pre->pre_filter({}, pod, *snapshot);
        if (prepared->verdict.kind() != scheduler::Verdict::Kind::Fits || prepared->nodes) continue;
        if (prepared->data != nullptr) data = prepared->data->clone();
      }
      if (const auto* extensions = dynamic_cast<scheduler::PreFilterExtensions*>(plugin.get());
          extensions != nullptr && data != nullptr) {
        if (gone)
          extensions->pod_removed(*data, pod, *info, node);
        else
          extensions->pod_added(*data, pod, *info, node);
      }
      const auto& fits = wanted.at(name);
      EXPECT_EQ(filter->filter(pod, data.get(), node)->ok(), std::ranges::find(fits, node.name) != fits.end())
          << name << " filters " << document.dump() << " on " << node.name << (gone ? " without " : " with ")
          << other.dump();
    }
  }

  std::vector<std::pair<std::string, std::unique_ptr<scheduler::Plugin>>> plugins_;
  plugins::SchedulerCache cache_;
  reference::Cluster world_;
  int pods_ = 0;
};

class RandomClusters : public ReferenceTest, public ::testing::WithParamInterface<unsigned> {};

TEST_P(RandomClusters, GiveTheSameFeasibleNodesAndScores) {
  SCOPED_TRACE("seed " + std::to_string(GetParam()));
  Dice dice(GetParam());
  for (int step = 0; step < 60 && !HasFailure(); ++step) {
    SCOPED_TRACE("step " + std::to_string(step));
    for (std::size_t i = 1 + dice.below(4); i > 0; --i) change(dice);
    json pod = dice.pod("waiting" + std::to_string(step));
    pod["metadata"].erase("deletionTimestamp");
    compare(pod);
    imagine(dice, pod);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomClusters, ::testing::Range(1U, 13U));

}  // namespace
}  // namespace kubernel
