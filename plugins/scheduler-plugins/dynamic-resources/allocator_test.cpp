// SPDX-License-Identifier: Apache-2.0

#include "allocator.h"

#include <bit>
#include <map>
#include <set>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <kubernel/testing/fake_clock.h>

#include "capacity.h"

namespace kubernel::plugins {
namespace {

using api::Object;
using nlohmann::json;

Object object(const std::string& text) {
  auto parsed = Object::parse(text);
  EXPECT_TRUE(parsed) << parsed.error().message() << text;
  return *std::move(parsed);
}

scheduler::NodeInfo node(const std::string& name, const std::string& labels = "{}") {
  return scheduler::NodeInfo(
      object(R"({"apiVersion":"v1","kind":"Node","metadata":{"name":")" + name + R"(","labels":)" + labels + "}}"));
}

// A slice of the pool "p" of driver "d".
Object slice(const std::string& devices, const std::string& selection = R"("allNodes":true)",
             const std::string& pool = "p", int generation = 1, int count = 1, const std::string& name = "s") {
  return object(R"({"metadata":{"name":")" + name + R"("},"spec":{"driver":"d",)" + selection + R"(,"pool":{"name":")" +
                pool + R"(","generation":)" + std::to_string(generation) + R"(,"resourceSliceCount":)" +
                std::to_string(count) + R"(},"devices":)" + devices + "}}");
}

Object claim(const std::string& devices, const std::string& name = "c") {
  return object(R"({"metadata":{"namespace":"default","name":")" + name + R"(","uid":"u-)" + name +
                R"("},"spec":{"devices":)" + devices + "}}");
}

std::string one(const std::string& more = "", const std::string& name = "r") {
  return R"({"name":")" + name + R"(","exactly":{"deviceClassName":"any")" + (more.empty() ? "" : "," + more) + "}}";
}

// What classes there are: "any" and "gpu", with a setting.
std::optional<Object> find_class(const std::string& name) {
  if (name == "any") return object(R"({"metadata":{"name":"any"},"spec":{}})");
  if (name == "gpu") {
    return object(
        R"({"metadata":{"name":"gpu"},"spec":{"selectors":[{"cel":{"expression":"device.attributes['d'].kind == 'gpu'"}}],
        "config":[{"opaque":{"driver":"d","parameters":{"from":"class"}}}]}})");
  }
  return std::nullopt;
}

// What one claim gets on node "n": "r=p/a r=p/b"; why it gets nothing otherwise.
std::string gets(const std::vector<Object>& claims, const std::vector<Object>& slices,
                 const std::set<std::string>& taken = {}, const std::string& labels = "{}",
                 std::size_t tries = kMaxTries) {
  SelectorCache selectors;
  std::vector<ClaimRequests> wanted;
  for (const Object& one_claim : claims) {
    auto read = read_requests(one_claim, find_class, selectors);
    if (!read) return read.error().message();
    wanted.push_back(*std::move(read));
  }
  AllocatedDevices allocated;
  for (const std::string& name : taken) allocated.add({"d", "p", name}, 1);
  const Inventory inventory(slices);
  const auto found = find_devices(wanted, inventory.on(node("n", labels)), allocated, tries);
  if (!found) return found.error().message();
  if (found->outcome != SearchOutcome::Found) return found->outcome == SearchOutcome::GaveUp ? "gave up" : "nothing";
  std::string out;
  for (std::size_t c = 0; c < wanted.size(); ++c) {
    for (const ChosenDevice& chosen : found->allocations[c].devices) {
      out += (out.empty() ? "" : " ") + wanted[c].requests[chosen.request].alternatives[chosen.alternative].name + "=" +
             chosen.device->id.pool + "/" + chosen.device->id.device;
    }
  }
  return out;
}

std::string requests(const std::string& list, const std::string& more = "") {
  return R"({"requests":[)" + list + "]" + (more.empty() ? "" : "," + more) + "}";
}

constexpr const char* kDevices = R"([
    {"name":"a","attributes":{"kind":{"string":"gpu"},"numa":{"int":0},"fast":{"bool":true},"version":{"version":"1.10.0"}},"capacity":{"memory":{"value":"8Gi"}}},
    {"name":"b","attributes":{"kind":{"string":"gpu"},"numa":{"int":1}},"capacity":{"memory":{"value":"16Gi"}}},
    {"name":"c","attributes":{"kind":{"string":"nic"},"numa":{"int":1},"other.example.com/speed":{"int":100}}}])";

std::string with(const std::string& expression) {
  return one(R"("selectors":[{"cel":{"expression":")" + expression + R"("}}])");
}

struct Row {
  const char* rule;
  std::string devices;  // spec.devices of the claim.
  const char* gives;
};

