// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>
#include <vector>

#include "memory_backend.h"
#include "testing/api_fixture.h"

namespace kubernel::apiserver {

using nlohmann::json;

inline constexpr std::string_view kDeployment =
    R"({"metadata":{"name":"web"},"spec":{"selector":{"matchLabels":{"app":"web"}},
  "template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"c","image":"busybox"}]}}}})";
inline constexpr std::string_view kPod =
    R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"busybox"}]}})";

class Fixture : public testing::ApiFixture {
 public:
  Fixture() : ApiFixture(storage_memory::open_memory) {}

  std::vector<api::Object> list(const api::Resource& resource, std::string_view ns) {
    auto found = client().list({}, resource, {.ns = std::string(ns)});
    return found ? std::move(found->items) : std::vector<api::Object>();
  }
};

}  // namespace kubernel::apiserver
