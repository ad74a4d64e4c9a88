// SPDX-License-Identifier: Apache-2.0
//
// What a scheduler is told to do: KubeSchedulerConfiguration (kubescheduler.config.k8s.io/v1), read.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kubernel::plugins {

enum class Point : std::uint8_t {
  PreEnqueue, QueueSort, PreFilter, Filter, PostFilter, PreScore, Score, Reserve, Permit, PreBind, Bind, PostBind
};
inline constexpr std::size_t kPoints = 12;
// The configuration's spelling ("preEnqueue"), in the order of Point.
inline constexpr std::array<std::string_view, kPoints> kPointNames = {"preEnqueue", "queueSort", "preFilter", "filter",  "postFilter", "preScore",
                                                                      "score",      "reserve",   "permit",    "preBind", "bind",       "postBind"};

struct EnabledPlugin {
  std::string name;
  int weight = 0;  // 0: not given.
};

struct PluginSet {
  std::vector<EnabledPlugin> enabled;
  std::vector<std::string> disabled;  // "*": all that would be enabled by default.
};

struct ProfileSettings {
  std::string scheduler_name = "default-scheduler";
  std::optional<int> percentage_of_nodes_to_score;
  PluginSet multi_point;
  std::array<PluginSet, kPoints> points;
  std::vector<std::pair<std::string, std::string>> arguments;  // JSON by plugin name; in the place of the plugin's `config:`.
};

}  // namespace kubernel::plugins