class RequestTest : public ::testing::TestWithParam<Row> {};

TEST_P(RequestTest, Gives) {
  EXPECT_EQ(gets({claim(GetParam().devices)}, {slice(kDevices)}), GetParam().gives) << GetParam().rule;
}

INSTANTIATE_TEST_SUITE_P(
    Rules, RequestTest,
    ::testing::Values(
        Row{"one by default", requests(one()), "r=p/a"},
        Row{"as many as asked", requests(one(R"("count":2)")), "r=p/a r=p/b"},
        Row{"not more than there are", requests(one(R"("count":4)")), "nothing"},
        Row{"each device once", requests(one("", "x") + "," + one("", "y")), "x=p/a y=p/b"},
        Row{"all", requests(one(R"("allocationMode":"All")")), "r=p/a r=p/b r=p/c"},
        Row{"all that match", requests(R"({"name":"r","exactly":{"deviceClassName":"gpu","allocationMode":"All"}})"),
            "r=p/a r=p/b"},
        Row{"all of none", requests(one(R"("allocationMode":"All","selectors":[{"cel":{"expression":"false"}}])")),
            "nothing"},
        Row{"the class's selectors count", requests(R"({"name":"r","exactly":{"deviceClassName":"gpu","count":3}})"),
            "nothing"},
        Row{"no such class", requests(R"({"name":"r","exactly":{"deviceClassName":"x"}})"),
            "request r: device class x does not exist"},
        Row{"neither form", requests(R"({"name":"r"})"), "request r: unsupported request type"},
        Row{"by driver", requests(with("device.driver == 'd'")), "r=p/a"},
        Row{"by attribute", requests(with("device.attributes['d'].numa == 1")), "r=p/b"},
        Row{"by another domain's attribute",
            requests(with("device.attributes['other.example.com'].?speed.orValue(0) > 10")), "r=p/c"},
        Row{"by version",
            requests(with("has(device.attributes['d'].version) && "
                          "device.attributes['d'].version.isGreaterThan(semver('1.9.0'))")),
            "r=p/a"},
        Row{"by capacity",
            requests(with(
                "'memory' in device.capacity['d'] && device.capacity['d'].memory.compareTo(quantity('10Gi')) > 0")),
            "r=p/b"},
        Row{"an unknown domain is empty", requests(with("has(device.attributes['x'].y)")), "nothing"},
        Row{"all selectors must agree",
            requests(one(
                R"("selectors":[{"cel":{"expression":"device.attributes['d'].numa == 1"}},{"cel":{"expression":"device.attributes['d'].kind == 'gpu'"}}])")),
            "r=p/b"},
        Row{"an attribute that is not there", requests(with("device.attributes['d'].missing == 1")),
            "claim default/c: selector #0: CEL runtime error: no such key: missing"},
        Row{"a selector that cannot be read", requests(with("device.")),
            "claim default/c: selector #0: CEL compile error: 1:8: syntax error: unexpected end of expression, "
            "expecting a name"},
        Row{"a selector that is no condition", requests(with("device.driver")),
            "claim default/c: selector #0: CEL compile error: must evaluate to bool or the unknown type, not the "
            "string type"},
        Row{"the first available",
            requests(
                R"({"name":"r","firstAvailable":[{"name":"many","deviceClassName":"any","count":9},{"name":"few","deviceClassName":"gpu","count":2}]})"),
            "r/few=p/a r/few=p/b"},
        Row{"the preferred one",
            requests(
                R"({"name":"r","firstAvailable":[{"name":"x","deviceClassName":"any"},{"name":"y","deviceClassName":"any"}]})"),
            "r/x=p/a"},
        Row{"same value", requests(one(R"("count":2)"), R"("constraints":[{"matchAttribute":"d/numa"}])"),
            "r=p/b r=p/c"},
        Row{"same value of three", requests(one(R"("count":3)"), R"("constraints":[{"matchAttribute":"d/numa"}])"),
            "nothing"},
        Row{"same value of some requests",
            requests(one("", "x") + "," + one("", "y") + "," + one("", "z"),
                     R"("constraints":[{"requests":["x","z"],"matchAttribute":"d/numa"}])"),
            "x=p/b y=p/a z=p/c"},
        Row{"an attribute nobody has matches nothing", requests(one(), R"("constraints":[{"matchAttribute":"d/x"}])"),
            "nothing"},
        Row{"same value of a sub-request",
            requests(R"({"name":"x","firstAvailable":[{"name":"s","deviceClassName":"any"}]},)" + one("", "y"),
                     R"("constraints":[{"requests":["x","y"],"matchAttribute":"d/numa"}])"),
            "x/s=p/b y=p/c"},
        Row{"distinct values", requests(one(R"("count":2)"), R"("constraints":[{"distinctAttribute":"d/numa"}])"),
            "r=p/a r=p/b"},
        Row{"too few distinct values",
            requests(one(R"("count":3)"), R"("constraints":[{"distinctAttribute":"d/numa"}])"), "nothing"},
        Row{"capacity asked for", requests(one(R"("capacity":{"requests":{"memory":"10Gi"}})")), "r=p/b"}));

