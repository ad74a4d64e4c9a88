// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <kubernel/scheduler/framework.h>

namespace kubernel::plugins {

// What every filter and score says of one pod, node by node; nothing is decided by it.
struct Explanation {
  struct Filtered {
    std::string plugin;
    scheduler::Verdict verdict = scheduler::Verdict::fits();  // Skip: has nothing to say about this pod.
  };
  struct Scored {
    std::string plugin;
    std::int64_t score = 0;  // 0 to 100.
    int weight = 1;
  };
  struct Node {
    std::string name;
    bool fits = false;
    std::vector<Filtered> filters;
    std::vector<Scored> scores;  // Of nodes that fit.
    std::int64_t total = 0;
  };

  std::string pod, scheduler;
  std::string refused;  // A PreFilter's word about the pod as such, or why the pod is not tried at all.
  std::vector<Node> nodes;

  std::string json() const;
};

}  // namespace kubernel::plugins
