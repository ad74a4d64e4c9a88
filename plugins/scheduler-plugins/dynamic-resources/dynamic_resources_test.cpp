// SPDX-License-Identifier: Apache-2.0

#include "dynamic_resources.h"

#include <future>

#include <nlohmann/json.hpp>

#include <kubernel/testing/scheduler.h>

#include "claim_cache.h"
#include "core/base/thread_pool.h"

namespace kubernel::plugins {
namespace {

using nlohmann::json;
using scheduler::PodInfo;

constexpr const char* kElsewhere = "resourceclaim not available on the node";
constexpr const char* kNoDevices = "cannot allocate all claims";

class DynamicResourcesTest : public testing::SchedulerPluginTest {
 protected:
  DynamicResourcesTest() {
    cluster_.serve(kResourceClaims, "ResourceClaim", true);
    cluster_.serve(kResourceSlices, "ResourceSlice", false);
    cluster_.serve(kDeviceClasses, "DeviceClass", false);
    cluster_.put_text(kDeviceClasses, R"({"metadata":{"name":"any"},"spec":{}})");
  }
  void start() {
    plugin_ = make(make_dynamic_resources);
    informers_->start();
    executor_.run_all();
  }
  void devices_of(const std::string& node_name, std::initializer_list<const char*> names) {
    std::string devices;
    for (const std::string name : names) devices += (devices.empty() ? "" : ",") + (R"({"name":")" + name + R"("})");
    cluster_.put_text(kResourceSlices, R"({"metadata":{"name":"slice-)" + node_name +
                                           R"("},"spec":{"driver":"d","nodeName":")" + node_name +
                                           R"(","pool":{"name":")" + node_name +
                                           R"(","generation":1,"resourceSliceCount":1},"devices":[)" + devices + "]}}");
  }
  void claim(const std::string& name, const std::string& request = R"("deviceClassName":"any")",
             const std::string& more = "") {
    cluster_.put_text(kResourceClaims, R"({"metadata":{"namespace":"default","name":")" + name +
                                           R"("},"spec":{"devices":{"requests":[
        {"name":"r","exactly":{)" + request +
                                           "}}]}}" + more + "}");
  }
  api::Object stored(const std::string& name) { return *cluster_.find(kResourceClaims, {"default", name}); }
  static std::shared_ptr<const PodInfo> uses(std::initializer_list<const char*> claims, const std::string& name = "p") {
    std::string list;
    for (const std::string one : claims)
      list += (list.empty() ? "" : ",") + (R"({"name":")" + one + R"(","resourceClaimName":")" + one + R"("})");
    return pod(R"({"resourceClaims":[)" + list + "]}", name);
  }
  // A pod whose claim is made from a template.
  static std::shared_ptr<const PodInfo> templated(const std::string& statuses) {
    auto object = api::Object::parse(
        R"({"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"default","name":"p","uid":"u-p"},"spec":{"resourceClaims":[
        {"name":"x","resourceClaimTemplateName":"t"}]},"status":{"resourceClaimStatuses":)" +
        statuses + "}}");
    EXPECT_TRUE(object);
    return std::make_shared<const PodInfo>(*object);
  }
  std::string on(const std::string& node_name, const PodInfo& waiting) {
    return filter(*plugin_, waiting, node(node_name));
  }
  std::string enqueued(const PodInfo& waiting) {
    return joined(dynamic_cast<scheduler::PreEnqueue&>(*plugin_).pre_enqueue(waiting));
  }

  // From pre-filter to the cycle that Reserve and PreBind get.
  scheduler::Cycle decided(const std::shared_ptr<const PodInfo>& waiting, std::initializer_list<const char*> nodes) {
    scheduler::Cycle cycle;
    cycle.pod = waiting;
    std::vector<std::shared_ptr<const scheduler::NodeInfo>> infos;
    for (const char* name : nodes) infos.push_back(std::make_shared<const scheduler::NodeInfo>(node(name)));
    cycle.snapshot = std::make_shared<const scheduler::Snapshot>(infos);
    auto result = dynamic_cast<scheduler::PreFilter&>(*plugin_).pre_filter({}, *waiting, *cycle.snapshot);
    EXPECT_TRUE(result && result->verdict.ok());
    cycle.data.push_back(std::move(result->data));
    return cycle;
  }
  scheduler::Reserve& reserve() { return dynamic_cast<scheduler::Reserve&>(*plugin_); }
  Result<scheduler::Verdict> pre_bind(const scheduler::Cycle& cycle, const std::string& node_name) {
    return dynamic_cast<scheduler::PreBind&>(*plugin_).pre_bind({}, cycle, node_name);
  }
  std::string post_filtered(const scheduler::Cycle& cycle) {
    const auto result = dynamic_cast<scheduler::PostFilter&>(*plugin_).post_filter({}, cycle, {});
    EXPECT_TRUE(result) << result.error().message();
    return joined(result->verdict);
  }

  std::unique_ptr<scheduler::Plugin> plugin_;
};