TEST(Allocator, WhatIsTakenIsNotGivenAgain) {
  EXPECT_EQ(gets({claim(requests(one()))}, {slice(kDevices)}, {"a"}), "r=p/b");
  EXPECT_EQ(gets({claim(requests(one(R"("allocationMode":"All")")))}, {slice(kDevices)}, {"a"}), "nothing");
  EXPECT_EQ(gets({claim(requests(one())), claim(requests(one(R"("count":2)")), "e")}, {slice(kDevices)}),
            "r=p/a r=p/b r=p/c");
  EXPECT_EQ(gets({claim(requests(one(R"("count":2)"))), claim(requests(one(R"("count":2)")), "e")}, {slice(kDevices)}),
            "nothing");
}

TEST(AllocatedDevices, AreThoseWithMoreGivenThanTaken) {
  AllocatedDevices devices;
  std::map<DeviceId, int> expected;
  testing::SeededRandom random(3);
  for (int i = 0; i < 5000; ++i) {
    const DeviceId id{"d", "p", std::to_string(random_below(random, 700))};
    const int change = expected[id] > 0 && random_below(random, 2) == 0 ? -1 : 1;
    devices.add(id, change);
    expected[id] += change;
  }
  const AllocatedDevices copy = devices;
  for (const auto& [id, count] : expected) {
    EXPECT_EQ(copy.contains(id), count > 0) << id.device;
    for (int i = 0; i < count; ++i) devices.add(id, -1);
    EXPECT_FALSE(devices.contains(id));
  }
}

// KEP-5018.
TEST(Allocator, AdminAccessUsesDevicesOfOthers) {
  EXPECT_EQ(gets({claim(requests(one(R"("adminAccess":true,"allocationMode":"All")")))}, {slice(kDevices)}, {"a", "b"}),
            "r=p/a r=p/b r=p/c");
}

TEST(Allocator, WithinAClaimAdminAccessGetsDevicesOfItsOwn) {
  const std::string admin = one(R"("adminAccess":true)", "x");
  EXPECT_EQ(gets({claim(requests(admin + "," + one("", "y")))}, {slice(kDevices)}), "x=p/a y=p/b");
  EXPECT_EQ(gets({claim(requests(one("", "y") + "," + admin))}, {slice(kDevices)}), "y=p/a x=p/b");
  EXPECT_EQ(gets({claim(requests(admin + "," + one(R"("adminAccess":true,"count":3)", "y")))}, {slice(kDevices)}),
            "nothing");
}

TEST(Allocator, AcrossClaimsAdminAccessIsInTheWayOfThoseWhoComeLater) {
  const Object with_access = claim(requests(one(R"("adminAccess":true)", "x")));
  const Object without = claim(requests(one("", "y")), "e");
  EXPECT_EQ(gets({with_access, without}, {slice(kDevices)}), "x=p/a y=p/b");
  EXPECT_EQ(gets({without, with_access}, {slice(kDevices)}), "y=p/a x=p/a");
}

TEST(Allocator, DevicesOfOtherNodesMayBearTheSameNames) {
  const std::string device = R"([{"name":"a"}])";
  const Object here = slice(device, R"("nodeName":"n")", "p", 1, 2, "s");
  EXPECT_EQ(gets({claim(requests(one()))}, {here, slice(device, R"("nodeName":"m")", "p", 1, 2, "t")}), "r=p/a");
  EXPECT_EQ(gets({claim(requests(one()))}, {here, slice(device, R"("nodeName":"n")", "p", 1, 2, "t")}), "nothing");
}

TEST(Allocator, HowManyAllAreIsUnknownWhileAPoolOfTheNodeIsIncomplete) {
  const auto all = {claim(requests(one(R"("allocationMode":"All")")))};
  EXPECT_EQ(gets(all, {slice(kDevices), slice("[]", R"("nodeName":"n")", "q", 1, 2, "t")}), "nothing");
  EXPECT_EQ(gets(all, {slice(kDevices), slice("[]", R"("nodeName":"m")", "q", 1, 2, "t")}), "r=p/a r=p/b r=p/c");
}

