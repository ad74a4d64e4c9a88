// SPDX-License-Identifier: Apache-2.0
//
// Upstream's labels of events: a resource and what was done to it. Metrics show them.
#pragma once

#include <array>
#include <string_view>
#include <vector>

#include <kubernel/scheduler/framework.h>

namespace kubernel::plugins {

// What is returned here lives as long as the process.

// Of an event about which nothing more is known; of pods, of those without a node where they are meant.
std::string_view label_of(scheduler::ClusterEvent event);

// Of objects that came, changed and went. Threads: any.
struct ResourceLabels {
  std::string_view added, updated, deleted;

  std::string_view of(const api::Object* before, const api::Object* after) const {
    return before == nullptr ? added : after == nullptr ? deleted : updated;
  }
};
ResourceLabels labels_of(const api::Resource& resource);

// What changed of a pod, as far as upstream tells changes apart.
struct PodChanges {
  bool labels = false;
  bool scaled_down = false;  // It needs less of something (KEP-1287 in-place resize).
  bool gates_eliminated = false;
  bool tolerations = false;
  bool generated_claims = false;

  static PodChanges between(const api::Object& before, const api::Object& after);
  // In upstream's order; the general label when there is no other.
  std::vector<std::string_view> event_labels(bool assigned) const;
};

}  // namespace kubernel::plugins
