// SPDX-License-Identifier: Apache-2.0
//
// Extended resources given out as devices (KEP-5004): a pod that asks for a number of a resource gets devices of the
// DeviceClass that stands for it, by a ResourceClaim that the scheduler makes.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <kubernel/scheduler/node_info.h>

#include "allocator.h"

namespace kubernel::plugins {

inline constexpr const char* kExtendedClaimAnnotation = "resource.kubernetes.io/extended-resource-claim";

// DeviceClasses by the names of the extended resources they stand for: spec.extendedResourceName, of which the newest
// class counts, and "deviceclass.resource.kubernetes.io/<class>". Threads: immutable.
class ExtendedClasses {
 public:
  ExtendedClasses() = default;
  explicit ExtendedClasses(const std::vector<api::Object>& classes);
  // The class's name; empty when there is none.
  const std::string& find(std::string_view resource) const;

 private:
  std::map<std::string, std::string, std::less<>> classes_;
};

// The claim for some of a pod's extended resources.
struct ExtendedClaim {
  api::Object claim;  // As it will be made, but with a uid and a name of its own, that no claim of the API can have.
  nlohmann::json mappings;  // status.extendedResourceClaimStatus.requestMappings.
  ClaimRequests requests;
};

// `resources`: by name, each with its class. Containers that run at once ask for devices of their own; an init
// container uses those of the containers after it and asks for what it needs beyond, which all init containers share.
// Errors: as read_requests().
Result<ExtendedClaim> make_extended_claim(
    const scheduler::PodInfo& pod, const std::string& uid, const std::map<std::string, std::string>& resources,
    const std::function<std::optional<api::Object>(const std::string&)>& find_class, SelectorCache& selectors);

}  // namespace kubernel::plugins