TEST(Allocator, DevicesThatAreBoundLaterAreTakenLast) {
  const Object late = slice(R"([{"name":"a","bindingConditions":["ready"]},{"name":"b"}])");
  const Object soon = slice(R"([{"name":"x"}])", R"("allNodes":true)", "q", 1, 1, "t");
  EXPECT_EQ(gets({claim(requests(one(R"("count":2)")))}, {late, soon}), "r=q/x r=p/a");
}

TEST(Allocator, AnEarlierChoiceIsTakenBackForALaterNeed) {
  const std::string any = one("", "any");
  const std::string gpu = R"({"name":"gpu","exactly":{"deviceClassName":"gpu","count":2}})";
  EXPECT_EQ(gets({claim(requests(any + "," + gpu))}, {slice(kDevices)}), "any=p/c gpu=p/a gpu=p/b");
  const std::string prefer =
      R"({"name":"r","firstAvailable":[{"name":"two","deviceClassName":"any","count":2},{"name":"one","deviceClassName":"any"}]})";
  EXPECT_EQ(gets({claim(requests(prefer)),
                  claim(requests(R"({"name":"g","exactly":{"deviceClassName":"gpu","count":2}})"), "e")},
                 {slice(kDevices)}),
            "r/one=p/c g=p/a g=p/b");
}

// KEP-5055.
TEST(Allocator, ATaintKeepsRequestsAwayThatDoNotTolerateIt) {
  const auto slices = [](const std::string& effect) {
    return std::vector{slice(R"([{"name":"a","taints":[{"key":"k","value":"v","effect":")" + effect + R"("}]}])")};
  };
  const auto tolerating = [](const std::string& toleration) {
    return claim(requests(one(R"("tolerations":[)" + toleration + "]")));
  };
  for (const std::string effect : {"NoSchedule", "NoExecute"}) {
    EXPECT_EQ(gets({claim(requests(one()))}, slices(effect)), "nothing");
    EXPECT_EQ(gets({tolerating(R"({"operator":"Exists"})")}, slices(effect)), "r=p/a");
    EXPECT_EQ(gets({tolerating(R"({"key":"k","value":"v"})")}, slices(effect)), "r=p/a");
    EXPECT_EQ(gets({tolerating(R"({"key":"k","operator":"Exists","effect":")" + effect + R"("})")}, slices(effect)),
              "r=p/a");
    EXPECT_EQ(gets({tolerating(R"({"key":"k","value":"w"})")}, slices(effect)), "nothing");
    EXPECT_EQ(gets({tolerating(R"({"key":"k","value":"v","effect":"None"})")}, slices(effect)), "nothing");
  }
  EXPECT_EQ(gets({claim(requests(one()))}, slices("None")), "r=p/a");
}

TEST(Allocator, ATaintRuleIsAsATaintOfTheDevicesItSelects) {
  struct Rule {
    const char* rule;
    const char* spec;
    const char* gives;
  };
  const std::vector<Rule> rows = {
      {"of one device", R"({"deviceSelector":{"device":"a"},"taint":{"key":"k","effect":"NoSchedule"}})", "r=p/b"},
      {"of a pool", R"({"deviceSelector":{"pool":"p"},"taint":{"key":"k","effect":"NoSchedule"}})", "nothing"},
      {"of another driver", R"({"deviceSelector":{"driver":"e"},"taint":{"key":"k","effect":"NoSchedule"}})", "r=p/a"},
      {"of everything", R"({"deviceSelector":{},"taint":{"key":"k","effect":"NoExecute"}})", "nothing"},
      {"of nothing", R"({"taint":{"key":"k","effect":"NoExecute"}})", "r=p/a"},
      {"only to be seen", R"({"deviceSelector":{},"taint":{"key":"k","effect":"None"}})", "r=p/a"},
  };
  for (const Rule& row : rows) {
    const Inventory inventory({slice(R"([{"name":"a"},{"name":"b"}])")},
                              {object(R"({"metadata":{"name":"t"},"spec":)" + std::string(row.spec) + "}")});
    SelectorCache selectors;
    const auto wanted = read_requests(claim(requests(one())), find_class, selectors);
    const auto found = find_devices({*wanted}, inventory.on(node("n")), {});
    const std::string gives = found->outcome == SearchOutcome::Found
                                  ? "r=p/" + found->allocations[0].devices[0].device->id.device
                                  : "nothing";
    EXPECT_EQ(gives, row.gives) << row.rule;
  }
}

