// SPDX-License-Identifier: Apache-2.0
//
// Resources: amounts of cpu, memory, storage, pods and extended resources, as the scheduler adds and compares them.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <kubernel/api/value.h>
#include <kubernel/base/export.h>

namespace kubernel::scheduler {

/// What scores assume of a container that asks for nothing, so that such pods spread too (upstream's non-zero
/// requests).
inline constexpr std::int64_t kDefaultMilliCpu = 100;
inline constexpr std::int64_t kDefaultMemory = 200LL * 1024 * 1024;

struct KUBERNEL_EXPORT Resources {
  std::int64_t milli_cpu = 0;
  std::int64_t memory = 0;             ///< Bytes.
  std::int64_t ephemeral_storage = 0;  ///< Bytes.
  std::int64_t pods = 0;
  /// Extended resources and huge pages by name, sorted; few, so a vector.
  std::vector<std::pair<std::string, std::int64_t>> scalars;

  /// Reads a ResourceList ({"cpu": "500m", …}). cpu in thousandths, everything else in whole units.
  static Resources read(api::Value list);

  /// The amount of a resource by its API name; 0 when there is none.
  std::int64_t amount(std::string_view name) const noexcept;

  Resources& operator+=(const Resources& other);
  Resources& operator-=(const Resources& other);
  /// The larger of each amount.
  void raise_to(const Resources& other);

  friend bool operator==(const Resources&, const Resources&) = default;
};

/// The amount of one resource, whose name is looked at once: what a score reads of every node.
class AmountOf {
 public:
  explicit AmountOf(std::string name) : name_(std::move(name)) {
    if (name_ == "cpu") member_ = &Resources::milli_cpu;
    if (name_ == "memory") member_ = &Resources::memory;
    if (name_ == "ephemeral-storage") member_ = &Resources::ephemeral_storage;
  }
  /// True for an extended resource: it counts only for pods that ask for it.
  bool extended() const noexcept { return member_ == nullptr; }
  std::int64_t in(const Resources& resources) const noexcept {
    return member_ != nullptr ? resources.*member_ : resources.amount(name_);
  }

 private:
  std::string name_;
  std::int64_t Resources::*member_ = nullptr;
};

/// What a pod needs at once: the larger of the sum of its containers (with restartable init containers, which go on
/// running) and each step of its initialization, plus spec.overhead; pod-level spec.resources win where they are set.
/// (KEP-753 sidecar containers, KEP-688 pod overhead, KEP-2837 pod level resources.) `pods` is 1.
///
/// Where the node reports resources in `pod_status` (of a container, or of the pod), the largest of what is wanted,
/// promised and in use counts; once the node has said that a resize is infeasible, what is wanted does not count
/// (KEP-1287 in-place resize, KEP-5419 of pod-level resources).
KUBERNEL_EXPORT Resources pod_requests(api::Value pod_spec, api::Value pod_status = {});

/// As pod_requests(), with kDefaultMilliCpu and kDefaultMemory for containers that ask for none: what scores look at.
KUBERNEL_EXPORT Resources pod_requests_for_scoring(api::Value pod_spec, api::Value pod_status = {});

}  // namespace kubernel::scheduler