TEST_F(DynamicResourcesTest, APodWithoutClaimsIsNoneOfItsBusiness) {
  start();
  EXPECT_EQ(enqueued(*pod("{}")), "");
  const auto result = dynamic_cast<scheduler::PreFilter&>(*plugin_).pre_filter({}, *pod("{}"), scheduler::Snapshot());
  EXPECT_EQ(result->verdict.kind(), scheduler::Verdict::Kind::Skip);
}

TEST_F(DynamicResourcesTest, APodWaitsOutsideTheQueueForItsClaims) {
  claim("going");
  cluster_.edit(kResourceClaims, {"default", "going"},
                [](json& c) { c["metadata"]["finalizers"] = json::array({"example.com/x"}); });
  ASSERT_TRUE(cluster_.remove({}, kResourceClaims, {"default", "going"}, {}));
  claim("foreign");
  claim("there");
  start();
  EXPECT_EQ(enqueued(*uses({"absent"})), "resourceclaim.resource.k8s.io \"absent\" not found");
  EXPECT_EQ(enqueued(*uses({"going"})), "resourceclaim \"going\" is being deleted");
  EXPECT_EQ(enqueued(*uses({"there"})), "");
  EXPECT_EQ(enqueued(*templated("[]")), "pod \"default/p\": ResourceClaim not created yet");
  EXPECT_EQ(enqueued(*templated(R"([{"name":"x"}])")), "");
  EXPECT_EQ(enqueued(*templated(R"([{"name":"x","resourceClaimName":"foreign"}])")),
            "ResourceClaim default/foreign was not created for pod default/p (pod is not owner)");
  cluster_.edit(kResourceClaims, {"default", "foreign"}, [](json& c) {
    c["metadata"]["ownerReferences"] =
        json::parse(R"([{"apiVersion":"v1","kind":"Pod","name":"p","uid":"u-p","controller":true}])");
  });
  executor_.run_all();
  EXPECT_EQ(enqueued(*templated(R"([{"name":"x","resourceClaimName":"foreign"}])")), "");
}

TEST_F(DynamicResourcesTest, AClassThatDoesNotExistKeepsThePodFromEveryNode) {
  claim("c", R"("deviceClassName":"none")");
  start();
  EXPECT_EQ(on("a", *uses({"c"})), "request r: device class none does not exist");
}

TEST_F(DynamicResourcesTest, APodFitsWhereThereAreDevices) {
  devices_of("a", {"x"});
  devices_of("b", {"x", "y"});
  claim("one");
  claim("two", R"("deviceClassName":"any","count":2)");
  start();
  EXPECT_EQ(on("a", *uses({"one"})), "");
  EXPECT_EQ(on("a", *uses({"two"})), kNoDevices);
  EXPECT_EQ(on("b", *uses({"two"})), "");
  EXPECT_EQ(on("b", *uses({"one", "two"})), kNoDevices);
  EXPECT_EQ(on("c", *uses({"one"})), kNoDevices);
}

TEST_F(DynamicResourcesTest, ABrokenSelectorIsAnError) {
  devices_of("a", {"x"});
  claim("c", R"("deviceClassName":"any","selectors":[{"cel":{"expression":"device.attributes['d'].x"}}])");
  start();
  const auto waiting = uses({"c"});
  const auto cycle = decided(waiting, {"a"});
  const auto verdict = dynamic_cast<scheduler::Filter&>(*plugin_).filter(*waiting, cycle.data[0].get(), node("a"));
  ASSERT_FALSE(verdict);
  EXPECT_EQ(verdict.error().message(), "claim default/c: selector #0: CEL runtime error: no such key: x");
}

TEST_F(DynamicResourcesTest, ADecidedAllocationIsWrittenWithTheReservationAndTheFinalizer) {
  devices_of("a", {"x"});
  claim("c");
  claim("d");
  start();
  const auto cycle = decided(uses({"c"}), {"a"});
  ASSERT_TRUE(reserve().reserve({}, cycle, "a").ok());
  EXPECT_EQ(on("a", *uses({"d"}, "q")), kNoDevices);  // Nobody else gets it meanwhile.
  EXPECT_EQ(on("a", *uses({"c"}, "q")), "resource claim default/c is in the process of being allocated");
  const auto verdict = pre_bind(cycle, "a");
  ASSERT_TRUE(verdict) << verdict.error().message();
  const auto written = stored("c");
  EXPECT_EQ(written.pointer("/metadata/finalizers/0").string(), "resource.kubernetes.io/delete-protection");
  EXPECT_EQ(written.pointer("/status/allocation").to_json(),
            json::parse(R"({"allocationTimestamp":"2026-01-01T00:00:00Z",
                "devices":{"results":[{"request":"r","driver":"d","pool":"a","device":"x"}]},
                "nodeSelector":{"nodeSelectorTerms":[{"matchFields":[{"key":"metadata.name","operator":"In","values":["a"]}]}]}})"));
  EXPECT_EQ(written.pointer("/status/reservedFor").to_json(),
            json::parse(R"([{"resource":"pods","name":"p","uid":"u-p"}])"));
  // Also while the informer shows the past.
  EXPECT_EQ(on("a", *uses({"d"}, "q")), kNoDevices);
  EXPECT_EQ(on("a", *uses({"c"}, "q")), "");
  executor_.run_all();
  EXPECT_EQ(on("a", *uses({"d"}, "q")), kNoDevices);
  EXPECT_EQ(on("b", *uses({"c"}, "q")), kElsewhere);
}

