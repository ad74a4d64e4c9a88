// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/api/selector.h>
#include <kubernel/scheduler/node_info.h>

namespace kubernel::plugins {

// The labels of a namespace by its name.
using NamespaceLabels = std::function<api::Object(std::string_view name)>;

// One core/v1 PodAffinityTerm as a pod carries it.
struct AffinityTerm {
  api::LabelSelector selector;
  std::vector<std::string> namespaces;
  std::optional<api::LabelSelector> namespace_selector;
  std::string topology_key;
  std::int64_t weight = 1;  // Of a preferred term.

  // Reads a term of `owner`. A selector that cannot be read matches nothing.
  static AffinityTerm read(api::Value term, const scheduler::PodInfo& owner);

  // True when `pod` is one of those the term speaks of.
  bool matches(const scheduler::PodInfo& pod, const NamespaceLabels& namespace_labels) const;

  // True when which pods match depends on the labels of namespaces.
  bool reads_namespaces() const { return namespace_selector && !namespace_selector->matches_everything(); }

  // Equal texts: the term matches the same pods (whatever its key and weight).
  std::string pods_text() const;

  // A label with one possible value that every matching pod carries; null when there is none.
  const api::Requirement* exact_label() const;
};

// What a pod asks for.
struct PodAffinity {
  std::vector<AffinityTerm> required, required_anti, preferred, preferred_anti;

  static PodAffinity read(const scheduler::PodInfo& pod);
};

// True when the pod has an affinity to other pods of any kind; cheap.
bool has_pod_affinity(const scheduler::PodInfo& pod);

}  // namespace kubernel::plugins
