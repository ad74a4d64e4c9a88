// SPDX-License-Identifier: Apache-2.0
//
// The plugins that look at volumes against the reference, on random clusters that change.
#include "volume_reference.h"

#include <algorithm>
#include <random>

#include <kubernel/testing/scheduler.h>

#include "cache.h"
#include "node_volume_limits.h"
#include "volume_binding.h"
#include "volume_restrictions.h"
#include "volume_zone.h"

namespace kubernel {
namespace {

using nlohmann::json;
using scheduler::PodInfo;

constexpr std::size_t kClaims = 10;

class VolumesTest : public testing::SchedulerPluginTest, public ::testing::WithParamInterface<unsigned> {
 protected:
  VolumesTest() : dice_(GetParam()) {
    for (const char* kind : {"CSINode", "StorageClass", "VolumeAttachment", "CSIDriver", "CSIStorageCapacity"}) {
      std::string plural = kind;
      std::ranges::transform(plural, plural.begin(),
                             [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      plural = plural.ends_with('s')     ? plural + "es"
               : plural.ends_with("ity") ? plural.substr(0, plural.size() - 1) + "ies"
                                         : plural + "s";
      cluster_.serve({"storage.k8s.io", "v1", plural}, kind, std::string(kind) == "CSIStorageCapacity");
    }
    add("VolumeRestrictions", plugins::make_volume_restrictions);
    add("NodeVolumeLimits", plugins::make_node_volume_limits);
    add("VolumeZone", plugins::make_volume_zone);
    add("VolumeBinding", plugins::make_volume_binding);
    for (std::size_t i = 0; i < kClaims; ++i) add_claim(std::to_string(i));
    for (std::size_t i = 0; i < 6; ++i) add_node("n" + std::to_string(i));
    informers_->start();
    executor_.run_all();
  }

  std::size_t below(std::size_t count) { return dice_() % count; }
  bool once_in(std::size_t n) { return below(n) == 0; }
  std::string one_of(std::initializer_list<const char*> words) { return *(words.begin() + below(words.size())); }

  void add(const std::string& name, Make factory) { plugins_.emplace_back(name, make(factory)); }
  static api::Object object(const json& document) {
    auto parsed = api::Object::from_json(document);
    EXPECT_TRUE(parsed) << parsed.error().message();
    return *parsed;
  }

  // A claim and the volume it is bound to.
  void add_claim(const std::string& number) {
    json labels = json::object();
    if (once_in(2)) labels["topology.kubernetes.io/zone"] = one_of({"a", "b", "a__b"});
    json spec = {{"csi", {{"driver", one_of({"d1", "d2"})}, {"volumeHandle", "h" + number}}},
                 {"capacity", {{"storage", "1Gi"}}}};
    if (once_in(3)) {
      json expression = {{"key", "rack"}, {"operator", "In"}, {"values", json::array({one_of({"1", "2"})})}};
      spec["nodeAffinity"]["required"]["nodeSelectorTerms"] =
          json::array({{{"matchExpressions", json::array({expression})}}});
    }
    const json volume = {
        {"metadata", {{"name", "v" + number}, {"labels", labels}}}, {"spec", spec}, {"status", {{"phase", "Bound"}}}};
    const json claim = {
        {"metadata",
         {{"name", number}, {"namespace", "default"}, {"annotations", {{"pv.kubernetes.io/bind-completed", "true"}}}}},
        {"spec",
         {{"volumeName", "v" + number},
          {"accessModes", json::array({once_in(3) ? "ReadWriteOncePod" : "ReadWriteMany"})}}},
        {"status", {{"phase", "Bound"}}}};
    cluster_.put_text(api::resources::kPersistentVolumes, volume.dump());
    cluster_.put_text(api::resources::kPersistentVolumeClaims, claim.dump());
    volumes_.volumes["v" + number] = volume;
    volumes_.claims[number] = claim;
  }

  void add_node(const std::string& name) {
    json labels = json::object();
    if (!once_in(4)) labels["topology.kubernetes.io/zone"] = one_of({"a", "b"});
    if (!once_in(4)) labels["rack"] = one_of({"1", "2"});
    const json node = {{"metadata", {{"name", name}, {"labels", labels}}}, {"spec", json::object()}};
    cache_.set_node(object(node));
    world_.nodes.push_back({node, {}});
    if (once_in(4)) return;
    json drivers = json::array();
    for (const char* driver : {"d1", "d2"}) {
      json entry = {{"name", driver}, {"nodeID", name}};
      if (!once_in(4)) {
        entry["allocatable"]["count"] = 1 + below(3);
        volumes_.limits[name][driver] = entry["allocatable"]["count"];
      }
      drivers.push_back(entry);
    }
    cluster_.put_text({"storage.k8s.io", "v1", "csinodes"},
                      json{{"metadata", {{"name", name}}}, {"spec", {{"drivers", drivers}}}}.dump());
  }

  json volume() {
    json out = {{"name", "x"}};
    const auto disk = [&](const char* kind, const char* member, const std::string& name) {
      out[kind][member] = name;
      if (once_in(2)) out[kind]["readOnly"] = true;
    };
    switch (below(8)) {
      case 0: disk("gcePersistentDisk", "pdName", one_of({"1", "2"})); break;
      case 1: disk("awsElasticBlockStore", "volumeID", one_of({"1", "2"})); break;
      case 2: disk("iscsi", "iqn", one_of({"1", "2"})); break;
      case 3:
        disk("rbd", "image", one_of({"1", "2"}));
        out["rbd"]["monitors"] = json::array({one_of({"m", "n"}), "o" + std::to_string(below(3))});
        if (once_in(2)) out["rbd"]["pool"] = one_of({"rbd", "other"});
        break;
      default: out["persistentVolumeClaim"]["claimName"] = once_in(20) ? "missing" : std::to_string(below(kClaims));
    }
    return out;
  }

  json pod(const std::string& name) {
    json out = {{"metadata", {{"name", name}, {"uid", "u-" + name}, {"namespace", "default"}}},
                {"spec", json::object()}};
    for (std::size_t i = below(3); i > 0; --i) out["spec"]["volumes"].push_back(volume());
    return out;
  }

  void change(int number) {
    reference::Node& node = world_.nodes[below(world_.nodes.size())];
    if (once_in(2) && !node.pods.empty()) {
      cache_.remove_pod(node.pods.front()["metadata"]["uid"].get<std::string>());
      node.pods.erase(node.pods.begin());
      return;
    }
    json one = pod("p" + std::to_string(number));
    one["spec"]["nodeName"] = node.name();
    cache_.set_pod(std::make_shared<const PodInfo>(object(one)));
    node.pods.push_back(one);
  }

  static std::vector<std::string> feasible(scheduler::Plugin& plugin, const PodInfo& pod,
                                           const scheduler::Snapshot& snapshot) {
    std::vector<std::string> out;
    auto prepared = dynamic_cast<scheduler::PreFilter&>(plugin).pre_filter({}, pod, snapshot);
    EXPECT_TRUE(prepared) << prepared.error().message();
    if (!prepared->verdict.ok()) return out;
    const bool skip = prepared->verdict.kind() == scheduler::Verdict::Kind::Skip;
    for (const auto& node : snapshot.nodes()) {
      if (prepared->nodes && std::ranges::find(*prepared->nodes, node->name) == prepared->nodes->end()) continue;
      if (skip || dynamic_cast<scheduler::Filter&>(plugin).filter(pod, prepared->data.get(), *node)->ok())
        out.push_back(node->name);
    }
    std::ranges::sort(out);
    return out;
  }

  std::mt19937 dice_;
  std::vector<std::pair<std::string, std::unique_ptr<scheduler::Plugin>>> plugins_;
  plugins::SchedulerCache cache_;
  reference::Cluster world_;
  reference::Volumes volumes_;
};

TEST_P(VolumesTest, TheSameNodesAreFeasible) {
  std::size_t refusals = 0;
  for (int step = 0; step < 150 && !HasFailure(); ++step) {
    SCOPED_TRACE("step " + std::to_string(step));
    change(step);
    const json waiting = pod("waiting" + std::to_string(step));
    const auto wanted = reference::feasible_volumes(world_, volumes_, waiting);
    const auto snapshot = cache_.snapshot();
    for (const auto& [name, plugin] : plugins_) {
      EXPECT_EQ(feasible(*plugin, PodInfo(object(waiting)), *snapshot), wanted.at(name))
          << name << " filters " << waiting.dump();
      refusals += world_.nodes.size() - wanted.at(name).size();
    }
  }
  EXPECT_GT(refusals, 100U);  // The dice do meet the rules.
}

INSTANTIATE_TEST_SUITE_P(Seeds, VolumesTest, ::testing::Range(1U, 9U));

}  // namespace
}  // namespace kubernel
