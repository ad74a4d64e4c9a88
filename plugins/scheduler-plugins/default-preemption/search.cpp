// SPDX-License-Identifier: Apache-2.0
#include "search.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace kubernel::plugins {

using scheduler::NodeInfo;
using scheduler::NodeVerdict;
using scheduler::Verdict;

namespace {

// Fewer dry runs at once are not worth the helpers' waking up.
constexpr std::size_t kSmallestRound = 32;

bool same(const std::vector<std::weak_ptr<const scheduler::PodInfo>>& then, const Pods& now) {
  return std::ranges::equal(then, now,
                            [](const auto& a, const auto& b) { return !a.owner_before(b) && !b.owner_before(a); });
}

}  // namespace

void KnownVictims::begin(std::string signature, std::size_t slots) {
  if (signature.empty() || signature != signature_) entries_.clear();
  signature_ = std::move(signature);
  if (!signature_.empty() && entries_.size() < slots) entries_.resize(slots);
}

const Victims* KnownVictims::find(const NodeInfo& node, const Pods& nominated) const {
  if (node.slot >= entries_.size() || node.generation == 0) return nullptr;
  const Entry& entry = entries_[node.slot];
  return entry.generation == node.generation && same(entry.nominated, nominated) ? &entry.victims : nullptr;
}

const Victims* KnownVictims::keep(const NodeInfo& node, const Pods& nominated, Victims victims) {
  if (node.slot >= entries_.size() || node.generation == 0) return nullptr;
  Entry& entry = entries_[node.slot];
  entry = {node.generation, {nominated.begin(), nominated.end()}, std::move(victims)};
  return &entry.victims;
}

bool VictimSearch::enough() const {
  return harmless_ && candidates_.size() >= terms_.wanted;
}

// In rounds, so that the outcome does not depend on which thread was faster.
Result<void> VictimSearch::run(const std::vector<const NodeInfo*>& nodes) {
  const std::int64_t priority = cycle_.pod->priority;
  std::vector<Open> open;
  for (std::size_t i = 0; i < nodes.size() && !enough(); ++i) {
    const NodeInfo& node = *nodes[(terms_.offset + i) % nodes.size()];
    if (!node.has_pods_below(priority)) {
      found(node, Victims::none());
      continue;
    }
    Pods nominated = handle_.nominated_pods(node.name);
    std::erase_if(nominated,
                  [&](const auto& pod) { return pod->priority < priority || pod->uid() == cycle_.pod->uid(); });
    if (const Victims* known = known_.find(node, nominated)) {
      found(node, *known);
      continue;
    }
    open.push_back({&node, std::move(nominated)});
    if (open.size() < kSmallestRound || candidates_.size() + open.size() < terms_.wanted) continue;
    KUBERNEL_CHECK_OK(dry_run(open));
  }
  return enough() ? Result<void>() : dry_run(open);
}

Result<void> VictimSearch::dry_run(std::vector<Open>& open) {
  std::vector<std::optional<Result<Victims>>> results(open.size());
  handle_.parallel_for(open.size(), [&](std::size_t i) {
    results[i] =
        catch_as_error("filter", [&] { return select_victims(handle_, cycle_, *open[i].node, budgets_, terms_.now); });
  });
  for (std::size_t i = 0; i < open.size(); ++i) {
    KUBERNEL_TRY(Victims victims, *std::move(results[i]));
    const NodeInfo& node = *open[i].node;
    const Victims* const kept = known_.keep(node, open[i].nominated, victims);
    found(node, kept != nullptr ? *kept : own_.emplace_back(std::move(victims)));
  }
  open.clear();
  return {};
}

void VictimSearch::found(const NodeInfo& node, const Victims& victims) {
  if (victims.verdict.ok()) {
    candidates_.push_back({&node, &victims});
    harmless_ = harmless_ || victims.rank.budget_violations == 0;
  } else if (candidates_.empty()) {
    refusals_.push_back({&node, {}, victims.verdict});
  }
}

}  // namespace kubernel::plugins
