// SPDX-License-Identifier: Apache-2.0
//
// The roles and bindings every cluster starts with (upstream's RBAC bootstrap policy, label
// kubernetes.io/bootstrapping=rbac-defaults).
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <kubernel/base/context.h>
#include <kubernel/base/executor.h>
#include <kubernel/base/result.h>
#include <kubernel/client/client.h>

namespace kubernel::apiserver {

struct PolicyObject {
  api::Resource resource;
  std::string ns;
  nlohmann::json document;
};

// All of them, in the order they must be created. Aggregated roles (admin, edit, view) have their rules filled in.
std::vector<PolicyObject> bootstrap_policy();

// Creates what is missing and adds rules and subjects that are missing from what is there, unless the object's
// annotation rbac.authorization.kubernetes.io/autoupdate is "false". Takes nothing away, as upstream.
//
// Costs one list of each kind when everything is in place.
Result<void> apply_bootstrap_policy(const CallContext& ctx, client::ApiClient& client, Executor& blocking);

}  // namespace kubernel::apiserver