// KEP-5075: what is taken of 10 of a capacity for a request of it.
TEST(Capacity, IsGivenOutAsThePolicySays) {
  struct Policy {
    const char* rule;
    const char* policy;   // The capacity's requestPolicy.
    const char* request;  // Empty: none.
    const char* takes;    // Empty: nothing can be had.
  };
  const std::vector<Policy> rows = {
      {"without a policy what is asked for", "null", "3", "3"},
      {"without a policy and a request everything", "null", "", "10"},
      {"not more than there is", "null", "11", ""},
      {"the default without a request", R"({"default":"2"})", "", "2"},
      {"a request is stronger than the default", R"({"default":"2"})", "3", "3"},
      {"at least the range's least", R"({"validRange":{"min":"2"}})", "1", "2"},
      {"at most the range's most", R"({"validRange":{"min":"2","max":"4"}})", "5", ""},
      {"up to the next step", R"({"validRange":{"min":"2","step":"3"}})", "3", "5"},
      {"a step is a step", R"({"validRange":{"min":"2","step":"3"}})", "5", "5"},
      {"a step beyond the most", R"({"validRange":{"min":"2","step":"3","max":"7"}})", "6", ""},
      {"steps of a fraction", R"({"validRange":{"min":"500m","step":"250m"}})", "600m", "750m"},
      {"a whole number of such steps", R"({"validRange":{"min":"500m","step":"250m"}})", "900m", "1"},
      {"up to the next value", R"({"validValues":["1","4","8"]})", "2", "4"},
      {"one of the values", R"({"validValues":["1","4","8"]})", "8", "8"},
      {"beyond the values", R"({"validValues":["1","4","8"]})", "9", ""},
  };
  for (const Policy& row : rows) {
    const Inventory inventory(
        {slice(R"([{"name":"a","allowMultipleAllocations":true,"capacity":{"c":{"value":"10","requestPolicy":)" +
               std::string(row.policy) + "}}}]")});
    const auto pools = inventory.on(node("n"));
    const auto asked = object(*row.request == '\0' ? "{}" : R"({"c":")" + std::string(row.request) + R"("})");
    const auto amounts = consumption(*pools[0].devices[0], asked.body());
    EXPECT_EQ(amounts ? amounts->at("c").to_string() : "", row.takes) << row.rule;
  }
  const Inventory inventory({slice(kDevices)});
  const auto pools = inventory.on(node("n"));
  EXPECT_FALSE(consumption(*pools[0].devices[0], object(R"({"other":"1"})").body())) << "no such capacity";
  EXPECT_TRUE(consumption(*pools[0].devices[0], object(R"({"d/memory":"1"})").body())) << "with the driver's domain";
}

TEST(Allocator, ASharedDeviceIsDividedAmongRequests) {
  const std::vector slices = {slice(R"([{"name":"a","allowMultipleAllocations":true,"capacity":{"c":{"value":"10"}}},
      {"name":"b","capacity":{"c":{"value":"10"}}}])")};
  const auto asking = [](const std::string& amount, const std::string& name, const std::string& more = "") {
    return one(R"("capacity":{"requests":{"c":")" + amount + R"("}})" + more, name);
  };
  const std::vector<Row> rows = {
      {"several requests have shares of it", requests(asking("6", "x") + "," + asking("4", "y")), "x=p/a y=p/a"},
      {"until nothing is left", requests(asking("6", "x") + "," + asking("5", "y")), "x=p/a y=p/b"},
      {"one request may have several shares", requests(asking("5", "x", R"(,"count":3)")), "x=p/a x=p/a x=p/b"},
      {"who asks for nothing takes all", requests(one("", "x") + "," + asking("1", "y")), "x=p/a y=p/b"},
      {"a device that is not shared is had whole",
       requests(asking("10", "x") + "," + asking("1", "y") + "," + asking("1", "z")), "x=p/b y=p/a z=p/a"},
      {"a device that is not shared is had once",
       requests(asking("10", "x") + "," + asking("1", "y") + "," + asking("10", "z")), "nothing"},
      {"distinctAttribute keeps shares apart",
       requests(asking("1", "x", R"(,"count":2)"), R"("constraints":[{"distinctAttribute":"d/id"}])"), "nothing"},
      {"All takes one share of each", requests(asking("5", "x", R"(,"allocationMode":"All")")), "x=p/a x=p/b"},
  };
  for (const Row& row : rows) EXPECT_EQ(gets({claim(row.devices)}, slices), row.gives) << row.rule;
}

TEST(Allocator, SharesUseTheCountersOfTheirDeviceOnce) {
  const std::vector slices = {
      slice(R"([{"name":"a","allowMultipleAllocations":true,"capacity":{"c":{"value":"10"}},
                 "consumesCounters":[{"counterSet":"s","counters":{"n":{"value":"3"}}}]},
                {"name":"b","consumesCounters":[{"counterSet":"s","counters":{"n":{"value":"3"}}}]}])",
            R"("allNodes":true,"sharedCounters":[{"name":"s","counters":{"n":{"value":"5"}}}])")};
  const std::string half = R"("capacity":{"requests":{"c":"5"}})";
  EXPECT_EQ(gets({claim(requests(one(half, "x") + "," + one(half, "y")))}, slices), "x=p/a y=p/a");
  EXPECT_EQ(gets({claim(requests(one(half, "x") + "," + one("", "y")))}, slices), "nothing")
      << "b would need more of the counter than a leaves";
}