TEST_F(DynamicResourcesTest, WhatIsNotUsedIsGivenBack) {
  devices_of("a", {"x"});
  claim("c");
  claim("d");
  start();
  const auto cycle = decided(uses({"c"}), {"a"});
  ASSERT_TRUE(reserve().reserve({}, cycle, "a").ok());
  reserve().unreserve({}, cycle, "a");
  reserve().unreserve({}, cycle, "a");
  EXPECT_EQ(on("a", *uses({"d"}, "q")), "");
  EXPECT_FALSE(stored("c").pointer("/status/allocation"));
}

TEST_F(DynamicResourcesTest, APodThatIsNotBoundAfterAllLeavesItsClaimToOthers) {
  devices_of("a", {"x"});
  claim("c");
  start();
  const auto cycle = decided(uses({"c"}), {"a"});
  ASSERT_TRUE(reserve().reserve({}, cycle, "a").ok());
  ASSERT_TRUE(pre_bind(cycle, "a"));
  reserve().unreserve({}, cycle, "a");
  EXPECT_TRUE(stored("c").pointer("/status/reservedFor").empty());
  EXPECT_TRUE(stored("c").pointer("/status/allocation"));
}

TEST_F(DynamicResourcesTest, TwoPodsDoNotGetOneDevice) {
  devices_of("a", {"x"});
  claim("c");
  claim("d");
  start();
  const auto first = decided(uses({"c"}), {"a"});
  const auto second = decided(uses({"d"}, "q"), {"a"});
  EXPECT_TRUE(reserve().reserve({}, first, "a").ok());
  EXPECT_EQ(joined(reserve().reserve({}, second, "a")), kNoDevices);
}

TEST_F(DynamicResourcesTest, AnAllocatedClaimIsShared) {
  devices_of("a", {"x"});
  claim("c", R"("deviceClassName":"any")",
        R"(,"status":{"allocation":{"devices":{"results":[{"request":"r","driver":"d","pool":"a","device":"x"}]}},
      "reservedFor":[{"resource":"pods","name":"q","uid":"u-q"}]})");
  start();
  const auto cycle = decided(uses({"c"}), {"a", "b"});
  EXPECT_EQ(on("b", *uses({"c"})), "");
  ASSERT_TRUE(reserve().reserve({}, cycle, "b").ok());
  ASSERT_TRUE(pre_bind(cycle, "b"));
  EXPECT_EQ(stored("c").pointer("/status/reservedFor").size(), 2U);
  ASSERT_TRUE(pre_bind(cycle, "b"));
  EXPECT_EQ(stored("c").pointer("/status/reservedFor").size(), 2U);
}

TEST_F(DynamicResourcesTest, AClaimHasAtMost256Users) {
  std::string users;
  for (int i = 0; i < 256; ++i)
    users += (i == 0 ? "" : ",") + (R"({"resource":"pods","name":"x","uid":"u-)" + std::to_string(i) + R"("})");
  claim("c", R"("deviceClassName":"any")", R"(,"status":{"allocation":{},"reservedFor":[)" + users + "]}");
  start();
  EXPECT_EQ(on("a", *uses({"c"})), "resourceclaim in use");
  EXPECT_EQ(on("a", *uses({"c"}, "7")), "");
}

TEST_F(DynamicResourcesTest, AConflictIsTriedAgainWithTheClaimAsItIs) {
  devices_of("a", {"x"});
  claim("c");
  start();
  const auto cycle = decided(uses({"c"}), {"a"});
  ASSERT_TRUE(reserve().reserve({}, cycle, "a").ok());
  cluster_.edit(kResourceClaims, {"default", "c"}, [](json& c) { c["metadata"]["labels"]["x"] = "y"; });
  const auto verdict = pre_bind(cycle, "a");
  ASSERT_TRUE(verdict) << verdict.error().message();
  EXPECT_EQ(stored("c").labels()["x"].string(), "y");
  EXPECT_TRUE(stored("c").pointer("/status/allocation"));
}

TEST_F(DynamicResourcesTest, AnotherSchedulersAllocationWins) {
  devices_of("a", {"x"});
  claim("c");
  start();
  const auto cycle = decided(uses({"c"}), {"a"});
  ASSERT_TRUE(reserve().reserve({}, cycle, "a").ok());
  cluster_.edit(kResourceClaims, {"default", "c"}, [](json& c) {
    c["status"]["allocation"] = json::object({{"devices", json::object()}});
  });
  const auto verdict = pre_bind(cycle, "a");
  ASSERT_FALSE(verdict);
  EXPECT_EQ(verdict.error().message(), "claim default/c got allocated elsewhere in the meantime");
  reserve().unreserve({}, cycle, "a");
  EXPECT_TRUE(stored("c").pointer("/status/reservedFor").empty());
}

