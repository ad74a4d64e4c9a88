// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace kubernel::bench {

// One step of a workload: `count` copies of `object`, in whose strings $INDEX is the copy's number, and $INDEX%N that
// number modulo N.
struct Step {
  enum class Kind : std::uint8_t { Create, Churn, Remove, Steady } kind = Kind::Create;
  std::string resource;  // "nodes", "pods", "persistentvolumes", …
  std::size_t count = 0;
  nlohmann::json object;
  bool bound = true;  // Of pods: go on when all have a node.
  bool measured = false;
  // While pods are measured: how often (Churn) a copy is made and the one before removed, (Remove) the next of the
  // copies made before is removed.
  int every_milliseconds = 0;
  bool keep = false;  // Churn: nothing is removed.
  int seconds = 0;    // Steady, of pods, which is measured: so long, each that is bound gives way to the next.
};

// One of the files in workloads/.
struct Workload {
  std::string name;
  // Pods a second that upstream's CI asks for: the most any of its versions did, and Kubernetes 1.36.
  // 0: it asks for nothing.
  double upstream_highest = 0, upstream_136 = 0;
  std::vector<std::string> also_runs;  // Plugins it needs besides the scheduler: controllers.
  std::vector<Step> steps;

  // Counts are multiplied by `scale`, at least 1 stays. Errors: one line, with the file.
  static std::string load(const std::filesystem::path& file, double scale, Workload& out);
};

// A copy of `object` with $INDEX replaced.
nlohmann::json numbered(const nlohmann::json& object, std::size_t index);

}  // namespace kubernel::bench
