// SPDX-License-Identifier: Apache-2.0
//
// The rules of a pod, in parts: containers, volumes, placement.

#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "validation/field.h"

namespace kubernel::apiserver::validation {

/// What the rules of a container need to know of its pod.
struct PodContext {
  std::map<std::string, bool> volumes;  ///< By name; true: may be a block device.
  std::int64_t grace = 30;              ///< terminationGracePeriodSeconds.
};

/// `spec`: a PodSpec.
void check_pod_spec(const Field& spec);
/// `pod_template`: a PodTemplateSpec.
void check_pod_template(const Field& pod_template);

void check_containers(const Field& spec, const PodContext& pod);
/// spec.ephemeralContainers, which only their own subresource writes.
void check_ephemeral_containers(const Field& spec);
/// Fills `pod.volumes`.
void check_volumes(const Field& spec, PodContext& pod);
/// nodeSelector, affinity, tolerations, topologySpreadConstraints.
void check_placement(const Field& spec);
void check_tolerations(const Field& tolerations);

/// ObjectFieldSelector; `supported`: what may be named beside annotations and labels.
void check_field_reference(const Field& reference, const std::vector<std::string>& supported);
/// ResourceFieldSelector. In a volume it names its container.
void check_resource_reference(const Field& reference, bool in_volume);
void check_seccomp(const Field& profile);
void check_app_armor(const Field& profile);
/// NodeSelector (also a persistent volume's nodeAffinity).
void check_node_selector(const Field& selector);
/// PersistentVolumeClaimSpec.
void check_claim_spec(const Field& spec);

}  // namespace kubernel::apiserver::validation
