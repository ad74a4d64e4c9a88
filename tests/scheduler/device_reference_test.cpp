// SPDX-License-Identifier: Apache-2.0
//
// DynamicResources against the reference, on random devices that pods take and give back.
#include "device_reference.h"

#include <algorithm>
#include <random>

#include <kubernel/testing/scheduler.h>

#include "claim_cache.h"
#include "dynamic_resources.h"

namespace kubernel {
namespace {

using nlohmann::json;
using plugins::kDeviceClasses;
using plugins::kResourceClaims;
using plugins::kResourceSlices;
using scheduler::PodInfo;

class DevicesTest : public testing::SchedulerPluginTest, public ::testing::WithParamInterface<unsigned> {
 protected:
  DevicesTest() : dice_(GetParam()) {
    cluster_.serve(kResourceClaims, "ResourceClaim", true);
    cluster_.serve(kResourceSlices, "ResourceSlice", false);
    cluster_.serve(kDeviceClasses, "DeviceClass", false);
    for (const char* name : {"n0", "n1", "n2", "n3"}) {
      json labels = json::object();
      if (!once_in(4)) labels["rack"] = one_of({"1", "2"});
      world_.nodes.push_back({{{"metadata", {{"name", name}, {"labels", labels}}}, {"spec", json::object()}}, {}});
    }
    put_class("any", json::array());
    put_class("x", json::array({selector(R"(device.driver == "x.io")")}));
    put_class("a", json::array({selector(kModelA)}));
    add_pools();
    plugin_ = make(plugins::make_dynamic_resources);
    informers_->start();
    settle();
  }

  static constexpr const char* kModelA =
      R"(has(device.attributes["x.io"].model) && device.attributes["x.io"].model == "a")";
  static constexpr const char* kModelB =
      R"(has(device.attributes["x.io"].model) && device.attributes["x.io"].model == "b")";
  static constexpr const char* kNuma0 = R"(has(device.attributes["x.io"].numa) && device.attributes["x.io"].numa < 1)";

  void settle() { executor_.run_all(); }
  std::size_t below(std::size_t count) { return dice_() % count; }
  bool once_in(std::size_t n) { return below(n) == 0; }
  std::string one_of(std::initializer_list<const char*> words) { return *(words.begin() + below(words.size())); }
  static json selector(const std::string& expression) { return {{"cel", {{"expression", expression}}}}; }

  void put_class(const std::string& name, const json& selectors) {
    const json document = {{"metadata", {{"name", name}}}, {"spec", {{"selectors", selectors}}}};
    cluster_.put_text(kDeviceClasses, document.dump());
    devices_.classes[name] = document;
  }

  json node_selector() {
    json expression = {{"key", "rack"}, {"operator", "In"}, {"values", json::array({one_of({"1", "2"})})}};
    return {{"nodeSelectorTerms", json::array({{{"matchExpressions", json::array({expression})}}})}};
  }
  std::string some_node() { return world_.nodes[below(world_.nodes.size())].name(); }

  json device(const std::string& name, const std::string& driver) {
    json out = {{"name", name}};
    const auto put = [&](const std::string& attribute, const json& value) {
      if (!once_in(5)) out["attributes"][driver == "x.io" && once_in(2) ? attribute : "x.io/" + attribute] = value;
    };
    put("model", {{"string", one_of({"a", "b"})}});
    put("numa", {{"int", below(2)}});
    if (once_in(6)) {
      json taint = {{"key", one_of({"t", "u"})}, {"effect", one_of({"NoSchedule", "NoExecute", "None"})}};
      if (once_in(2)) taint["value"] = one_of({"1", "2"});
      out["taints"] = json::array({taint});
    }
    return out;
  }

