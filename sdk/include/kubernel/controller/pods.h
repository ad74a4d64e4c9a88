// SPDX-License-Identifier: Apache-2.0
//
// What controllers ask about pods: is it running, ready, available; which of several goes first.

#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include <kubernel/api/object.h>
#include <kubernel/api/time.h>
#include <kubernel/base/context.h>
#include <kubernel/base/export.h>
#include <kubernel/client/client.h>
#include <kubernel/client/events.h>

namespace kubernel::controller {

/// Succeeded or Failed.
KUBERNEL_EXPORT bool pod_terminal(const api::Object& pod);
/// Not terminal and not being deleted: the pods that count.
KUBERNEL_EXPORT bool pod_active(const api::Object& pod);
/// Condition Ready is True.
KUBERNEL_EXPORT bool pod_ready(const api::Object& pod);
/// Ready for at least `min_ready`.
KUBERNEL_EXPORT bool pod_available(const api::Object& pod, std::chrono::seconds min_ready, api::WallTime now);
/// How long until a ready pod is available; absent when it is not ready or already is.
KUBERNEL_EXPORT std::optional<std::chrono::seconds> pod_available_in(const api::Object& pod,
                                                                     std::chrono::seconds min_ready, api::WallTime now);

/// A pod and how many of its kin run on the same node.
struct RankedPod {
  api::Object pod;
  int rank = 0;
};
/// True when `a` is to be deleted rather than `b`: not bound, pending, not ready, cheaper by the annotation
/// controller.kubernetes.io/pod-deletion-cost, with more kin on its node, ready for a shorter time (in powers of ten),
/// more restarts, younger; in this order.
KUBERNEL_EXPORT bool deleted_before(const RankedPod& a, const RankedPod& b, api::WallTime now);

/// A pod made from a PodTemplateSpec, controlled by `owner`.
KUBERNEL_EXPORT nlohmann::json pod_from_template(const nlohmann::json& pod_template, const api::Object& owner);

/// Creates a pod and tells it as an event about `owner` (SuccessfulCreate, FailedCreate).
KUBERNEL_EXPORT Result<api::Object> create_pod(const CallContext& ctx, client::ApiClient& api,
                                               client::EventRecorder& events, const api::Object& owner,
                                               const nlohmann::json& pod);
/// Deletes a pod and tells it (SuccessfulDelete, FailedDelete). A pod that is gone is success.
KUBERNEL_EXPORT Result<void> delete_pod(const CallContext& ctx, client::ApiClient& api, client::EventRecorder& events,
                                        const api::Object& owner, const api::Object& pod);

/// True for the refusal of a namespace that is being deleted: no reason to try again.
KUBERNEL_EXPORT bool namespace_terminating(const Error& error);

}  // namespace kubernel::controller
