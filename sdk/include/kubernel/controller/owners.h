// SPDX-License-Identifier: Apache-2.0
//
// Who controls what: owner references, adoption and release.

#pragma once

#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include <kubernel/api/object.h>
#include <kubernel/api/selector.h>
#include <kubernel/base/context.h>
#include <kubernel/base/export.h>
#include <kubernel/client/client.h>
#include <kubernel/client/informer.h>

namespace kubernel::controller {

/// The reference with controller: true; missing when there is none. Valid as long as `object`.
KUBERNEL_EXPORT api::Value controller_of(const api::Object& object);
/// An ownerReferences entry with controller and blockOwnerDeletion true.
KUBERNEL_EXPORT nlohmann::json controller_reference(const api::Object& owner);

/// The controller of `object` if it is of `kind` and in `owners` with the uid the reference names; else nothing.
KUBERNEL_EXPORT std::optional<api::Object> resolve_controller(const client::Informer& owners, std::string_view kind,
                                                              const api::Object& object);

/// Those in `owners` that may adopt `object`, an orphan: of its namespace, with a spec.selector that selects its
/// labels. A selector that is missing, wrong or selects everything adopts nothing.
KUBERNEL_EXPORT std::vector<api::ObjectKey> possible_adopters(const client::Informer& owners,
                                                              const api::Object& object);

/// Which of `candidates` belong to `owner` (upstream's ControllerRefManager): those it controls and that match, after
///   - releasing what it controls and that does not match any more,
///   - adopting what nobody controls and that matches, unless either is being deleted.
/// Before the first adoption the owner is read live: if it is gone, replaced or being deleted, nothing is adopted.
///
/// Errors: the API's. Adoption and release are compare-and-swap: Conflict when the cache is stale.
KUBERNEL_EXPORT Result<std::vector<api::Object>> claim(const CallContext& ctx, client::ApiClient& api,
                                                       const api::Resource& owner_resource, const api::Object& owner,
                                                       const api::Resource& resource,
                                                       const api::LabelSelector& selector,
                                                       const std::vector<api::Object>& candidates);

/// Calls `act` `count` times in batches of 1, 2, 4, …; after a batch with a failure the rest is not tried. So what
/// fails for one reason fails once, not `count` times. Returns how often it succeeded and the first error.
struct BatchOutcome {
  int succeeded = 0;
  std::optional<Error> error;
};
KUBERNEL_EXPORT BatchOutcome slow_start(int count, const std::function<Result<void>(int index)>& act);

/// A hash of a pod template for names and labels (pod-template-hash), with the count of collisions met so far.
KUBERNEL_EXPORT std::string template_hash(const nlohmann::json& pod_template, std::int64_t collision_count);

}  // namespace kubernel::controller
