// SPDX-License-Identifier: Apache-2.0

#include "extended_resources.h"

#include <gtest/gtest.h>

namespace kubernel::plugins {
namespace {

using api::Object;
using nlohmann::json;

Object device_class(const std::string& name, const std::string& resource, const std::string& created) {
  return *Object::from_json(json{{"metadata", {{"name", name}, {"creationTimestamp", created}}},
                                 {"spec", {{"extendedResourceName", resource}}}});
}

TEST(ExtendedClasses, TheNewestClassStandsForAResource) {
  const std::string early = "2026-01-01T00:00:00Z", late = "2026-01-01T00:00:01Z";
  const ExtendedClasses classes({device_class("a", "r.io/x", early), device_class("b", "r.io/x", late),
                                 device_class("d", "r.io/y", late), device_class("c", "r.io/y", late)});
  EXPECT_EQ(classes.find("r.io/x"), "b") << "the newest";
  EXPECT_EQ(classes.find("r.io/y"), "c") << "of those made at once the first by name";
  EXPECT_EQ(classes.find("deviceclass.resource.kubernetes.io/a"), "a") << "each has a name of its own";
  EXPECT_EQ(classes.find("r.io/z"), "");
}

struct Row {
  const char* rule;
  const char* spec;
  const char* requests;  // "container-0-request-0=2 …".
  const char* mappings;  // "container:resource=request …".
};

TEST(ExtendedClaim, AsksForWhatItsContainersNeed) {
  const std::vector<Row> rows = {
      {"each container has devices of its own",
       R"({"containers":[{"name":"a","resources":{"requests":{"r.io/x":"1"}}},{"name":"b","resources":{"requests":{"r.io/x":"2"}}}]})",
       "container-0-request-0=1 container-1-request-0=2",
       "a:r.io/x=container-0-request-0 b:r.io/x=container-1-request-0"},
      {"the resource's place among the requests is in the name",
       R"({"containers":[{"name":"a","resources":{"requests":{"cpu":"1","r.io/x":"1","r.io/y":"3"}}}]})",
       "container-0-request-1=1 container-0-request-2=3",
       "a:r.io/x=container-0-request-1 a:r.io/y=container-0-request-2"},
      {"an init container uses what later containers have",
       R"({"initContainers":[{"name":"i","resources":{"requests":{"r.io/x":"1"}}}],"containers":[{"name":"a","resources":{"requests":{"r.io/x":"2"}}}]})",
       "container-1-request-0=2", "a:r.io/x=container-1-request-0 i:r.io/x=container-1-request-0"},
      {"and asks for what is missing",
       R"({"initContainers":[{"name":"i","resources":{"requests":{"r.io/x":"5"}}}],"containers":[{"name":"a","resources":{"requests":{"r.io/x":"2"}}}]})",
       "container-0-request-0=3 container-1-request-0=2",
       "a:r.io/x=container-1-request-0 i:r.io/x=container-1-request-0 i:r.io/x=container-0-request-0"},
      {"init containers share the largest of those",
       R"({"initContainers":[{"name":"i","resources":{"requests":{"r.io/x":"1"}}},{"name":"j","resources":{"requests":{"r.io/x":"3"}}}],"containers":[{"name":"a"}]})",
       "container-1-request-0=3", "i:r.io/x=container-1-request-0 j:r.io/x=container-1-request-0"},
      {"a sidecar keeps its devices: init containers after it cannot use them",
       R"({"initContainers":[{"name":"s","restartPolicy":"Always","resources":{"requests":{"r.io/x":"2"}}},{"name":"i","resources":{"requests":{"r.io/x":"1"}}}],"containers":[{"name":"a"}]})",
       "container-0-request-0=2 container-1-request-0=1",
       "s:r.io/x=container-0-request-0 i:r.io/x=container-1-request-0"},
      {"those before it can",
       R"({"initContainers":[{"name":"i","resources":{"requests":{"r.io/x":"1"}}},{"name":"s","restartPolicy":"Always","resources":{"requests":{"r.io/x":"2"}}}],"containers":[{"name":"a"}]})",
       "container-1-request-0=2", "s:r.io/x=container-1-request-0 i:r.io/x=container-1-request-0"},
  };
  SelectorCache selectors;
  const auto find_class = [](const std::string& name) -> std::optional<Object> { return device_class(name, "", ""); };
  for (const Row& row : rows) {
    const auto pod = Object::parse(R"({"metadata":{"namespace":"default","name":"p","uid":"u-p"},"spec":)" +
                                   std::string(row.spec) + "}");
    ASSERT_TRUE(pod) << row.rule;
    std::map<std::string, std::string> resources;
    for (const auto& [name, amount] : scheduler::PodInfo(*pod).requests.scalars) resources[name] = "class";
    const auto made = make_extended_claim(scheduler::PodInfo(*pod), "u", resources, find_class, selectors);
    ASSERT_TRUE(made) << row.rule << made.error().message();
    std::string requests;
    for (const api::Value request : made->claim.pointer("/spec/devices/requests")) {
      requests += (requests.empty() ? "" : " ") + std::string(request["name"].string()) + "=" +
                  std::to_string(request["exactly"]["count"].integer());
    }
    EXPECT_EQ(requests, row.requests) << row.rule;
    std::string mappings;
    for (const json& mapping : made->mappings) {
      mappings += (mappings.empty() ? "" : " ") + mapping["containerName"].get<std::string>() + ":" +
                  mapping["resourceName"].get<std::string>() + "=" + mapping["requestName"].get<std::string>();
    }
    EXPECT_EQ(mappings, row.mappings) << row.rule;
  }
}

}  // namespace
}  // namespace kubernel::plugins
