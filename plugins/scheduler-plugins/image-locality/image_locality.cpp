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

// The pod's images that some node has.
class Images final : public CycleData {
 public:
  struct Image {
    std::string name;
    double spread = 0;  // The share of the nodes that have it.
  };

  std::unique_ptr<CycleData> clone() const override { return std::make_unique<Images>(*this); }

  std::vector<Image> images;
  std::int64_t containers = 0;
};

// An image that few nodes have counts less, so that a cluster does not crowd onto the first node that pulled it.
std::int64_t scaled_size(const Images::Image& image, const NodeInfo& node) {
  const auto at = std::ranges::lower_bound(*node.images, image.name, {}, &std::pair<std::string, std::int64_t>::first);
  if (at == node.images->end() || at->first != image.name) return 0;
  return static_cast<std::int64_t>(static_cast<double>(at->second) * image.spread);
}

class ImageLocality final : public Plugin, public PreScore, public Score {
 public:
  Result<PreScoreResult> pre_score(const CallContext&, const PodInfo& pod, const Snapshot& snapshot,
                                   std::span<const NodeInfo* const>) override {
    auto data = std::make_unique<Images>();
    for (const char* list : {"initContainers", "containers"}) {
      for (const Value container : pod.spec[list]) {
        ++data->containers;
        std::string name = normalized_image_name(container["image"].string());
        const std::size_t having = snapshot.nodes_with_image(name);
        if (having == 0) continue;
        data->images.push_back(
            {std::move(name), static_cast<double>(having) / static_cast<double>(snapshot.nodes().size())});
      }
    }
    // No node has any of them: every score would be 0.
    if (data->images.empty()) return PreScoreResult{Verdict::skip(), nullptr};
    return PreScoreResult{Verdict::fits(), std::move(data)};
  }

  Result<std::int64_t> score(const PodInfo&, const CycleData* data, const NodeInfo& node,
                             const Snapshot&) const override {
    const auto& wanted = static_cast<const Images&>(*data);
    std::int64_t sum = 0;
    for (const Images::Image& image : wanted.images) sum += scaled_size(image, node);
    const std::int64_t max = kMaxContainerThreshold * wanted.containers;
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
