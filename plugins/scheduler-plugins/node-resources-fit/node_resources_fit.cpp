// SPDX-License-Identifier: Apache-2.0

#include "node_resources_fit.h"

#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace kubernel::plugins {
namespace {

using namespace scheduler;

const api::Resource kDeviceClasses{"resource.k8s.io", "v1", "deviceclasses"};

enum class Strategy : std::uint8_t { LeastAllocated, MostAllocated, RequestedToCapacityRatio };

struct WeightedResource {
  std::string name;
  std::int64_t weight = 1;
};

struct ShapePoint {
  std::int64_t utilization = 0;  // Percent.
  std::int64_t score = 0;        // 0 to 10.
};

struct Arguments {
  Strategy strategy = Strategy::LeastAllocated;
  std::vector<WeightedResource> resources{{"cpu", 1}, {"memory", 1}};
  std::vector<ShapePoint> shape;
  std::set<std::string, std::less<>> ignored;
  std::vector<std::string> ignored_groups;
};

// A straight line between the points of the shape, level beyond its ends; the API's 0–10 is scaled to 0–100.
std::int64_t shaped(const std::vector<ShapePoint>& shape, std::int64_t utilization) {
  constexpr std::int64_t kScale = kMaxNodeScore / 10;
  if (utilization <= shape.front().utilization) return shape.front().score * kScale;
  for (std::size_t i = 1; i < shape.size(); ++i) {
    if (utilization > shape[i].utilization) continue;
    const ShapePoint& a = shape[i - 1];
    const ShapePoint& b = shape[i];
    const std::int64_t rise = (b.score - a.score) * kScale * (utilization - a.utilization);
    return a.score * kScale + rise / (b.utilization - a.utilization);
  }
  return shape.back().score * kScale;
}

bool ignores(const Arguments& arguments, const std::string& resource) {
  if (arguments.ignored.contains(resource)) return true;
  const auto slash = resource.find('/');
  return slash != std::string::npos &&
         std::ranges::find(arguments.ignored_groups, resource.substr(0, slash)) != arguments.ignored_groups.end();
}

// Each of the usual refusals is made once: of many nodes that are full in the same way none allocates.
class KnownRefusals {
 public:
  enum Short : unsigned { kPods = 1, kCpu = 2, kMemory = 4, kStorage = 8, kHopeless = 16, kAll = 32 };

  KnownRefusals() {
    for (unsigned shortage = 0; shortage < kAll; ++shortage) made_.push_back(make(shortage, {}));
  }
  const Verdict& of(unsigned shortage) const { return made_[shortage]; }
  static Verdict make(unsigned shortage, const std::vector<std::string_view>& more) {
    std::vector<std::string> reasons;
    if ((shortage & kPods) != 0) reasons.emplace_back("Too many pods");
    if ((shortage & kCpu) != 0) reasons.emplace_back("Insufficient cpu");
    if ((shortage & kMemory) != 0) reasons.emplace_back("Insufficient memory");
    if ((shortage & kStorage) != 0) reasons.emplace_back("Insufficient ephemeral-storage");
    for (const std::string_view name : more) reasons.push_back("Insufficient " + std::string(name));
    // More than the whole node: evicting pods would not help.
    return Verdict::refused((shortage & kHopeless) != 0 ? Verdict::Kind::Unresolvable : Verdict::Kind::Unschedulable,
                            std::move(reasons));
  }

 private:
  std::vector<Verdict> made_;
};

class NodeResourcesFit final : public Plugin, public Filter, public LocalFilter, public Score {
 public:
  NodeResourcesFit(Arguments arguments, std::shared_ptr<const DeviceResources> devices)
      : arguments_(std::move(arguments)), devices_(std::move(devices)) {
    for (const auto& [name, weight] : arguments_.resources) weighted_.emplace_back(AmountOf(name), weight);
  }

