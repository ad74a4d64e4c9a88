// SPDX-License-Identifier: Apache-2.0

#include "inventory.h"

#include <algorithm>
#include <iterator>
#include <set>

namespace kubernel::plugins {

using api::Object;
using api::Value;

namespace {

void fill(DevicePool& pool) {
  std::set<std::string_view> names;
  std::ranges::sort(pool.slices, {}, [](const Object& slice) { return slice.name(); });
  const auto wanted = pool.slices.front().pointer("/spec/pool/resourceSliceCount").integer();
  pool.incomplete = static_cast<std::int64_t>(pool.slices.size()) != wanted;
  for (std::size_t i = 0; i < pool.slices.size(); ++i) {
    const Value spec = pool.slices[i]["spec"];
    for (const Value device : spec["devices"]) {
      pool.repeats = !names.insert(device["name"].string()).second || pool.repeats;
      pool.binding_conditions = pool.binding_conditions || !device["bindingConditions"].empty();
      pool.devices.push_back({{std::string(spec["driver"].string()), std::string(spec["pool"]["name"].string()),
                               std::string(device["name"].string())},
                              device,
                              spec,
                              i});
    }
  }
}

}  // namespace

bool covers(Value selection, const scheduler::NodeInfo& node) {
  if (const auto name = selection["nodeName"].string(); !name.empty()) return name == node.name;
  if (selection["allNodes"].boolean()) return true;
  const Value selector = selection["nodeSelector"];
  return selector && scheduler::matches_node_selector(selector, node);
}

bool AllocatedDevices::contains(const DeviceId& id) const {
  const auto before = merged_->find(id);
  const auto recent = recent_.find(id);
  return (before == merged_->end() ? 0 : before->second) + (recent == recent_.end() ? 0 : recent->second) > 0;
}

void AllocatedDevices::add(const DeviceId& id, int count) {
  constexpr std::size_t kMostRecent = 256;
  recent_[id] += count;
  if (recent_.size() < kMostRecent) return;
  auto merged = std::make_shared<Counts>(*merged_);
  for (const auto& [device, change] : recent_) {
    if (((*merged)[device] += change) == 0) merged->erase(device);
  }
  merged_ = std::move(merged);
  recent_.clear();
}

const Amounts* AllocatedDevices::consumed(const DeviceId& id) const {
  const auto found = shares_->find(id);
  return found == shares_->end() ? nullptr : &found->second.amounts;
}

void AllocatedDevices::add_share(const DeviceId& id, const Amounts& amounts, int count) {
  auto changed = std::make_shared<std::map<DeviceId, Shares>>(*shares_);
  Shares& of = (*changed)[id];
  of.count += count;
  for (const auto& [name, amount] : amounts) {
    if (count > 0) {
      of.amounts[name] += amount;
    } else {
      of.amounts[name] -= amount;
    }
  }
  if (of.count == 0) changed->erase(id);
  shares_ = std::move(changed);
}

Inventory::Inventory(std::vector<Object> slices, std::vector<Object> taint_rules)
    : taint_rules_(std::move(taint_rules)) {
  std::map<std::pair<std::string_view, std::string_view>, DevicePool> pools;
  const auto generation = [](const Object& slice) { return slice.pointer("/spec/pool/generation").integer(); };
  for (const Object& slice : slices) {
    DevicePool& pool = pools[{slice.pointer("/spec/driver").string(), slice.pointer("/spec/pool/name").string()}];
    if (!pool.slices.empty() && generation(slice) < generation(pool.slices.front())) continue;  // Out of date.
    if (!pool.slices.empty() && generation(slice) > generation(pool.slices.front())) pool.slices.clear();
    pool.slices.push_back(slice);
  }
  for (auto& [id, pool] : pools) {
    const std::size_t index = pools_.size();
    fill(pool);
    for (const Object& slice : pool.slices) {
      const std::string node(slice.pointer("/spec/nodeName").string());
      auto& list = node.empty() ? wide_ : by_node_[node];
      if (list.empty() || list.back() != index) list.push_back(index);
    }
    pools_.push_back(std::move(pool));
  }
  taint();
}

// A rule without a selector is about no device, an empty selector about all.
void Inventory::taint() {
  for (const Object& rule : taint_rules_) {
    const Value selector = rule.pointer("/spec/deviceSelector");
    if (!selector) continue;
    const auto names = [&](const char* what, const std::string& name) {
      return !selector[what] || selector[what].string() == name;
    };
    for (DevicePool& pool : pools_) {
      for (Device& device : pool.devices) {
        if (names("driver", device.id.driver) && names("pool", device.id.pool) && names("device", device.id.device))
          device.rule_taints.push_back(rule.pointer("/spec/taint"));
      }
    }
  }
}

std::vector<Inventory::Reachable> Inventory::on(const scheduler::NodeInfo& node) const {
  std::vector<std::size_t> indexes = wide_;
  if (const auto own = by_node_.find(node.name); own != by_node_.end()) {
    indexes.insert(indexes.end(), own->second.begin(), own->second.end());
    std::ranges::sort(indexes);
    const auto repeated = std::ranges::unique(indexes);
    indexes.erase(repeated.begin(), repeated.end());
  }
  std::vector<Reachable> out;
  std::vector<Reachable> last;
  for (const std::size_t index : indexes) {
    bool concerned = false;
    bool late = false;
    Reachable reachable = of(pools_[index], node, concerned, late);
    if (!reachable.devices.empty() || (concerned && pools_[index].incomplete))
      (late ? last : out).push_back(std::move(reachable));
  }
  out.insert(out.end(), std::make_move_iterator(last.begin()), std::make_move_iterator(last.end()));
  return out;
}

// A slice whose devices say themselves which nodes they are for concerns the node as a whole when one of them is for
// it.
Inventory::Reachable Inventory::of(const DevicePool& pool, const scheduler::NodeInfo& node, bool& concerned,
                                   bool& late) const {
  Reachable out{&pool, {}};
  std::vector<bool> concerns;
  for (const Object& slice : pool.slices) concerns.push_back(covers(slice["spec"], node));
  for (const Device& device : pool.devices) {
    const bool for_it = device.slice_spec["perDeviceNodeSelection"].boolean() ? covers(device.body, node)
                                                                              : bool(concerns[device.slice]);
    if (!for_it) continue;
    out.devices.push_back(&device);
    concerns[device.slice] = true;
  }
  concerned = std::ranges::find(concerns, true) != concerns.end();
  if (!pool.repeats && !pool.binding_conditions) return out;
  std::set<std::string_view> names;
  for (const Device& device : pool.devices) {
    if (!concerns[device.slice]) continue;
    out.invalid = !names.insert(device.id.device).second || out.invalid;
    late = late || !device.body["bindingConditions"].empty();
  }
  return out;
}

}  // namespace kubernel::plugins