  void add_pools() {
    std::size_t slice = 0;
    for (int pool = 0; pool < 6; ++pool) {
      const std::string driver = one_of({"x.io", "y.io"});
      const auto slices = 1 + below(2);
      const auto generation = 1 + below(2);
      const bool missing = once_in(8);
      const auto kind = below(5);
      const std::string node = some_node();
      for (std::size_t i = 0; i < slices; ++i) {
        json spec = {{"driver", driver},
                     {"pool",
                      {{"name", "p" + std::to_string(pool)},
                       {"generation", generation},
                       {"resourceSliceCount", slices + (missing ? 1 : 0)}}},
                     {"devices", json::array()}};
        for (auto d = below(3) + (i == 0 ? 1 : 0); d > 0; --d) {
          const bool twice = once_in(40);
          spec["devices"].push_back(
              device("d" + std::to_string(once_in(30) ? 0 : i) + std::to_string(twice ? d + 1 : d), driver));
        }
        if (kind < 2) {
          spec["nodeName"] = once_in(4) ? some_node() : node;
        } else if (kind == 2) {
          spec["allNodes"] = true;
        } else if (kind == 3) {
          spec["nodeSelector"] = node_selector();
        } else {
          spec["perDeviceNodeSelection"] = true;
          for (json& one : spec["devices"]) {
            if (once_in(2)) {
              one["nodeName"] = some_node();
            } else {
              one["nodeSelector"] = node_selector();
            }
          }
        }
        put_slice(slice++, spec);
        // What is left of an earlier generation.
        if (!once_in(4)) continue;
        spec["pool"]["generation"] = generation - 1;
        put_slice(slice++, spec);
      }
    }
  }
  void put_slice(std::size_t number, const json& spec) {
    const json document = {{"metadata", {{"name", "s" + std::to_string(number)}}}, {"spec", spec}};
    cluster_.put_text(kResourceSlices, document.dump());
    devices_.slices.push_back(document);
  }

  json request_body(bool may_be_admin) {
    json out = {{"deviceClassName", one_of({"any", "any", "x", "a"})}};
    if (once_in(3)) out["selectors"] = json::array({selector(one_of({kModelA, kModelB, kNuma0}))});
    if (once_in(5)) {
      out["allocationMode"] = "All";
    } else {
      out["count"] = once_in(3) ? 2 : 1;
    }
    if (once_in(2)) {
      json toleration = {{"operator", "Exists"}};
      if (once_in(2)) {
        toleration = {{"key", one_of({"t", "u"})}, {"operator", "Equal"}, {"value", one_of({"1", "2"})}};
      } else if (once_in(2)) {
        toleration["key"] = one_of({"t", "u"});
      }
      if (once_in(3)) toleration["effect"] = one_of({"NoSchedule", "NoExecute"});
      out["tolerations"] = json::array({toleration});
    }
    if (may_be_admin && once_in(6)) out["adminAccess"] = true;
    return out;
  }

  std::string add_claim(std::size_t most_requests) {
    const std::string name = "c" + std::to_string(made_++);
    json requests = json::array();
    for (std::size_t i = 0, count = 1 + below(most_requests); i < count; ++i) {
      json request = {{"name", "r" + std::to_string(i)}};
      if (once_in(3)) {
        for (const char* sub : {"s", "t"}) {
          json body = request_body(false);
          body["name"] = sub;
          request["firstAvailable"].push_back(body);
        }
      } else {
        request["exactly"] = request_body(true);
      }
      requests.push_back(request);
    }
    json spec = {{"requests", requests}};
    if (once_in(2)) {
      json constraint = {{once_in(3) ? "distinctAttribute" : "matchAttribute", one_of({"x.io/model", "x.io/numa"})}};
      if (once_in(3)) constraint["requests"] = json::array({one_of({"r0", "r1", "r0/s"})});
      spec["constraints"] = json::array({constraint});
    }
    const json document = {{"metadata", {{"namespace", "default"}, {"name", name}}}, {"spec", {{"devices", spec}}}};
    cluster_.put_text(kResourceClaims, document.dump());
    devices_.claims[name] = document;
    return name;
  }

  json pod(const std::string& name) {
    json out = {{"metadata", {{"name", name}, {"uid", "u-" + name}, {"namespace", "default"}}},
                {"spec", {{"resourceClaims", json::array()}}}};
    const auto use = [&](const std::string& claim) {
      out["spec"]["resourceClaims"].push_back({{"name", "e-" + claim}, {"resourceClaimName", claim}});
    };
    const bool two = once_in(3);  // Together they ask no more often than one: the reference tries everything.
    use(add_claim(two ? 2 : 3));
    if (two) use(add_claim(1));
    if (once_in(4) && !with_devices_.empty()) use(with_devices_[below(with_devices_.size())]);
    return out;
  }

  static api::Object object(const json& document) {
    auto parsed = api::Object::from_json(document);
    EXPECT_TRUE(parsed) << parsed.error().message();
    return *parsed;
  }