  Result<Verdict> filter(const PodInfo& pod, const CycleData*, const NodeInfo& node) const override {
    unsigned shortage = node.requested.pods + 1 > node.allocatable.pods ? unsigned{KnownRefusals::kPods} : 0U;
    const auto check = [&](unsigned bit, std::int64_t wanted, std::int64_t allocatable, std::int64_t requested) {
      if (wanted == 0 || wanted <= allocatable - requested) return false;
      shortage |= bit | (wanted > allocatable ? unsigned{KnownRefusals::kHopeless} : 0U);
      return true;
    };
    const Resources& wanted = pod.requests;
    check(KnownRefusals::kCpu, wanted.milli_cpu, node.allocatable.milli_cpu, node.requested.milli_cpu);
    check(KnownRefusals::kMemory, wanted.memory, node.allocatable.memory, node.requested.memory);
    check(KnownRefusals::kStorage, wanted.ephemeral_storage, node.allocatable.ephemeral_storage,
          node.requested.ephemeral_storage);
    std::vector<std::string_view> more;
    for (const auto& [name, amount] : wanted.scalars) {
      if (ignores(arguments_, name) || left_to_devices(name, node.allocatable)) continue;
      if (check(0, amount, node.allocatable.amount(name), node.requested.amount(name))) more.emplace_back(name);
    }
    if (!more.empty()) return KnownRefusals::make(shortage, more);
    return shortage == 0 ? Verdict::fits() : refusals_.of(shortage);
  }

  // Which extended resources are devices is not the node's to say.
  bool sign(const PodInfo& pod, std::string& signature) const override {
    const Resources& wanted = pod.requests;
    for (const std::int64_t amount : {wanted.milli_cpu, wanted.memory, wanted.ephemeral_storage, wanted.pods})
      signature += std::to_string(amount) + ' ';
    return wanted.scalars.empty();
  }

  Result<std::int64_t> score(const PodInfo& pod, const CycleData*, const NodeInfo& node,
                             const Snapshot&) const override {
    std::int64_t total = 0;
    std::int64_t weights = 0;
    for (const auto& [resource, weight] : weighted_) {
      const std::int64_t capacity = resource.in(node.allocatable);
      if (capacity == 0 || (resource.extended() && resource.in(pod.requests) == 0)) continue;
      const std::int64_t requested = resource.in(node.scoring_requested) + resource.in(pod.scoring_requests);
      const std::int64_t score = resource_score(requested, capacity);
      // Upstream leaves resources out of the mean whose point of the shape is 0.
      if (score == 0 && arguments_.strategy == Strategy::RequestedToCapacityRatio) continue;
      total += weight * score;
      weights += weight;
    }
    if (weights == 0) return 0;
    // Upstream's two strategies of old truncate, the later one rounds.
    const std::int64_t half = arguments_.strategy == Strategy::RequestedToCapacityRatio ? weights / 2 : 0;
    return (total + half) / weights;
  }

  void normalize(const PodInfo&, const CycleData*, std::span<std::int64_t>) const override {}

  std::vector<EventInterest> retry_on() const override {
    std::vector<EventInterest> out = {
        {ClusterEvent::PodDeleted,
         [](const PodInfo& pod, const api::Object& before, const api::Object& after) {
           return !after || gains(pod.requests, requests_of(after), requests_of(before));
         }},
        {ClusterEvent::NodeAdded,
         [this](const PodInfo& pod, const api::Object&, const api::Object& after) {
           return fits_alone(pod, Resources::read(after.pointer("/status/allocatable")));
         }},
        {ClusterEvent::NodeAllocatableChanged,
         [this](const PodInfo& pod, const api::Object& before, const api::Object& after) {
           return has_grown_for(pod, Resources::read(before.pointer("/status/allocatable")),
                                Resources::read(after.pointer("/status/allocatable")));
         }},
        {ClusterEvent::PodUpdated, [](const PodInfo&, const api::Object& before, const api::Object& after) {
           const Resources was = requests_of(before);
           return gains(was, requests_of(after), was);
         }}};
    if (devices_) out.push_back({ClusterEvent::ResourceChanged, stands_for_what_it_wants, kDeviceClasses});
    return out;
  }

 private:
  static Resources requests_of(const api::Object& pod) { return pod_requests(pod["spec"], pod["status"]); }

  // Whether there is more of anything that is wanted.
  static bool gains(const Resources& wanted, const Resources& before, const Resources& after) {
    return (wanted.milli_cpu > 0 && after.milli_cpu > before.milli_cpu) ||
           (wanted.memory > 0 && after.memory > before.memory) ||
           (wanted.ephemeral_storage > 0 && after.ephemeral_storage > before.ephemeral_storage) ||
           (wanted.pods > 0 && after.pods > before.pods) || std::ranges::any_of(wanted.scalars, [&](const auto& want) {
             return want.second > 0 && after.amount(want.first) > before.amount(want.first);
           });
  }