TEST(Allocator, SlicesSayWhichNodesReachThem) {
  const auto wanted = claim(requests(one()));
  const std::string device = R"([{"name":"a"}])";
  EXPECT_EQ(gets({wanted}, {slice(device, R"("nodeName":"n")")}), "r=p/a");
  EXPECT_EQ(gets({wanted}, {slice(device, R"("nodeName":"m")")}), "nothing");
  const std::string zone =
      R"("nodeSelector":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"zone","operator":"In","values":["z"]}]}]})";
  EXPECT_EQ(gets({wanted}, {slice(device, zone)}, {}, R"({"zone":"z"})"), "r=p/a");
  EXPECT_EQ(gets({wanted}, {slice(device, zone)}, {}, R"({"zone":"y"})"), "nothing");
  EXPECT_EQ(gets({wanted}, {slice(R"([{"name":"a","nodeName":"m"},{"name":"b","nodeName":"n"}])",
                                  R"("perDeviceNodeSelection":true)")}),
            "r=p/b");
}

TEST(Allocator, OnlyCompletePoolsOfTheNewestGenerationCount) {
  const auto wanted = claim(requests(one()));
  const std::string all = R"("allNodes":true)";
  EXPECT_EQ(gets({wanted}, {slice(R"([{"name":"a"}])", all, "p", 1, 2)}), "nothing");
  EXPECT_EQ(gets({wanted}, {slice(R"([{"name":"a"}])", all, "p", 1, 2),
                            slice(R"([{"name":"b"}])", R"("nodeName":"m")", "p", 1, 2, "t")}),
            "r=p/a");
  EXPECT_EQ(
      gets({wanted}, {slice(R"([{"name":"a"}])", all, "p", 1, 1), slice(R"([{"name":"b"}])", all, "p", 2, 1, "t")}),
      "r=p/b");
  EXPECT_EQ(
      gets({wanted}, {slice(R"([{"name":"b"}])", all, "p", 2, 1, "t"), slice(R"([{"name":"a"}])", all, "p", 1, 1)}),
      "r=p/b");
  EXPECT_EQ(gets({wanted}, {slice(R"([{"name":"a"},{"name":"a"}])")}), "nothing");
  // What is missing might match, too.
  EXPECT_EQ(gets({claim(requests(one(R"("allocationMode":"All")")))},
                 {slice(R"([{"name":"a"}])", all, "p"), slice(R"([{"name":"b"}])", all, "q", 1, 2, "t")}),
            "nothing");
}

// KEP-4815.
TEST(Allocator, DevicesShareTheCountersOfTheirPool) {
  const std::string counters =
      R"("allNodes":true,"sharedCounters":[{"name":"gpu","counters":{"memory":{"value":"10Gi"}}}])";
  const auto part = [](const std::string& name, const std::string& memory) {
    return R"({"name":")" + name + R"(","consumesCounters":[{"counterSet":"gpu","counters":{"memory":{"value":")" +
           memory + R"("}}}]})";
  };
  const std::vector slices{
      slice("[" + part("half", "5Gi") + "," + part("most", "8Gi") + "," + part("rest", "5Gi") + "]", counters)};
  EXPECT_EQ(gets({claim(requests(one(R"("count":2)")))}, slices), "r=p/half r=p/rest");
  EXPECT_EQ(gets({claim(requests(one()))}, slices, {"most"}), "nothing");
  EXPECT_EQ(gets({claim(requests(one()))}, slices, {"half"}), "r=p/rest");
}

TEST(Allocator, AClaimHasAtMost32Devices) {
  std::string devices;
  for (int i = 0; i < 40; ++i) devices += (i == 0 ? "" : ",") + (R"({"name":"d)" + std::to_string(i) + R"("})");
  const std::vector slices{slice("[" + devices + "]")};
  EXPECT_NE(gets({claim(requests(one(R"("count":32)")))}, slices), "nothing");
  EXPECT_EQ(
      gets({claim(requests(one(R"("count":20)", "x") + "," + one(R"("count":13)", "y")))}, slices, {}, "{}", 5000),
      "gave up");
  EXPECT_EQ(gets({claim(requests(one(R"("allocationMode":"All")")))}, slices), "nothing");
}

