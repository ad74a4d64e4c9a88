// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include <kubernel/base/random.h>

#include "inventory.h"
#include "selectors.h"

namespace kubernel::plugins {

// One way to satisfy a request: the request itself, or one of its sub-requests.
struct Alternative {
  std::string name;  // "request" or "request/subrequest".
  api::Object device_class;
  api::Value body;
  std::int64_t count = 1;
  bool all = false;
  bool admin = false;  // Uses devices whoever has them.
  struct Selector {
    std::string origin;  // For messages: "class gpu: selector #0".
    std::shared_ptr<const Result<DeviceSelector>> compiled;
  };
  std::vector<Selector> selectors;
};

struct DeviceRequest {
  std::string name;
  bool first_available = false;           // Else there is one alternative, the request itself.
  std::vector<Alternative> alternatives;  // In order of preference.
};

struct DeviceConstraint {
  std::vector<std::string> requests;  // Empty: all.
  std::string attribute;
  bool distinct = false;  // All values differ; else all are the same.
};

struct ClaimRequests {
  api::Object claim;
  std::vector<DeviceRequest> requests;
  std::vector<DeviceConstraint> constraints;
};

// What is needed, read once a pod. `find_class`: absent when there is none.
// Errors: Invalid, "request x: device class y does not exist".
Result<ClaimRequests> read_requests(const api::Object& claim,
                                    const std::function<std::optional<api::Object>(const std::string&)>& find_class,
                                    SelectorCache& selectors);

struct ChosenDevice {
  const Device* device = nullptr;
  std::size_t request = 0, alternative = 0;
};

struct ClaimAllocation {
  std::vector<ChosenDevice> devices;  // In the order of the requests.
};

enum class SearchOutcome : std::uint8_t { Found, Impossible, GaveUp };

struct SearchResult {
  SearchOutcome outcome = SearchOutcome::Impossible;
  std::vector<ClaimAllocation> allocations;  // When found: one a claim.
};

// The most devices that are tried for one node before the search gives up.
inline constexpr std::size_t kMaxTries = 100'000;
// AllocationResultsMaxSize.
inline constexpr std::size_t kMaxDevicesOfClaim = 32;

// Finds devices for all claims on one node, the first way there is in the order of alternatives and devices.
// Errors: Invalid when a selector is broken.
Result<SearchResult> find_devices(const std::vector<ClaimRequests>& claims,
                                  const std::vector<Inventory::Reachable>& pools, const AllocatedDevices& allocated,
                                  std::size_t max_tries = kMaxTries);

// How much the first alternatives are liked better than later ones: for each request with alternatives 8 for the first
// that was chosen, 7 for the second, ….
std::int64_t preference_score(const std::vector<ClaimRequests>& claims, const std::vector<ClaimAllocation>& found);

// The claim's status.allocation. `random`: for the names of shares.
nlohmann::json allocation_json(const ClaimRequests& claim, const ClaimAllocation& allocation, const std::string& node,
                               Random& random);

}  // namespace kubernel::plugins
