// SPDX-License-Identifier: Apache-2.0

#include "image_locality.h"

#include <algorithm>

namespace kubernel::plugins {
namespace {

using namespace scheduler;
using api::Value;

// Below the first an image is not worth a thought; above the second (per container) every node scores the same.
constexpr std::int64_t kMinThreshold = 23LL * 1024 * 1024;
constexpr std::int64_t kMaxContainerThreshold = 1000LL * 1024 * 1024;

// An image that few nodes have counts less, so that a cluster does not crowd onto the first node that pulled it.
std::int64_t scaled_size(std::string_view image, const NodeInfo& node, const Snapshot& snapshot) {
  const std::string name = normalized_image_name(image);
  const auto found = std::ranges::find(node.images, name, &std::pair<std::string, std::int64_t>::first);
  if (found == node.images.end() || snapshot.nodes().empty()) return 0;
  const double spread = static_cast<double>(snapshot.nodes_with_image(name)) / static_cast<double>(snapshot.nodes().size());
  return static_cast<std::int64_t>(static_cast<double>(found->second) * spread);
}

class ImageLocality final : public Plugin, public Score {
 public:
  Result<std::int64_t> score(const PodInfo& pod, const CycleData*, const NodeInfo& node, const Snapshot& snapshot) const override {
    std::int64_t sum = 0;
    std::int64_t count = 0;
    for (const char* list : {"initContainers", "containers"}) {
      for (const Value container : pod.spec[list]) {
        sum += scaled_size(container["image"].string(), node, snapshot);
        ++count;
      }
    }
    const std::int64_t max = kMaxContainerThreshold * count;
    if (count == 0 || max <= kMinThreshold) return 0;
    sum = std::clamp(sum, kMinThreshold, max);
    return kMaxNodeScore * (sum - kMinThreshold) / (max - kMinThreshold);
  }

  void normalize(const PodInfo&, const CycleData*, std::span<std::int64_t>) const override {}
  std::vector<EventInterest> retry_on() const override { return {}; }
};

}  // namespace

Result<std::unique_ptr<Plugin>> make_image_locality(const PluginContext&) {
  return std::make_unique<ImageLocality>();
}

}  // namespace kubernel::plugins
