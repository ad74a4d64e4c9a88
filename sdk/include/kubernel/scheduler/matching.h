// SPDX-License-Identifier: Apache-2.0
//
// Rules that several scheduler plugins (and the node life cycle) share: tolerations, node selectors, score
// normalization.

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <kubernel/api/value.h>
#include <kubernel/base/export.h>
#include <kubernel/scheduler/node_info.h>

namespace kubernel::scheduler {

/// True when one of the pod's `tolerations` tolerates the taint (core/v1 Toleration: an empty key with Exists tolerates
/// everything, an empty effect matches every effect; Lt and Gt compare integers, KEP-5471).
KUBERNEL_EXPORT bool tolerated(api::Value tolerations, const Taint& taint);

/// The API's spelling: "NoSchedule".
KUBERNEL_EXPORT std::string_view to_string(TaintEffect effect) noexcept;

/// One core/v1 NodeSelectorTerm, read once to be held against many nodes: all its matchExpressions and matchFields; an
/// empty term matches none.
///
/// Threads: immutable. Lifetime: reads the term's object, which must outlive it.
class KUBERNEL_EXPORT NodeTerm {
 public:
  explicit NodeTerm(api::Value term);
  bool matches(const NodeInfo& node) const;

 private:
  enum class Operator : std::uint8_t { In, NotIn, Exists, DoesNotExist, Gt, Lt, Unknown };
  struct Requirement {
    std::string_view key;
    Operator op = Operator::Unknown;
    std::vector<std::string_view> values;
    std::optional<std::int64_t> bound;  ///< Of Gt and Lt, when it is a number.

    explicit Requirement(api::Value requirement);
    /// `text` absent: the node has no such label.
    bool holds(std::optional<std::string_view> text) const;
  };
  std::vector<Requirement> expressions_, fields_;
};

/// The nodes a pod may run on by its spec: every label of nodeSelector, and one of the terms of its required node
/// affinity, if it has any. Threads and Lifetime: as NodeTerm.
class KUBERNEL_EXPORT RequiredNodes {
 public:
  explicit RequiredNodes(api::Value pod_spec);
  bool matches(const NodeInfo& node) const;

 private:
  std::vector<std::pair<std::string_view, std::string_view>> labels_;
  std::optional<std::vector<NodeTerm>> terms_;
};

/// True when the node matches one of the terms (core/v1 NodeSelector). No terms match no node; an empty term matches
/// none.
KUBERNEL_EXPORT bool matches_node_selector(api::Value node_selector, const NodeInfo& node);
/// One core/v1 NodeSelectorTerm: all its matchExpressions and matchFields.
KUBERNEL_EXPORT bool matches_node_selector_term(api::Value term, const NodeInfo& node);

/// RequiredNodes for one node.
KUBERNEL_EXPORT bool matches_required_node_affinity(api::Value pod_spec, const NodeInfo& node);

/// One PersistentVolumeClaim a pod mounts.
struct PodClaim {
  api::ObjectKey key;
  bool ephemeral = false;  ///< Made for this pod and called "POD-VOLUME".
};
/// In the order of spec.volumes.
KUBERNEL_EXPORT std::vector<PodClaim> claims_of(const PodInfo& pod);
/// For hints: true when the PersistentVolumeClaim that changed is one the pod mounts.
KUBERNEL_EXPORT bool changes_claim_of(const PodInfo& pod, const api::Object& before, const api::Object& after);

/// For EventInterest::names_of_pod and names_of_change: PersistentVolumeClaims by namespace and name.
KUBERNEL_EXPORT std::vector<std::string> names_of_claims(const PodInfo& pod);
KUBERNEL_EXPORT std::optional<std::vector<std::string>> name_of_claim(const api::Object& before,
                                                                      const api::Object& after);

/// Scales scores so that the highest becomes kMaxNodeScore; with `reverse` the lowest does.
KUBERNEL_EXPORT void normalize_scores(std::span<std::int64_t> scores, bool reverse);

}  // namespace kubernel::scheduler
