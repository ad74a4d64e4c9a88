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

#include <kubernel/base/result.h>

namespace kubernel::plugins {

enum class Point : std::uint8_t {
  PreEnqueue,
  QueueSort,
  PreFilter,
  Filter,
  PostFilter,
  PreScore,
  Score,
  Reserve,
  Permit,
  PreBind,
  Bind,
  PostBind
};
inline constexpr std::size_t kPoints = 12;
// The configuration's spelling ("preEnqueue"), in the order of Point.
inline constexpr std::array<std::string_view, kPoints> kPointNames = {
    "preEnqueue", "queueSort", "preFilter", "filter",  "postFilter", "preScore",
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
  std::vector<std::string> ignored_resources;  // NodeResourcesFit gets them beside its own ignoredResources.
  std::vector<std::pair<std::string, std::string>>
      arguments;  // JSON by plugin name; in the place of the plugin's `config:`.
};

// A process outside that is asked over HTTP(S) (k8s.io/kube-scheduler/extender/v1).
struct ExtenderSettings {
  std::string url_prefix;
  std::string filter_verb, preempt_verb, prioritize_verb, bind_verb;  // Empty: not asked for that.
  std::int64_t weight = 1;
  bool https = false;
  std::string server_name;
  std::string ca_file, certificate_file, key_file;
  std::string ca_pem, certificate_pem, key_pem;  // Given in place, already decoded.
  std::chrono::milliseconds timeout{5'000};
  bool node_cache_capable = false;
  std::vector<std::string> managed_resources;  // Empty: it has a say in every pod.
  std::vector<std::string> ignored_resources;  // Of those, the ones NodeResourcesFit leaves alone.
  bool ignorable = false;
};

struct ElectionSettings {
  bool enabled = false;
  std::string ns = "kube-system";
  std::string name = "kube-scheduler";
  std::chrono::milliseconds lease_duration{15'000}, renew_deadline{10'000}, retry_period{2'000};
};

struct SchedulerSettings {
  std::vector<ProfileSettings> profiles = std::vector<ProfileSettings>(1);
  std::vector<ExtenderSettings> extenders;
  ElectionSettings election;
  int parallelism = 16;
  int percentage_of_nodes_to_score = 0;
  std::chrono::seconds initial_backoff{1}, max_backoff{10};
};

// Reads a KubeSchedulerConfiguration whose shape the plugin's schema has checked.
// Errors: Invalid, naming the field, for what a schema cannot say.
Result<SchedulerSettings> read_settings(const std::string& config_json);

}  // namespace kubernel::plugins
