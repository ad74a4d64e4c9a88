// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <kubernel/api/object.h>
#include <kubernel/api/quantity.h>
#include <kubernel/scheduler/matching.h>

namespace kubernel::plugins {

struct DeviceId {
  std::string driver, pool, device;
  friend auto operator<=>(const DeviceId&, const DeviceId&) = default;
};

// One device of a ResourceSlice. Lifetime: its Inventory's.
struct Device {
  DeviceId id;
  api::Value body;                      // As in spec.devices.
  api::Value slice_spec;                // Of the slice it is in.
  std::size_t slice = 0;                // Which of the pool's slices that is.
  std::vector<api::Value> rule_taints;  // From DeviceTaintRules.

  // Given to several requests, as far as its capacity goes.
  bool shared() const { return body["allowMultipleAllocations"].boolean(); }
};

// Amounts of a shared device's capacity, by name as in spec.devices.capacity.
using Amounts = std::map<std::string, api::Quantity, std::less<>>;

// All devices of one pool that its newest generation has.
struct DevicePool {
  std::vector<api::Object> slices;
  std::vector<Device> devices;
  bool incomplete = false;          // Slices are missing.
  bool repeats = false;             // Two devices have one name.
  bool binding_conditions = false;  // Of some device.
};

// The devices of a cluster as its ResourceSlices tell. Threads: immutable.
class Inventory {
 public:
  explicit Inventory(std::vector<api::Object> slices, std::vector<api::Object> taint_rules = {});

  struct Reachable {
    const DevicePool* pool = nullptr;
    std::vector<const Device*> devices;
    bool invalid = false;  // In the slices that concern the node two devices have one name.
  };
  // What pods on the node can use, by driver and pool, those with binding conditions last. A pool of which nothing is
  // reachable is left out, unless more of it may still come: it is incomplete, and a slice of it concerns the node.
  std::vector<Reachable> on(const scheduler::NodeInfo& node) const;

 private:
  void taint();
  Reachable of(const DevicePool& pool, const scheduler::NodeInfo& node, bool& concerned, bool& late) const;

  std::vector<api::Object> taint_rules_;
  std::vector<DevicePool> pools_;
  std::unordered_map<std::string, std::vector<std::size_t>> by_node_;  // Pools with a slice of that node alone.
  std::vector<std::size_t> wide_;                                      // Pools with any other slice.
};

// The devices that claims have. A copy costs what changed since the last merge, so that each pod can have one.
class AllocatedDevices {
 public:
  bool contains(const DeviceId& id) const;
  // Counts how many claims have it: +1 or -1.
  void add(const DeviceId& id, int count);
  // What requests have of a shared device; null when none has anything.
  const Amounts* consumed(const DeviceId& id) const;
  // Counts one share of a shared device: +1 or -1.
  void add_share(const DeviceId& id, const Amounts& amounts, int count);

 private:
  struct Hash {
    std::size_t operator()(const DeviceId& id) const noexcept {
      const std::hash<std::string> text;
      return (text(id.driver) * 31 + text(id.pool)) * 31 + text(id.device);
    }
  };
  using Counts = std::unordered_map<DeviceId, int, Hash>;
  std::shared_ptr<const Counts> merged_ = std::make_shared<const Counts>();
  Counts recent_;  // On top.
  struct Shares {
    int count = 0;
    Amounts amounts;
  };
  std::shared_ptr<const std::map<DeviceId, Shares>> shares_ = std::make_shared<const std::map<DeviceId, Shares>>();
};

// Whether what a slice or a device says of nodes (nodeName, allNodes, nodeSelector) covers the node.
bool covers(api::Value node_selection, const scheduler::NodeInfo& node);

}  // namespace kubernel::plugins
