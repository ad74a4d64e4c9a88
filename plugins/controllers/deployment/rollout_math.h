// SPDX-License-Identifier: Apache-2.0
//
// What a rollout computes without touching the world: bounds, proportions, revisions.

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <kubernel/api/object.h>
#include <kubernel/base/result.h>

namespace kubernel::plugins::deployment {

inline constexpr std::string_view kRevision = "deployment.kubernetes.io/revision";
inline constexpr std::string_view kRevisionHistory = "deployment.kubernetes.io/revision-history";
inline constexpr std::string_view kDesiredReplicas = "deployment.kubernetes.io/desired-replicas";
inline constexpr std::string_view kMaxReplicas = "deployment.kubernetes.io/max-replicas";

using ReplicaSets = std::vector<api::Object>;

// Of a Deployment or a ReplicaSet.
std::int64_t spec_replicas(const api::Object& object);
std::int64_t status_count(const api::Object& object, const char* field);
std::int64_t total_spec_replicas(const ReplicaSets& sets);
std::int64_t total_status(const ReplicaSets& sets, const char* field);
bool rolling(const api::Object& deployment);

struct Fenceposts {
  std::int64_t surge = 0;        // Pods above spec.replicas.
  std::int64_t unavailable = 0;  // Pods below it.
};
// maxSurge rounds up, maxUnavailable down; both 0 would never move, so one may be unavailable. Recreate: no surge.
Fenceposts fenceposts(const api::Object& deployment);

// How many replicas the new set may have now.
std::int64_t new_set_replicas(const api::Object& deployment, const ReplicaSets& all, const api::Object& newest);

// Sizes of active sets when the deployment was scaled in the middle of a rollout, by name.
std::map<std::string, std::int64_t> proportional_sizes(const api::Object& deployment, ReplicaSets active);

// The number in the revision annotation; 0 when there is none.
std::int64_t revision_of(const api::Object& set);
std::int64_t highest_revision(const ReplicaSets& sets);

// Oldest first; those of one second by name.
void sort_by_age(ReplicaSets& sets);

// True when the set was made from the deployment's template.
bool same_template(const api::Object& deployment, const api::Object& set);

}  // namespace kubernel::plugins::deployment