TEST(Allocator, ASearchWithoutEndIsGivenUp) {
  std::string devices;
  for (int i = 0; i < 30; ++i) {
    devices += (i == 0 ? "" : ",") +
               (R"({"name":"d)" + std::to_string(i) + R"(","attributes":{"i":{"int":)" + std::to_string(i % 8) + "}}}");
  }
  const std::string impossible = requests(one(R"("count":9)"), R"("constraints":[{"distinctAttribute":"d/i"}])");
  EXPECT_EQ(gets({claim(impossible)}, {slice("[" + devices + "]")}, {}, "{}", 1000), "gave up");
}

TEST(Allocator, WritesWhatWasChosenWhereItCanBeUsedAndItsSettings) {
  SelectorCache selectors;
  const auto wanted = read_requests(
      claim(
          R"({"requests":[{"name":"g","exactly":{"deviceClassName":"gpu","adminAccess":true,"tolerations":[{"operator":"Exists"}]}},
      {"name":"n","firstAvailable":[{"name":"x","deviceClassName":"gpu","count":9},{"name":"y","deviceClassName":"any"}]}],
      "config":[{"requests":["n"],"opaque":{"driver":"d","parameters":{"from":"claim"}}},{"requests":["n/x"],"opaque":{"driver":"d","parameters":{}}}]})"),
      find_class, selectors);
  ASSERT_TRUE(wanted) << wanted.error().message();
  testing::SeededRandom random(1);
  const auto written = [&](const std::string& selection) {
    const Inventory inventory({slice(kDevices, selection)});
    const auto found = find_devices({*wanted}, inventory.on(node("n", R"({"zone":"z"})")), {});
    EXPECT_TRUE(found && found->outcome == SearchOutcome::Found);
    return allocation_json(*wanted, found->allocations[0], "n", random);
  };
  const json everywhere = written(R"("allNodes":true)");
  EXPECT_EQ(everywhere, json::parse(R"({"devices":{
      "results":[{"request":"g","driver":"d","pool":"p","device":"a","adminAccess":true,"tolerations":[{"operator":"Exists"}]},
                 {"request":"n/y","driver":"d","pool":"p","device":"b"}],
      "config":[{"source":"FromClass","requests":["g"],"opaque":{"driver":"d","parameters":{"from":"class"}}},
                {"source":"FromClaim","requests":["n"],"opaque":{"driver":"d","parameters":{"from":"claim"}}}]}})"))
      << everywhere.dump(1);
  EXPECT_EQ(written(R"("nodeName":"n")")["nodeSelector"],
            json::parse(
                R"({"nodeSelectorTerms":[{"matchFields":[{"key":"metadata.name","operator":"In","values":["n"]}]}]})"));
  const std::string zone =
      R"({"nodeSelectorTerms":[{"matchExpressions":[{"key":"zone","operator":"In","values":["z"]}]}]})";
  EXPECT_EQ(written(R"("nodeSelector":)" + zone)["nodeSelector"], json::parse(zone));
}

// The slow, obvious way: every set of devices for every request.
class BruteForce {
 public:
  BruteForce(const std::vector<ClaimRequests>& claims, const std::vector<const Device*>& devices,
             const AllocatedDevices& allocated)
      : devices_(devices), allocated_(allocated) {
    for (std::size_t c = 0; c < claims.size(); ++c) {
      for (const DeviceRequest& request : claims[c].requests) wanted_.push_back({&claims[c], &request});
    }
  }
  bool possible() { return place(0); }

 private:
  struct Wanted {
    const ClaimRequests* claim;
    const DeviceRequest* request;
  };
  struct Choice {
    const Alternative* alternative;
    unsigned set;
  };

