// SPDX-License-Identifier: Apache-2.0
//
// What the kubelet reads from a pod's specification, with the API's rules for what is not said.

#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/api/object.h>
#include <kubernel/api/value.h>

namespace kubernel::kubelet {

enum class RestartPolicy : std::uint8_t { Always, OnFailure, Never };
enum class QosClass : std::uint8_t { Guaranteed, Burstable, BestEffort };

// One container of a pod. Valid as long as the pod object it was read from.
struct ContainerSpec {
  api::Value value;
  std::string name;
  bool init = false;
  bool sidecar = false;  // An init container with restartPolicy Always.

  // An ordinary init container: runs to its end before the next.
  bool runs_to_end() const { return init && !sidecar; }
};

// Init containers first, in order.
std::vector<ContainerSpec> containers_of(const api::Object& pod);
std::vector<ContainerSpec> init_containers_of(const api::Object& pod);
std::vector<ContainerSpec> app_containers_of(const api::Object& pod);
std::optional<ContainerSpec> find_container(const api::Object& pod, std::string_view name);

RestartPolicy restart_policy_of(const api::Object& pod);
// The policy that holds for this container: a sidecar's is Always; an init container's is never more than OnFailure.
RestartPolicy restart_policy_of(const api::Object& pod, const ContainerSpec& container);

// upstream's GetPodQOS: by cpu and memory of all containers, init containers too.
QosClass qos_class_of(const api::Object& pod);
std::string_view to_string(QosClass qos);

bool host_network(const api::Object& pod);
// spec.terminationGracePeriodSeconds, 30 when absent.
std::chrono::seconds termination_grace_of(const api::Object& pod);
// metadata.deletionGracePeriodSeconds of a pod that is being deleted, else its termination_grace_of().
std::chrono::seconds deletion_grace_of(const api::Object& pod);

// status.phase is Succeeded or Failed.
bool is_terminal_phase(std::string_view phase);

// The host name pods see: spec.hostname or the pod's name, cut to 63 characters and without a trailing '-' or '.'.
std::string hostname_of(const api::Object& pod);
// "<hostname>.<subdomain>.<namespace>.svc.<cluster domain>", or empty without a subdomain.
std::string domain_name_of(const api::Object& pod, std::string_view cluster_domain);

// What identifies a container's specification: changes when the container must be replaced.
std::string spec_hash(const ContainerSpec& container);

// "<namespace>_<name>(<uid>)", upstream's text for a pod in messages.
std::string format_pod(const api::Object& pod);

}  // namespace kubernel::kubelet
