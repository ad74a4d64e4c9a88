// SPDX-License-Identifier: Apache-2.0
//
// PolicyRule: one rule of a role, and what it allows (upstream's pkg/apis/rbac/v1 evaluation helpers).

#pragma once

#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include <kubernel/api/value.h>
#include <kubernel/auth/authorizer.h>

namespace kubernel::apiserver {

struct PolicyRule {
  std::vector<std::string> verbs;
  std::vector<std::string> api_groups;
  std::vector<std::string> resources;
  std::vector<std::string> resource_names;
  std::vector<std::string> urls;  ///< nonResourceURLs.

  friend bool operator==(const PolicyRule&, const PolicyRule&) = default;
};
using PolicyRules = std::vector<PolicyRule>;

/// The rules of a list as the API has them; what is missing reads as empty.
PolicyRules read_rules(api::Value list);
PolicyRules read_rules(const nlohmann::json& list);

bool allows(const PolicyRule& rule, const auth::Attributes& attributes);

/// Rights that `wanted` asks for and `held` does not give, one verb of one thing each.
PolicyRules missing_rights(const PolicyRules& held, const PolicyRules& wanted);
/// Rules that differ only in their verbs, put together.
PolicyRules compact_rules(const PolicyRules& rules);
/// `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`.
std::string compact_text(const PolicyRule& rule);
/// Go's %q of a list of strings: `["a" "b"]`.
std::string quote_list(const std::vector<std::string>& list);

}  // namespace kubernel::apiserver