  scheduler::Cycle filtered(const std::shared_ptr<const PodInfo>& pod, std::vector<std::string>& feasible) {
    std::vector<std::shared_ptr<const scheduler::NodeInfo>> infos;
    for (const auto& node : world_.nodes) infos.push_back(std::make_shared<scheduler::NodeInfo>(object(node.object)));
    scheduler::Cycle cycle{pod, std::make_shared<const scheduler::Snapshot>(infos), {}, {}, {}};
    auto prepared = dynamic_cast<scheduler::PreFilter&>(*plugin_).pre_filter({}, *pod, *cycle.snapshot);
    EXPECT_TRUE(prepared && prepared->verdict.ok());
    cycle.data.push_back(std::move(prepared->data));
    for (const auto& node : cycle.snapshot->nodes()) {
      const auto verdict = dynamic_cast<scheduler::Filter&>(*plugin_).filter(*pod, cycle.data[0].get(), *node);
      EXPECT_TRUE(verdict) << verdict.error().message();
      if (verdict->ok()) feasible.push_back(node->name);
    }
    std::ranges::sort(feasible);
    return cycle;
  }

  // The pod gets a node; what it was given is judged.
  void bind(const scheduler::Cycle& cycle, const json& pod, const std::string& node) {
    ASSERT_TRUE(dynamic_cast<scheduler::Reserve&>(*plugin_).reserve({}, cycle, node).ok());
    const auto bound = dynamic_cast<scheduler::PreBind&>(*plugin_).pre_bind({}, cycle, node);
    ASSERT_TRUE(bound) << bound.error().message();
    settle();
    std::map<std::string, json> allocations;
    for (const json& entry : pod["spec"]["resourceClaims"]) {
      const auto name = entry["resourceClaimName"].get<std::string>();
      allocations[name] = cluster_.find(kResourceClaims, {"default", name})->to_json()["status"]["allocation"];
    }
    const auto& of_node =
        std::ranges::find_if(world_.nodes, [&](const reference::Node& one) { return one.name() == node; })->object;
    EXPECT_EQ(reference::wrong_with(devices_, of_node, pod, allocations), "")
        << node << " " << json(allocations).dump();
    for (const auto& [name, allocation] : allocations) {
      if (std::ranges::find(with_devices_, name) == with_devices_.end()) with_devices_.push_back(name);
      devices_.claims[name]["status"]["allocation"] = allocation;
    }
  }

  void give_back() {
    if (with_devices_.empty()) return;
    const std::size_t at = below(with_devices_.size());
    devices_.claims.erase(with_devices_[at]);
    cluster_.erase(kResourceClaims, {"default", with_devices_[at]});
    with_devices_.erase(with_devices_.begin() + static_cast<std::ptrdiff_t>(at));
    settle();
  }

  std::mt19937 dice_;
  std::unique_ptr<scheduler::Plugin> plugin_;
  reference::Cluster world_;
  reference::Devices devices_;
  std::size_t made_ = 0;
  std::vector<std::string> with_devices_;  // Claims.
};

TEST_P(DevicesTest, TheSameNodesAreFeasibleAndWhatIsGivenIsRight) {
  std::size_t bound = 0;
  std::size_t refusals = 0;
  for (int step = 0; step < 60 && !HasFailure(); ++step) {
    SCOPED_TRACE("step " + std::to_string(step));
    if (once_in(2)) give_back();
    const json waiting = pod("w" + std::to_string(step));
    settle();
    const auto wanted = reference::feasible_devices(world_, devices_, waiting);
    std::vector<std::string> feasible;
    const auto cycle = filtered(std::make_shared<const PodInfo>(object(waiting)), feasible);
    json claims = json::array();
    for (const json& entry : waiting["spec"]["resourceClaims"])
      claims.push_back(devices_.claims[entry["resourceClaimName"].get<std::string>()]);
    ASSERT_EQ(feasible, wanted) << claims.dump() << "\nslices " << json(devices_.slices).dump();
    refusals += world_.nodes.size() - wanted.size();
    if (wanted.empty()) continue;
    ++bound;
    bind(cycle, waiting, wanted[below(wanted.size())]);
  }
  EXPECT_GT(bound, 5U);  // The dice do meet the rules.
  EXPECT_GT(refusals, 20U);
}

INSTANTIATE_TEST_SUITE_P(Seeds, DevicesTest, ::testing::Range(1U, 31U));

}  // namespace
}  // namespace kubernel