TEST_F(DynamicResourcesTest, AFailedWriteSaysWhich) {
  devices_of("a", {"x"});
  claim("c");
  claim("d");
  start();
  const auto cycle = decided(uses({"c"}), {"a"});
  ASSERT_TRUE(reserve().reserve({}, cycle, "a").ok());
  cluster_.fail_next("update/status", kResourceClaims, Error(Reason::Forbidden, "no"));
  EXPECT_EQ(pre_bind(cycle, "a").error().message(), "add allocation and reservation to claim default/c: no");
  EXPECT_EQ(on("a", *uses({"d"}, "q")), "");
}

TEST_F(DynamicResourcesTest, AClaimNobodyUsesIsDeallocatedWhenItKeepsThePodFromANode) {
  const std::string allocated = R"(,"status":{"allocation":{"devices":{"results":[]},
      "nodeSelector":{"nodeSelectorTerms":[{"matchFields":[{"key":"metadata.name","operator":"In","values":["a"]}]}]}})";
  claim("c", R"("deviceClassName":"any")", allocated + "}");
  claim("used", R"("deviceClassName":"any")",
        allocated + R"(,"reservedFor":[{"resource":"pods","name":"q","uid":"u-q"}]})");
  start();
  EXPECT_EQ(on("b", *uses({"c"})), kElsewhere);
  EXPECT_EQ(post_filtered(decided(uses({"used"}), {"b"})), "still not schedulable");
  EXPECT_EQ(post_filtered(decided(uses({"c"}), {"a"})), "still not schedulable");
  EXPECT_EQ(post_filtered(decided(uses({"c"}), {"b"})), "deallocation of ResourceClaim completed");
  EXPECT_FALSE(stored("c").pointer("/status/allocation"));
  EXPECT_TRUE(stored("used").pointer("/status/allocation"));
}

TEST_F(DynamicResourcesTest, DevicesThatAppearAreSeen) {
  claim("c");
  start();
  EXPECT_EQ(on("a", *uses({"c"})), kNoDevices);
  devices_of("a", {"x"});
  executor_.run_all();
  EXPECT_EQ(on("a", *uses({"c"})), "");
  cluster_.erase(kResourceSlices, {"", "slice-a"});
  executor_.run_all();
  EXPECT_EQ(on("a", *uses({"c"})), kNoDevices);
}

TEST_F(DynamicResourcesTest, ADeletedClaimsDevicesAreFree) {
  devices_of("a", {"x"});
  claim("c");
  claim("d", R"("deviceClassName":"any")",
        R"(,"status":{"allocation":{"devices":{"results":[{"request":"r","driver":"d","pool":"a","device":"x"}]}}})");
  start();
  EXPECT_EQ(on("a", *uses({"c"})), kNoDevices);
  cluster_.erase(kResourceClaims, {"default", "d"});
  executor_.run_all();
  EXPECT_EQ(on("a", *uses({"c"})), "");
}