  bool matches(const Alternative& wanted, const Device& device) const {
    return std::ranges::all_of(wanted.selectors,
                               [&](const auto& selector) { return *(**selector.compiled).matches(device); });
  }
  // What those before got: all of them, or those of the same claim.
  unsigned held(std::size_t index, bool same_claim) const {
    unsigned out = 0;
    for (std::size_t k = 0; k < index; ++k) {
      if (!same_claim || wanted_[k].claim == wanted_[index].claim) out |= choices_[k].set;
    }
    return out;
  }
  bool fits(const Alternative& wanted, unsigned set, std::size_t index) const {
    unsigned matching = 0;
    unsigned busy = 0;
    for (std::size_t i = 0; i < devices_.size(); ++i) {
      if (matches(wanted, *devices_[i])) matching |= 1U << i;
      if (allocated_.contains(devices_[i]->id)) busy |= 1U << i;
    }
    if ((set & ~matching) != 0 || (!wanted.admin && (set & busy) != 0)) return false;
    if ((set & held(index, wanted.admin)) != 0) return false;
    return wanted.all ? set == matching && set != 0 : std::popcount(set) == wanted.count;
  }
  bool place(std::size_t index) {
    if (index == wanted_.size()) return constraints_hold();
    for (const Alternative& alternative : wanted_[index].request->alternatives) {
      for (unsigned set = 0; set < (1U << devices_.size()); ++set) {
        if (!fits(alternative, set, index)) continue;
        choices_.push_back({&alternative, set});
        if (place(index + 1)) return true;
        choices_.pop_back();
      }
    }
    return false;
  }
  bool constraints_hold() const {
    for (std::size_t i = 0; i < wanted_.size(); ++i) {
      for (const DeviceConstraint& constraint : wanted_[i].claim->constraints) {
        std::set<std::string> values;
        for (std::size_t k = 0; k < wanted_.size(); ++k) {
          if (wanted_[k].claim != wanted_[i].claim) continue;
          if (!constraint.requests.empty() &&
              std::ranges::find(constraint.requests, wanted_[k].request->name) == constraint.requests.end())
            continue;
          for (std::size_t d = 0; d < devices_.size(); ++d) {
            if ((choices_[k].set >> d & 1U) != 0) values.insert(devices_[d]->body["attributes"]["numa"].dump());
          }
        }
        if (values.size() > 1) return false;
      }
    }
    return true;
  }

  const std::vector<const Device*>& devices_;
  const AllocatedDevices& allocated_;
  std::vector<Wanted> wanted_;
  std::vector<Choice> choices_;
};

std::string random_alternative(Random& random) {
  std::string out = random_below(random, 2) == 0 ? R"("deviceClassName":"any")" : R"("deviceClassName":"gpu")";
  if (random_below(random, 4) == 0) {
    out += R"(,"allocationMode":"All")";
  } else {
    out += R"(,"count":)" + std::to_string(1 + random_below(random, 3));
  }
  if (random_below(random, 6) == 0) out += R"(,"adminAccess":true)";
  if (random_below(random, 3) == 0)
    out += R"(,"selectors":[{"cel":{"expression":"device.attributes['d'].numa != 0"}}])";
  return out;
}

std::string random_request(Random& random, const std::string& name) {
  if (random_below(random, 3) != 0)
    return R"({"name":")" + name + R"(","exactly":{)" + random_alternative(random) + "}}";
  return R"({"name":")" + name + R"(","firstAvailable":[{"name":"x",)" + random_alternative(random) +
         R"(},{"name":"y",)" + random_alternative(random) + "}]}";
}

TEST(Allocator, FindsDevicesExactlyWhenThereIsAWay) {
  testing::SeededRandom random(20);
  int possible = 0;
  for (int round = 0; round < 400; ++round) {
    std::string devices;
    const std::size_t count = 1 + random_below(random, 5);
    AllocatedDevices allocated;
    for (std::size_t i = 0; i < count; ++i) {
      const std::string name(1, static_cast<char>('a' + i));
      devices += (i == 0 ? "" : ",") + (R"({"name":")" + name + R"(","attributes":{"kind":{"string":")" +
                                        (random_below(random, 2) == 0 ? "gpu" : "nic") + R"("},"numa":{"int":)" +
                                        std::to_string(random_below(random, 2)) + "}}}");
      if (random_below(random, 5) == 0) allocated.add({"d", "p", name}, 1);
    }
    SelectorCache selectors;
    std::vector<ClaimRequests> wanted;
    std::string text;
    const auto claims = 1 + random_below(random, 2);
    for (std::size_t c = 0; c < claims; ++c) {
      std::string list = random_request(random, "r");
      if (random_below(random, 2) == 0) list += "," + random_request(random, "s");
      const auto constraint = random_below(random, 3);
      text = requests(list, constraint == 0   ? R"("constraints":[{"matchAttribute":"d/numa"}])"
                            : constraint == 1 ? R"("constraints":[{"requests":["r"],"matchAttribute":"d/numa"}])"
                                              : "");
      auto read = read_requests(claim(text, std::to_string(c)), find_class, selectors);
      ASSERT_TRUE(read) << read.error().message();
      wanted.push_back(*std::move(read));
    }
    const Inventory inventory({slice("[" + devices + "]")});
    const auto pools = inventory.on(node("n"));
    const auto found = find_devices(wanted, pools, allocated);
    ASSERT_TRUE(found) << found.error().message();
    const bool expected = BruteForce(wanted, pools.at(0).devices, allocated).possible();
    possible += expected ? 1 : 0;
    ASSERT_EQ(found->outcome == SearchOutcome::Found, expected) << round << " " << text << " of " << devices;
  }
  EXPECT_GT(possible, 50);
  EXPECT_LT(possible, 350);
}

}  // namespace
}  // namespace kubernel::plugins