  // On a node without other pods.
  bool fits_alone(const PodInfo& pod, const Resources& allocatable) const {
    const Resources& wanted = pod.requests;
    return wanted.pods <= allocatable.pods && wanted.milli_cpu <= allocatable.milli_cpu &&
           wanted.memory <= allocatable.memory && wanted.ephemeral_storage <= allocatable.ephemeral_storage &&
           std::ranges::all_of(wanted.scalars, [&](const auto& want) {
             return want.second <= allocatable.amount(want.first) || ignores(arguments_, want.first) ||
                    left_to_devices(want.first, allocatable);
           });
  }

  bool has_grown_for(const PodInfo& pod, const Resources& before, const Resources& after) const {
    return fits_alone(pod, after) &&
           (gains(pod.requests, before, after) || std::ranges::any_of(pod.requests.scalars, [&](const auto& want) {
              return want.second > 0 && left_to_devices(want.first, after);
            }));
  }

  // A class that came, or that stands for another extended resource now.
  static bool stands_for_what_it_wants(const PodInfo& pod, const api::Object& before, const api::Object& after) {
    if (!after) return false;
    const std::string_view name = after.pointer("/spec/extendedResourceName").string();
    if (before && before.pointer("/spec/extendedResourceName").string() == name) return false;
    const std::string own_name = before ? std::string() : "deviceclass.resource.kubernetes.io/" + after.name();
    return std::ranges::any_of(pod.requests.scalars, [&](const auto& want) {
      return !want.first.empty() && (want.first == name || want.first == own_name);
    });
  }

  // What the node has none of as a number it may have as devices: then the plugin that gives them out decides.
  bool left_to_devices(const std::string& resource, const Resources& allocatable) const {
    return devices_ && allocatable.amount(resource) == 0 && devices_->contains(resource);
  }

  std::int64_t resource_score(std::int64_t requested, std::int64_t capacity) const {
    switch (arguments_.strategy) {
      case Strategy::LeastAllocated:
        return requested > capacity ? 0 : (capacity - requested) * kMaxNodeScore / capacity;
      case Strategy::MostAllocated: return std::min(requested, capacity) * kMaxNodeScore / capacity;
      case Strategy::RequestedToCapacityRatio:
        return shaped(arguments_.shape, requested > capacity ? 100 : requested * 100 / capacity);
    }
    return 0;
  }

  const Arguments arguments_;
  const std::shared_ptr<const DeviceResources> devices_;
  const KnownRefusals refusals_;
  std::vector<std::pair<AmountOf, std::int64_t>> weighted_;
};

Result<Arguments> parse_arguments(const std::string& config_json) {
  const auto config = nlohmann::json::parse(config_json);
  Arguments out;
  for (const auto& name : config.value("ignoredResources", nlohmann::json::array()))
    out.ignored.insert(name.get<std::string>());
  for (const auto& name : config.value("ignoredResourceGroups", nlohmann::json::array())) {
    out.ignored_groups.push_back(name.get<std::string>());
  }
  const auto strategy = config.value("scoringStrategy", nlohmann::json::object());
  const std::string type = strategy.value("type", "LeastAllocated");
  if (type == "MostAllocated") out.strategy = Strategy::MostAllocated;
  if (type == "RequestedToCapacityRatio") out.strategy = Strategy::RequestedToCapacityRatio;
  if (strategy.contains("resources")) {
    out.resources.clear();
    for (const auto& entry : strategy["resources"]) {
      out.resources.push_back({entry.at("name").get<std::string>(), entry.value("weight", std::int64_t{1})});
    }
  }
  for (const auto& point : strategy.value("/requestedToCapacityRatio/shape"_json_pointer, nlohmann::json::array())) {
    out.shape.push_back({point.at("utilization").get<std::int64_t>(), point.at("score").get<std::int64_t>()});
  }
  if (out.strategy == Strategy::RequestedToCapacityRatio) {
    if (out.shape.empty()) {
      return Error(Reason::Invalid, "scoringStrategy.requestedToCapacityRatio.shape: at least one point is required");
    }
    const auto out_of_order =
        std::ranges::adjacent_find(out.shape, std::ranges::greater_equal(), &ShapePoint::utilization);
    if (out_of_order != out.shape.end()) {
      return Error(Reason::Invalid,
                   "scoringStrategy.requestedToCapacityRatio.shape: utilization must increase from point to point");
    }
  }
  return out;
}

}  // namespace

Result<std::unique_ptr<Plugin>> make_node_resources_fit(const PluginContext& context) {
  KUBERNEL_TRY(Arguments arguments,
               catch_as_error("NodeResourcesFit arguments", [&] { return parse_arguments(context.config_json); }));
  return std::make_unique<NodeResourcesFit>(std::move(arguments), context.device_resources);
}

}  // namespace kubernel::plugins