TEST_F(DynamicResourcesTest, IsWokenByWhatMayHelp) {
  claim("c");
  claim("d");
  start();
  const auto changed = [](const api::Object& object, const char* status) {
    return *object.with([&](json& c) { c["status"] = json::parse(status); });
  };
  const auto labeled = [](const api::Object& object) {
    return *object.with([](json& c) { c["metadata"]["labels"]["x"] = "y"; });
  };
  const auto object = [](const std::string& spec) {
    return *api::Object::parse(R"({"metadata":{"name":"x"},"spec":)" + spec + "}");
  };
  const auto own = stored("c");
  const auto other = stored("d");
  const auto other_held = changed(other, R"({"allocation":{}})");
  const auto made_for_it = *api::Object::parse(R"({"metadata":{"namespace":"default","name":"p-x","ownerReferences":[
      {"apiVersion":"v1","kind":"Pod","name":"p","uid":"u-p","controller":true}]}})");
  const auto waiting = uses({"c"});
  const auto templated =
      pod(R"({"resourceClaims":[{"name":"x","resourceClaimTemplateName":"t"}]})");  // Its claim is not made yet.
  struct Row {
    const char* rule;
    const api::Resource& resource;
    std::shared_ptr<const PodInfo> pod;
    api::Object before, after;
    bool woken;
  };
  const std::vector<Row> rows = {
      {"its claim came", kResourceClaims, waiting, {}, own, true},
      {"another claim came", kResourceClaims, waiting, {}, other, false},
      {"its claim has other labels", kResourceClaims, waiting, own, labeled(own), false},
      {"its claim was allocated", kResourceClaims, waiting, own, changed(own, R"({"allocation":{}})"), true},
      {"another claim was allocated", kResourceClaims, waiting, other, other_held, false},
      {"devices were given back", kResourceClaims, waiting, other_held, other, true},
      {"devices were given back with their claim", kResourceClaims, waiting, other_held, {}, true},
      {"devices were given back, but its own claim is missing", kResourceClaims, templated, other_held, other, false},
      {"the claim that is made for it came", kResourceClaims, templated, {}, made_for_it, true},
      {"a claim that held nothing went", kResourceClaims, waiting, other, {}, false},
      {"a class came", kDeviceClasses, waiting, {}, object("{}"), true},
      {"a class selects others", kDeviceClasses, waiting, object("{}"), object(R"({"selectors":[]})"), true},
      {"a class has other labels", kDeviceClasses, waiting, object("{}"), labeled(object("{}")), false},
      {"a class went", kDeviceClasses, waiting, object("{}"), {}, false},
      {"a slice came", kResourceSlices, waiting, {}, object("{}"), true},
      {"a slice has other devices", kResourceSlices, waiting, object("{}"), object(R"({"devices":[]})"), true},
      {"a slice has other labels", kResourceSlices, waiting, object("{}"), labeled(object("{}")), false},
      {"a slice went, which its pool may have been too many with", kResourceSlices, waiting, object("{}"), {}, true},
  };
  for (const Row& row : rows) {
    bool woken = false;
    for (const auto& interest : plugin_->retry_on()) {
      if (interest.event != scheduler::ClusterEvent::ResourceChanged || !(interest.resource == row.resource)) continue;
      bool named = true;
      if (interest.names_of_change) {
        const auto names = interest.names_of_change(row.before, row.after);
        const auto mine = interest.names_of_pod(*row.pod);
        named = !names || std::ranges::find_first_of(mine, *names) != mine.end();
        EXPECT_TRUE(named || !interest.helps(*row.pod, row.before, row.after)) << row.rule << ": would have helped";
      }
      woken = woken || (named && interest.helps(*row.pod, row.before, row.after));
    }
    EXPECT_EQ(woken, row.woken) << row.rule;
  }
  EXPECT_EQ(std::ranges::count(plugin_->retry_on(), kDeviceTaintRules, &scheduler::EventInterest::resource), 0);
}

// KEP-4816.
TEST_F(DynamicResourcesTest, NodesWithEarlierAlternativesScoreHigher) {
  cluster_.put_text(kDeviceClasses, R"({"metadata":{"name":"gpu"},"spec":{"selectors":[
      {"cel":{"expression":"device.attributes['d'].kind == 'gpu'"}}]}})");
  const auto node_devices = [&](const std::string& name, const std::string& devices) {
    cluster_.put_text(kResourceSlices, R"({"metadata":{"name":")" + name + R"("},"spec":{"driver":"d","nodeName":")" +
                                           name + R"(","pool":{"name":")" + name +
                                           R"(","generation":1,"resourceSliceCount":1},"devices":)" + devices + "}}");
  };
  const std::string gpu = R"("attributes":{"kind":{"string":"gpu"}})",
                    nic = R"("attributes":{"kind":{"string":"nic"}})";
  node_devices("two", R"([{"name":"x",)" + gpu + R"(},{"name":"y",)" + gpu + "}]");
  node_devices("one", R"([{"name":"x",)" + gpu + R"(},{"name":"y",)" + nic + "}]");
  node_devices("none", R"([{"name":"x",)" + nic + R"(}])");
  cluster_.put_text(kResourceClaims, R"({"metadata":{"namespace":"default","name":"c"},"spec":{"devices":{"requests":[
      {"name":"r","firstAvailable":[{"name":"two","deviceClassName":"gpu","count":2},{"name":"one","deviceClassName":"gpu"},
                                    {"name":"any","deviceClassName":"any"}]}]}}})");
  claim("plain");
  start();
  const auto scores = [&](const PodInfo& waiting) {
    std::vector<std::int64_t> out;
    auto& scorer = dynamic_cast<scheduler::Score&>(*plugin_);
    const auto skipped =
        dynamic_cast<scheduler::PreScore&>(*plugin_).pre_score({}, waiting, scheduler::Snapshot(), {})->verdict;
    if (skipped.kind() == scheduler::Verdict::Kind::Skip) return out;
    const auto data =
        std::move(dynamic_cast<scheduler::PreFilter&>(*plugin_).pre_filter({}, waiting, scheduler::Snapshot())->data);
    for (const char* name : {"two", "one", "none"})
      out.push_back(*scorer.score(waiting, data.get(), node(name), scheduler::Snapshot()));
    scorer.normalize(waiting, data.get(), out);
    return out;
  };
  // 8, 7 and 6 of at most 8.
  EXPECT_EQ(scores(*uses({"c"})), (std::vector<std::int64_t>{100, 87, 75}));
  EXPECT_EQ(scores(*uses({"plain"})), std::vector<std::int64_t>()) << "without alternatives nodes do not differ";
  EXPECT_EQ(scores(*pod("{}")), std::vector<std::int64_t>());
}

