// SPDX-License-Identifier: Apache-2.0
//
// Deleting everything in a namespace, once over.

#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include <kubernel/base/clock.h>
#include <kubernel/base/context.h>
#include <kubernel/client/client.h>

namespace kubernel::plugins::namespaces {

// What one pass over the content found and could not do.
struct Content {
  std::map<std::string, int> remaining;             // "pods." -> 3, by resource and group.
  std::map<std::string, int> finalizers_remaining;  // "example.com/hold" -> 2.
  std::vector<std::string> discovery_errors;
  std::vector<std::string> delete_errors;
  std::chrono::seconds estimate{0};  // How long what remains may take; 0 when nothing remains.

  bool empty() const { return remaining.empty() && discovery_errors.empty() && delete_errors.empty(); }
  // NamespaceDeletionDiscoveryFailure and its kin, in upstream's order and words.
  nlohmann::json conditions(const nlohmann::json& before, Clock::WallTime now) const;
};

Content delete_content(const CallContext& ctx, client::ApiClient& api, const std::string& ns);

}  // namespace kubernel::plugins::namespaces
