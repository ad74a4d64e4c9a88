// SPDX-License-Identifier: Apache-2.0
//
// What the API facts list and what the server serves, compared one by one.
#include <algorithm>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include <kubernel/schema/schema.h>

#include "../fake_exchange.h"
#include "auth_fixture.h"
#include "http/front.h"
#include "pipeline/component_statuses.h"
#include "proxy/kubelet_proxy.h"
#include "proxy/workload_proxy.h"

namespace kubernel::apiserver {
namespace {

class NoNetwork final : public net::HttpClient {
 public:
  Result<net::Response> request(const CallContext&, const net::ClientRequest&, std::size_t) override { return away(); }
  Result<std::unique_ptr<net::ClientStream>> stream(const CallContext&, const net::ClientRequest&) override {
    return away();
  }
  Result<std::shared_ptr<net::ByteStream>> upgrade(const CallContext&, const net::ClientRequest&,
                                                   net::Headers*) override {
    return away();
  }
  Result<std::shared_ptr<net::WebSocket>> websocket(const CallContext&, const net::ClientRequest&,
                                                    const std::vector<std::string>&) override {
    return away();
  }

 private:
  static Error away() { return Error(Reason::ServiceUnavailable, "there is no network"); }
};

// The server as component.cpp puts it together.
class Surface : public AuthFixture {
 public:
  Surface()
      : front_({api(), metrics_, auth().authenticators(), true, {}}),
        kubelets_(api(), away_),
        workloads_(api(), away_, proxied_address) {
    kubelets_.attach_to(front_);
    workloads_.attach_to(front_);
    serve_component_statuses(api(), [] {
      return std::vector<plugin::Process::Check>{{"storage", "", true}, {"scheduler", "waits for its lease", true}};
    });
  }
  net::Response call(const char* method, const std::string& target) {
    FakeExchange exchange(method, target);
    exchange.as("admin", {"system:masters"});
    front_.serve(exchange);
    return exchange.answer.value_or(net::Response{0, {}, ""});
  }
  json get(const std::string& target) { return json::parse(call("GET", target).body); }

 private:
  kubernel::testing::RecordingMetrics metrics_;
  NoNetwork away_;
  Front front_;
  KubeletProxy kubelets_;
  WorkloadProxy workloads_;
};

std::string name_of(const schema::ResourceInfo& info, std::string_view subresource) {
  std::string out = info.group.empty() ? "" : std::string(info.group) + "/";
  out += std::string(info.version) + " " + std::string(info.plural);
  if (!subresource.empty()) out += "/" + std::string(subresource);
  return out;
}

// The same form of name and verbs, from a discovery document.
std::map<std::string, std::set<std::string>> discovered(Surface& surface) {
  std::map<std::string, std::set<std::string>> out;
  std::vector<std::string> paths = {"/api/v1"};
  const json groups = surface.get("/apis");
  for (const json& group : groups["groups"]) {
    for (const json& version : group["versions"])
      paths.push_back("/apis/" + version["groupVersion"].get<std::string>());
  }
  for (const std::string& path : paths) {
    const json list = surface.get(path);
    for (const json& resource : list["resources"]) {
      std::set<std::string>& verbs =
          out[list["groupVersion"].get<std::string>() + " " + resource["name"].get<std::string>()];
      for (const json& verb : resource["verbs"]) verbs.insert(verb.get<std::string>());
    }
  }
  return out;
}

TEST(Served, EveryStableResourceAndSubresourceOfTheFactsWithItsVerbs) {
  Surface surface;
  auto served = discovered(surface);
  const auto check = [&](const std::string& name, std::span<const std::string_view> verbs) {
    const auto place = served.find(name);
    if (place == served.end()) {
      ADD_FAILURE() << name << " is not served";
      return;
    }
    EXPECT_EQ(place->second, std::set<std::string>(verbs.begin(), verbs.end())) << name;
    served.erase(place);
  };
  for (const schema::ResourceInfo& info : schema::resources()) {
    if (!info.ga) continue;
    check(name_of(info, ""), info.verbs);
    for (const schema::Subresource& sub : info.subresources) check(name_of(info, sub.name), sub.verbs);
  }
  for (const auto& [name, verbs] : served) ADD_FAILURE() << name << " is served, and not in the facts";
}

TEST(Served, TheComponentsOfTheProcessAndTheirState) {
  Surface surface;
  const json list = surface.get("/api/v1/componentstatuses");
  EXPECT_EQ(list["kind"], "ComponentStatusList");
  ASSERT_EQ(list["items"].size(), 2U);
  EXPECT_EQ(list["items"][0]["metadata"]["name"], "storage");
  EXPECT_EQ(list["items"][0]["conditions"][0]["status"], "True");
  const json one = surface.get("/api/v1/componentstatuses/scheduler");
  EXPECT_EQ(one["conditions"][0], (json{{"type", "Healthy"}, {"status", "False"}, {"error", "waits for its lease"}}));
  EXPECT_EQ(surface.get("/api/v1/componentstatuses?fieldSelector=metadata.name=storage")["items"].size(), 1U);
  EXPECT_EQ(surface.call("GET", "/api/v1/componentstatuses/missing").status, 404);
  EXPECT_EQ(surface.call("DELETE", "/api/v1/componentstatuses/storage").status, 405);
}

// Discovery might promise what nobody answers: a GET of something that does not exist says so, and not that the method
// is unknown.
TEST(Served, WhatIsDiscoveredIsAnswered) {
  Surface surface;
  for (const schema::ResourceInfo& info : schema::resources()) {
    if (!info.ga) continue;
    const std::string base = std::string(info.group.empty() ? "/api/" : "/apis/" + std::string(info.group) + "/") +
                             std::string(info.version) + (info.namespaced ? "/namespaces/default/" : "/") +
                             std::string(info.plural) + "/missing";
    for (const schema::Subresource& sub : info.subresources) {
      if (std::find(sub.verbs.begin(), sub.verbs.end(), "get") == sub.verbs.end()) continue;
      const int status = surface.call("GET", base + "/" + std::string(sub.name) + "/").status;
      EXPECT_TRUE(status == 404 || status == 400) << base << "/" << sub.name << ": " << status;
    }
  }
}

}  // namespace
}  // namespace kubernel::apiserver