// KEP-5007.
class BindingConditionsTest : public DynamicResourcesTest {
 protected:
  BindingConditionsTest() {
    cluster_.put_text(kResourceSlices, R"({"metadata":{"name":"s"},"spec":{"driver":"d","allNodes":true,
        "pool":{"name":"p","generation":1,"resourceSliceCount":1},"devices":[
          {"name":"x","bindsToNode":true,"bindingConditions":["Ready"],"bindingFailureConditions":["Broken"]}]}})");
  }
  // What the driver says of the device.
  void driver_says(const std::string& type) {
    cluster_.edit(kResourceClaims, {"default", "c"}, [&](json& c) {
      c["status"]["devices"] = json::parse(R"([{"driver":"d","pool":"p","device":"x","conditions":[
          {"type":")" + type + R"(","status":"True","reason":"Because","message":"it is so"}]}])");
    });
  }
};

TEST_F(BindingConditionsTest, APodIsBoundOnceItsDevicesAreReady) {
  claim("c");
  driver_says("Ready");
  start();
  const auto cycle = decided(uses({"c"}), {"a"});
  ASSERT_TRUE(reserve().reserve({}, cycle, "a").ok());
  const auto verdict = pre_bind(cycle, "a");
  ASSERT_TRUE(verdict) << verdict.error().message();
  EXPECT_TRUE(verdict->ok());
  const auto allocation = stored("c").pointer("/status/allocation");
  EXPECT_EQ(allocation["devices"]["results"].at(0)["bindingConditions"].to_json(), json::parse(R"(["Ready"])"));
  EXPECT_EQ(allocation["devices"]["results"].at(0)["bindingFailureConditions"].to_json(), json::parse(R"(["Broken"])"));
  EXPECT_EQ(allocation["nodeSelector"].to_json(),
            json::parse(
                R"({"nodeSelectorTerms":[{"matchFields":[{"key":"metadata.name","operator":"In","values":["a"]}]}]})"))
      << "bindsToNode: the claim stays on the node";
}

TEST_F(BindingConditionsTest, APodWaitsUntilTheDriverSaysThatItsDevicesAreReady) {
  claim("c");
  start();
  const auto cycle = decided(uses({"c"}), {"a"});
  ASSERT_TRUE(reserve().reserve({}, cycle, "a").ok());
  core::ThreadPool pool(core::ThreadPoolOptions{"test"}, log_, metrics_);
  std::promise<std::string> outcome;
  ASSERT_TRUE(pool.submit([&] {
    const auto verdict = pre_bind(cycle, "a");
    outcome.set_value(verdict ? joined(*verdict) : verdict.error().message());
  }));
  auto result = outcome.get_future();
  while (!stored("c").pointer("/status/allocation")) executor_.run_all();
  EXPECT_EQ(result.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  driver_says("Ready");
  executor_.run_all();
  EXPECT_EQ(result.get(), "");
  pool.stop();
}

TEST_F(BindingConditionsTest, AFailureBringsThePodBackAndTheClaimIsGivenBack) {
  claim("c");
  driver_says("Broken");
  start();
  auto cycle = decided(uses({"c"}), {"a"});
  ASSERT_TRUE(reserve().reserve({}, cycle, "a").ok());
  const auto verdict = pre_bind(cycle, "a");
  ASSERT_FALSE(verdict);
  EXPECT_EQ(verdict.error().message(), "claim c binding failed: reason=Because, message=\"it is so\"");
  reserve().unreserve({}, cycle, "a");
  executor_.run_all();
  EXPECT_EQ(on("a", *uses({"c"})), kElsewhere);
  EXPECT_EQ(post_filtered(decided(uses({"c"}), {"a"})), "deallocation of ResourceClaim completed");
  EXPECT_FALSE(stored("c").pointer("/status/devices")) << "what the driver said was of the old allocation";
  executor_.run_all();
  EXPECT_EQ(on("a", *uses({"c"})), "");
}

TEST_F(BindingConditionsTest, AClaimThatWaitsForTooLongIsGivenBack) {
  claim("c", R"("deviceClassName":"any")",
        R"(,"status":{"allocation":{"allocationTimestamp":"2026-01-01T00:00:00Z","devices":{"results":[
            {"request":"r","driver":"d","pool":"p","device":"x","bindingConditions":["Ready"]}]}}})");
  start();
  clock_.advance(std::chrono::minutes(10));
  EXPECT_EQ(on("a", *uses({"c"})), "");
  const auto cycle = decided(uses({"c"}), {"a"});
  clock_.advance(std::chrono::seconds(1));
  EXPECT_EQ(on("a", *uses({"c"})), kElsewhere);
  const auto verdict = pre_bind(cycle, "a");
  ASSERT_FALSE(verdict);
  EXPECT_EQ(verdict.error().message(), "claim c binding timeout");
  reserve().unreserve({}, cycle, "a");
  executor_.run_all();
  EXPECT_EQ(post_filtered(decided(uses({"c"}), {"a"})), "deallocation of ResourceClaim completed");
}

