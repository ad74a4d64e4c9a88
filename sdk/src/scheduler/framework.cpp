// SPDX-License-Identifier: Apache-2.0
//
// The destructors anchor the interfaces' type information in the SDK, so that dynamic_cast agrees across plugins.
#include <kubernel/scheduler/framework.h>

#include <algorithm>
#include <map>

namespace kubernel::scheduler {

CycleData::~CycleData() = default;
Plugin::~Plugin() = default;
PreEnqueue::~PreEnqueue() = default;
QueueSort::~QueueSort() = default;
PreFilter::~PreFilter() = default;
PreFilterExtensions::~PreFilterExtensions() = default;
Filter::~Filter() = default;
LocalFilter::~LocalFilter() = default;
PostFilter::~PostFilter() = default;
PreScore::~PreScore() = default;
Score::~Score() = default;
Reserve::~Reserve() = default;
WaitingPod::~WaitingPod() = default;
Permit::~Permit() = default;
PreBind::~PreBind() = default;
Bind::~Bind() = default;
PostBind::~PostBind() = default;
PreemptExtender::~PreemptExtender() = default;
Handle::~Handle() = default;

const std::vector<std::string>& Verdict::reasons() const noexcept {
  static const std::vector<std::string> kNone;
  return reasons_ == nullptr ? kNone : *reasons_;
}

Cycle Cycle::clone() const {
  Cycle out{pod, snapshot, {}, skip_filter, skip_score, data_follows_pods, signature};
  out.data.reserve(data.size());
  for (const auto& one : data) out.data.push_back(one == nullptr ? nullptr : one->clone());
  return out;
}

std::vector<const NodeInfo*> Refusals::preemptable(const Snapshot& snapshot) const {
  std::vector<const NodeInfo*> out;
  if (others.kind() == Verdict::Kind::Unschedulable) {
    for (const auto& node : snapshot.nodes()) {
      if (of(node->name).kind() == Verdict::Kind::Unschedulable) out.push_back(node.get());
    }
    return out;
  }
  for (const NodeVerdict& node : nodes) {
    if (node.verdict.kind() == Verdict::Kind::Unschedulable) out.push_back(node.node);
  }
  return out;
}

const Verdict& Refusals::of(std::string_view node) const {
  const auto found =
      std::ranges::find_if(nodes, [&](const NodeVerdict& verdict) { return verdict.node->name == node; });
  return found == nodes.end() ? others : found->verdict;
}

std::string Refusals::message(std::size_t all_nodes) const {
  std::map<std::string_view, std::size_t> counts;
  for (const NodeVerdict& node : nodes) {
    for (const std::string& reason : node.verdict.reasons()) ++counts[reason];
  }
  if (nodes.size() < all_nodes) {
    for (const std::string& reason : others.reasons()) counts[reason] += all_nodes - nodes.size();
  }
  std::vector<std::string> parts;
  for (const auto& [reason, count] : counts) parts.push_back(std::to_string(count) + " " + std::string(reason));
  std::ranges::sort(parts);  // As text: "10 x" before "2 y".
  std::string out = "0/" + std::to_string(all_nodes) + " nodes are available:";
  for (std::size_t i = 0; i < parts.size(); ++i) out += (i == 0 ? " " : ", ") + parts[i];
  return out + (parts.empty() ? "" : ".");
}

}  // namespace kubernel::scheduler