TEST_F(DynamicResourcesTest, DeviceTaintRulesCountWhenAskedFor) {
  cluster_.serve(kDeviceTaintRules, "DeviceTaintRule", false);
  cluster_.put_text(kDeviceTaintRules, R"({"metadata":{"name":"r"},"spec":{"deviceSelector":{"driver":"d","pool":"a"},
      "taint":{"key":"k","effect":"NoExecute"}}})");
  devices_of("a", {"x"});
  devices_of("b", {"x"});
  claim("c");
  claim("tolerant", R"("deviceClassName":"any","tolerations":[{"operator":"Exists"}])");
  start();
  EXPECT_EQ(on("a", *uses({"c"})), "");
  plugin_ = make(make_dynamic_resources, R"({"deviceTaintRules":true})");
  informers_->start();
  executor_.run_all();
  EXPECT_EQ(on("a", *uses({"c"})), kNoDevices);
  EXPECT_EQ(on("b", *uses({"c"})), "");
  EXPECT_EQ(on("a", *uses({"tolerant"})), "");
  const auto keeps_away = *cluster_.find(kDeviceTaintRules, {"", "r"});
  const auto other = *keeps_away.with([](json& r) { r["spec"]["deviceSelector"]["pool"] = "b"; });
  for (const auto& interest : plugin_->retry_on()) {
    if (!(interest.resource == kDeviceTaintRules)) continue;
    EXPECT_FALSE(interest.helps(*uses({"c"}), {}, keeps_away)) << "a rule that comes keeps pods away";
    EXPECT_TRUE(interest.helps(*uses({"c"}), keeps_away, other));
    EXPECT_TRUE(interest.helps(*uses({"c"}), keeps_away, {}));
  }
  EXPECT_EQ(std::ranges::count(plugin_->retry_on(), kDeviceTaintRules, &scheduler::EventInterest::resource), 1);
  cluster_.edit(kDeviceTaintRules, {"", "r"}, [](json& rule) { rule["spec"].erase("deviceSelector"); });
  executor_.run_all();
  EXPECT_EQ(on("a", *uses({"c"})), "") << "a rule without a selector is about no device";
}

// KEP-5075.
TEST_F(DynamicResourcesTest, SharesOfADeviceAreGivenOutUntilItsCapacityIsUsedUp) {
  cluster_.put_text(kResourceSlices, R"({"metadata":{"name":"s"},"spec":{"driver":"d","nodeName":"a",
      "pool":{"name":"p","generation":1,"resourceSliceCount":1},"devices":[
        {"name":"x","allowMultipleAllocations":true,"capacity":{"memory":{"value":"10Gi"}}}]}})");
  const std::string six = R"("deviceClassName":"any","capacity":{"requests":{"memory":"6Gi"}})";
  const std::string four = R"("deviceClassName":"any","capacity":{"requests":{"memory":"4Gi"}})";
  claim("six", six);
  claim("also-six", six);
  claim("four", four);
  start();
  const auto cycle = decided(uses({"six"}), {"a"});
  ASSERT_TRUE(reserve().reserve({}, cycle, "a").ok());
  EXPECT_EQ(on("a", *uses({"also-six"}, "q")), kNoDevices);
  EXPECT_EQ(on("a", *uses({"four"}, "q")), "");
  ASSERT_TRUE(pre_bind(cycle, "a"));
  const auto result = stored("six").pointer("/status/allocation/devices/results/0");
  EXPECT_EQ(result["consumedCapacity"].to_json(), json::parse(R"({"memory":"6Gi"})"));
  EXPECT_EQ(result["shareID"].string().size(), 36U);
  executor_.run_all();
  EXPECT_EQ(on("a", *uses({"also-six"}, "q")), kNoDevices);
  cluster_.erase(kResourceClaims, {"default", "six"});
  executor_.run_all();
  EXPECT_EQ(on("a", *uses({"also-six"}, "q")), "");
}

// KEP-5004.
class ExtendedResourcesTest : public DynamicResourcesTest {
 protected:
  ExtendedResourcesTest() {
    cluster_.put_text(kDeviceClasses,
                      R"({"metadata":{"name":"gpus"},"spec":{"extendedResourceName":"example.com/gpu"}})");
    devices_of("a", {"x", "y"});
  }
  std::shared_ptr<const PodInfo> wants(int count, const std::string& name = "p",
                                       const std::string& resource = "example.com/gpu") {
    auto made = pod(R"({"containers":[{"name":"c","resources":{"requests":{")" + resource + R"(":")" +
                        std::to_string(count) + R"("}}}]})",
                    name);
    cluster_.put(api::resources::kPods, made->object.to_json());
    return std::make_shared<const PodInfo>(*cluster_.find(api::resources::kPods, {"default", name}));
  }
  scheduler::NodeInfo counting(const std::string& name) {
    return node(name, R"("status":{"allocatable":{"example.com/gpu":"4"}})");
  }
  std::vector<api::Object> claims() { return cluster_.all(kResourceClaims); }
};

TEST_F(ExtendedResourcesTest, ANodeWithoutTheResourceNeedsDevicesOfItsClass) {
  start();
  const auto two = wants(2), three = wants(3, "q");
  EXPECT_EQ(on("a", *two), "");
  EXPECT_EQ(on("a", *three), kNoDevices);
  EXPECT_EQ(on("b", *two), kNoDevices);
  EXPECT_EQ(filter(*plugin_, *three, counting("b")), "") << "the node has it as a number: NodeResourcesFit counts";
  EXPECT_EQ(on("a", *wants(2, "r", "deviceclass.resource.kubernetes.io/any")), "")
      << "each class has a name of its own";
  EXPECT_EQ(on("b", *wants(2, "s", "example.com/other")), "") << "no class: none of its business";
  EXPECT_TRUE(device_resources_->contains("example.com/gpu"));
  EXPECT_TRUE(device_resources_->contains("deviceclass.resource.kubernetes.io/gpus"));
  EXPECT_FALSE(device_resources_->contains("example.com/other"));
}

TEST_F(ExtendedResourcesTest, TheClaimIsMadeBeforeThePodIsBound) {
  start();
  const auto cycle = decided(wants(2), {"a"});
  ASSERT_TRUE(reserve().reserve({}, cycle, "a").ok());
  EXPECT_TRUE(claims().empty()) << "nothing is written before the pod is bound";
  EXPECT_EQ(on("a", *wants(1, "q")), kNoDevices) << "the devices are held";
  const auto verdict = pre_bind(cycle, "a");
  ASSERT_TRUE(verdict) << verdict.error().message();
  ASSERT_EQ(claims().size(), 1U);
  const auto made = claims()[0];
  EXPECT_TRUE(made.name().starts_with("p-extended-resources-")) << made.name();
  EXPECT_EQ(made.annotations()["resource.kubernetes.io/extended-resource-claim"].string(), "true");
  EXPECT_EQ(made.head().controller_uid, cycle.pod->uid());
  EXPECT_EQ(
      made.pointer("/spec/devices/requests").to_json(),
      json::parse(
          R"([{"name":"container-0-request-0","exactly":{"deviceClassName":"gpus","allocationMode":"ExactCount","count":2}}])"));
  EXPECT_EQ(made.pointer("/status/allocation/devices/results").size(), 2U);
  EXPECT_EQ(made.pointer("/status/reservedFor/0/uid").string(), cycle.pod->uid());
  const auto bound = *cluster_.find(api::resources::kPods, {"default", "p"});
  EXPECT_EQ(
      bound.pointer("/status/extendedResourceClaimStatus").to_json(),
      json(
          {{"resourceClaimName", made.name()},
           {"requestMappings",
            json::parse(
                R"([{"containerName":"c","resourceName":"example.com/gpu","requestName":"container-0-request-0"}])")}}));
  // Whether or not the informer has seen the claim.
  EXPECT_EQ(on("a", *wants(1, "q")), kNoDevices);
  executor_.run_all();
  EXPECT_EQ(on("a", *wants(1, "q")), kNoDevices);
  cluster_.erase(kResourceClaims, made.key());
  executor_.run_all();
  EXPECT_EQ(on("a", *wants(1, "q")), "");
}

TEST_F(ExtendedResourcesTest, AClaimOfAPodThatIsNotBoundIsTakenBack) {
  start();
  const auto cycle = decided(wants(2), {"a"});
  ASSERT_TRUE(reserve().reserve({}, cycle, "a").ok());
  ASSERT_TRUE(pre_bind(cycle, "a"));
  reserve().unreserve({}, cycle, "a");
  EXPECT_TRUE(claims().empty());
  executor_.run_all();
  EXPECT_EQ(on("a", *wants(2, "q")), "");
}

TEST_F(ExtendedResourcesTest, WhatAnotherSchedulerLeftIsRemovedFirst) {
  const auto waiting = wants(1);
  cluster_.put(kResourceClaims, json::parse(R"({"metadata":{"namespace":"default","name":"p-extended-resources-1",
                   "annotations":{"resource.kubernetes.io/extended-resource-claim":"true"},
                   "finalizers":["resource.kubernetes.io/delete-protection"],
                   "ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"p","controller":true,"uid":")" +
                                            waiting->uid() + R"("}]},
                   "spec":{"devices":{"requests":[{"name":"container-0-request-0","exactly":{"deviceClassName":"gpus"}}]}}})"));
  start();
  EXPECT_EQ(on("a", *waiting), "cannot schedule extended resource claim");
  EXPECT_EQ(post_filtered(decided(waiting, {"a"})), "deletion of ResourceClaim completed");
  EXPECT_TRUE(claims().empty());
  EXPECT_EQ(on("a", *waiting), "");
}

}  // namespace
}  // namespace kubernel::plugins
