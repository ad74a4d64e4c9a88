// SPDX-License-Identifier: Apache-2.0

#include "inter_pod_affinity.h"

#include <algorithm>
#include <atomic>

#include <nlohmann/json.hpp>

#include <kubernel/scheduler/topology.h>

#include "carried_terms.h"

namespace kubernel::plugins {
namespace {

using namespace scheduler;
using api::Value;

// Made once: copies share their reasons, and a pod may be refused by thousands of nodes.
struct Refusals {
  Verdict affinity = Verdict::unresolvable("node(s) didn't match pod affinity rules");
  Verdict anti_affinity = Verdict::unschedulable("node(s) didn't match pod anti-affinity rules");
  Verdict existing = Verdict::unschedulable("node(s) didn't satisfy existing pods anti-affinity rules");
};

struct Arguments {
  std::int64_t hard_pod_affinity_weight = 1;
  bool ignore_preferred_terms_of_existing_pods = false;
};

// What preemption imagines beside the counters: so many pods more (or less) where the node has that label.
struct Adjustment {
  std::string key, value;
  std::int64_t change = 0;
};

std::int64_t adjusted(const std::vector<Adjustment>& adjustments, std::string_view key, const NodeInfo& node) {
  std::int64_t total = 0;
  for (const Adjustment& a : adjustments) {
    const Value label = a.key == key ? node.labels()[a.key] : Value();
    if (label && label.string() == a.value) total += a.change;
  }
  return total;
}

// Pods of one kind per domain of one key.
struct Keyed {
  std::string key;
  std::vector<std::shared_ptr<const DomainCounts>> counts;
  std::vector<Adjustment> adjustments;

  std::int64_t pods(std::uint32_t slot, const NodeInfo& node) const {
    std::int64_t total = adjustments.empty() ? 0 : adjusted(adjustments, key, node);
    for (const auto& c : counts) total += c->pods_at(slot);
    return total;
  }
  std::int64_t everywhere() const {
    std::int64_t total = 0;
    for (const Adjustment& a : adjustments) total += a.change;
    for (const auto& c : counts) total += c->total;
    return total;
  }
  void adjust(const NodeInfo& node, std::int64_t change) {
    if (const Value label = node.labels()[key]) adjustments.push_back({key, std::string(label.string()), change});
  }
};

struct FilterData final : CycleData {
  std::shared_ptr<const PodAffinity> affinity;
  std::vector<Keyed> required;       // One per term: pods that match all of them.
  std::vector<Keyed> required_anti;  // One per term.
  std::vector<Keyed> existing_anti;  // One per key.
  bool matches_itself = false;       // The pod is one of those it wants to be with.

  std::unique_ptr<CycleData> clone() const override { return std::make_unique<FilterData>(*this); }
};

struct ScoreData final : CycleData {
  struct Entry {
    std::shared_ptr<const DomainCounts> counts;
    std::int64_t weight = 0;
  };
  std::vector<Entry> entries;

  std::unique_ptr<CycleData> clone() const override { return std::make_unique<ScoreData>(*this); }
};

bool all_match(const std::vector<AffinityTerm>& terms, const PodInfo& pod, const NamespaceLabels& labels) {
  return std::ranges::all_of(terms, [&](const AffinityTerm& term) { return term.matches(pod, labels); });
}

class InterPodAffinity final : public Plugin,
                               public PreFilter,
                               public PreFilterExtensions,
                               public Filter,
                               public PreScore,
                               public Score {
 public:
  InterPodAffinity(Arguments arguments, client::InformerFactory& informers)
      : arguments_(arguments), namespaces_(informers.informer(api::resources::kNamespaces, {})), index_(&carried_) {
    carried_.count_in(index_);
    // Counters of terms that select namespaces by labels are named by what the labels were.
    const auto relabeled = [this] { labels_generation_.fetch_add(1, std::memory_order_relaxed); };
    subscription_ = namespaces_->add_handler({[relabeled](const api::Object&) { relabeled(); },
                                              [relabeled](const api::Object& before, const api::Object& after) {
                                                if (!(before.labels() == after.labels())) relabeled();
                                              },
                                              [relabeled](const api::Object&) { relabeled(); }});
  }

  Result<PreFilterResult> pre_filter(const CallContext&, const PodInfo& pod, const Snapshot& snapshot) override {
    index_.advance(snapshot);
    auto data = std::make_unique<FilterData>();
    data->affinity =
        std::make_shared<const PodAffinity>(has_pod_affinity(pod) ? PodAffinity::read(pod) : PodAffinity());
    const auto& [required, required_anti, preferred, preferred_anti] = *data->affinity;
    carried_.for_each_about(pod, labels_, [&](const CarriedTerms::Group& group) {
      if (group.kind == TermKind::RequiredAnti) {
        keyed(data->existing_anti, group.term.topology_key).counts.push_back(TopologyIndex::counts_of(*group.tally));
      }
    });
    PreFilterResult result;
    if (data->existing_anti.empty() && required.empty() && required_anti.empty()) {
      result.verdict = Verdict::skip();
      return result;
    }
    for (const AffinityTerm& term : required) {
      data->required.push_back({term.topology_key, {count(snapshot, required, term.topology_key)}, {}});
    }
    for (const AffinityTerm& term : required_anti) {
      data->required_anti.push_back({term.topology_key, {count(snapshot, {term}, term.topology_key)}, {}});
    }
    data->matches_itself = !required.empty() && all_match(required, pod, labels_);
    result.data = std::move(data);
    return result;
  }

  void pod_added(CycleData& data, const PodInfo& pod, const PodInfo& added, const NodeInfo& node) const override {
    adjust(static_cast<FilterData&>(data), pod, added, node, 1);
  }
  void pod_removed(CycleData& data, const PodInfo& pod, const PodInfo& removed, const NodeInfo& node) const override {
    adjust(static_cast<FilterData&>(data), pod, removed, node, -1);
  }

  Result<Verdict> filter(const PodInfo&, const CycleData* data, const NodeInfo& node) const override {
    const auto& state = static_cast<const FilterData&>(*data);
    const std::uint32_t slot = index_.slot(node);
    if (!has_company(state, slot, node)) return refusals_.affinity;
    const auto occupied = [&](const Keyed& keyed) { return keyed.pods(slot, node) > 0; };
    if (std::ranges::any_of(state.required_anti, occupied)) return refusals_.anti_affinity;
    if (std::ranges::any_of(state.existing_anti, occupied)) return refusals_.existing;
    return Verdict::fits();
  }

  Result<PreScoreResult> pre_score(const CallContext&, const PodInfo& pod, const Snapshot& snapshot,
                                   std::span<const NodeInfo* const>) override {
    index_.advance(snapshot);
    PreScoreResult result;
    const PodAffinity affinity = has_pod_affinity(pod) ? PodAffinity::read(pod) : PodAffinity();
    const bool prefers = !affinity.preferred.empty() || !affinity.preferred_anti.empty();
    auto data = std::make_unique<ScoreData>();
    if (prefers || !arguments_.ignore_preferred_terms_of_existing_pods) {
      carried_.for_each_about(pod, labels_, [&](const CarriedTerms::Group& group) {
        add(*data, TopologyIndex::counts_of(*group.tally), weight_of(group));
      });
    }
    for (const AffinityTerm& term : affinity.preferred)
      add(*data, count(snapshot, {term}, term.topology_key), term.weight);
    for (const AffinityTerm& term : affinity.preferred_anti)
      add(*data, count(snapshot, {term}, term.topology_key), -term.weight);
    if (data->entries.empty()) {
      result.verdict = Verdict::skip();
    } else {
      result.data = std::move(data);
    }
    return result;
  }

  Result<std::int64_t> score(const PodInfo&, const CycleData* data, const NodeInfo& node,
                             const Snapshot&) const override {
    const std::uint32_t slot = index_.slot(node);
    std::int64_t total = 0;
    for (const auto& entry : static_cast<const ScoreData&>(*data).entries)
      total += entry.weight * entry.counts->pods_at(slot);
    return total;
  }

  // The lowest becomes 0 and the highest 100; scores may be negative before.
  void normalize(const PodInfo&, const CycleData*, std::span<std::int64_t> scores) const override {
    if (scores.empty()) return;
    const auto [low, high] = std::ranges::minmax(scores);
    for (std::int64_t& score : scores) {
      const auto share = high == low ? 0.0 : static_cast<double>(score - low) / static_cast<double>(high - low);
      score = static_cast<std::int64_t>(static_cast<double>(kMaxNodeScore) * share);
    }
  }

  std::vector<EventInterest> retry_on() const override {
    using Object = api::Object;
    return {{ClusterEvent::PodAssigned, [this](const PodInfo& pod, const Object& before,
                                               const Object& after) { return pod_came(pod, before, after); }},
            {ClusterEvent::PodDeleted,
             [this](const PodInfo& pod, const Object& before, const Object& after) {
               return !after && pod_left(pod, before);  // A pod that needs less is there still.
             }},
            {ClusterEvent::NodeAdded,
             [](const PodInfo& pod, const Object&, const Object& after) { return node_came(pod, after); }},
            {ClusterEvent::NodeLabelsChanged, node_moved},
            {ClusterEvent::PodUpdated, [](const PodInfo&, const Object& before, const Object& after) {
               return !(before.labels() == after.labels());  // Others may have nothing against it any more.
             }}};
  }

 private:
  static Keyed& keyed(std::vector<Keyed>& list, const std::string& key) {
    const auto found = std::ranges::find(list, key, &Keyed::key);
    return found != list.end() ? *found : list.emplace_back(Keyed{key, {}, {}});
  }

  // The counter of the pods that match all of `terms`.
  std::shared_ptr<const DomainCounts> count(const Snapshot& snapshot, const std::vector<AffinityTerm>& terms,
                                            const std::string& key) {
    std::string name;
    for (const AffinityTerm& term : terms) name += term.pods_text() + '\n';
    if (std::ranges::any_of(terms, &AffinityTerm::reads_namespaces)) {
      name += '@' + std::to_string(labels_generation_.load(std::memory_order_relaxed));
    }
    const auto make = [&] {
      PodSetSpec spec;
      spec.contains = [terms, labels = labels_](const PodInfo& pod) { return all_match(terms, pod, labels); };
      if (const api::Requirement* label = terms.front().exact_label()) {
        spec.label_key = label->key;
        spec.label_value = label->values.front();
      }
      return spec;
    };
    return index_.counts(snapshot, name, make, key, {}, {});
  }

  static void add(ScoreData& data, std::shared_ptr<const DomainCounts> counts, std::int64_t weight) {
    if (weight != 0 && counts->total != 0) data.entries.push_back({std::move(counts), weight});
  }

  std::int64_t weight_of(const CarriedTerms::Group& group) const {
    switch (group.kind) {
      case TermKind::Required: return arguments_.hard_pod_affinity_weight;
      case TermKind::RequiredAnti: return 0;
      case TermKind::Preferred: return group.term.weight;
      case TermKind::PreferredAnti: return -group.term.weight;
    }
    return 0;
  }

  // Required affinity: every term's domain holds a pod that matches all terms. The first pod of a group that wants to
  // be with its own kind finds none anywhere and may go wherever all the labels are.
  static bool has_company(const FilterData& state, std::uint32_t slot, const NodeInfo& node) {
    bool company = true;
    for (const Keyed& keyed : state.required) {
      if (keyed.counts.front()->domains->of(slot) < 0) return false;
      company = company && keyed.pods(slot, node) > 0;
    }
    if (company) return true;
    const bool first = std::ranges::all_of(state.required, [](const Keyed& keyed) { return keyed.everywhere() == 0; });
    return first && state.matches_itself;
  }

  void adjust(FilterData& data, const PodInfo& pod, const PodInfo& other, const NodeInfo& node,
              std::int64_t change) const {
    const PodAffinity& mine = *data.affinity;
    if (!mine.required.empty() && all_match(mine.required, other, labels_)) {
      for (Keyed& keyed : data.required) keyed.adjust(node, change);
    }
    for (std::size_t i = 0; i < mine.required_anti.size(); ++i) {
      if (mine.required_anti[i].matches(other, labels_)) data.required_anti[i].adjust(node, change);
    }
    if (!has_pod_affinity(other)) return;
    for (const AffinityTerm& term : PodAffinity::read(other).required_anti) {
      if (term.matches(pod, labels_)) keyed(data.existing_anti, term.topology_key).adjust(node, change);
    }
  }

  // A pod that came (or got other labels) is company, or no longer one to keep away from.
  bool pod_came(const PodInfo& waiting, const api::Object& before, const api::Object& after) const {
    const PodAffinity affinity = PodAffinity::read(waiting);
    const PodInfo now(after);
    if (!affinity.required.empty() && all_match(affinity.required, now, labels_)) return true;
    if (!before) return false;
    const PodInfo was(before);
    return std::ranges::any_of(affinity.required_anti, [&](const AffinityTerm& term) {
      return term.matches(was, labels_) && !term.matches(now, labels_);
    });
  }

  bool pod_left(const PodInfo& waiting, const api::Object& before) const {
    if (!before) return true;
    const PodInfo gone(before);
    const auto about = [&](const std::vector<AffinityTerm>& terms, const PodInfo& pod) {
      return std::ranges::any_of(terms, [&](const AffinityTerm& term) { return term.matches(pod, labels_); });
    };
    return about(PodAffinity::read(waiting).required_anti, gone) ||
           about(PodAffinity::read(gone).required_anti, waiting);
  }

  static bool node_came(const PodInfo& waiting, const api::Object& node) {
    const PodAffinity affinity = PodAffinity::read(waiting);
    return std::ranges::all_of(affinity.required,
                               [&](const AffinityTerm& term) { return bool{node.labels()[term.topology_key]}; });
  }

  // Into a domain, or out of one; a pod that others keep away does not know of which.
  static bool node_moved(const PodInfo& waiting, const api::Object& before, const api::Object& after) {
    const PodAffinity affinity = PodAffinity::read(waiting);
    if (affinity.required.empty() && affinity.required_anti.empty()) return true;
    const auto moved = [&](const AffinityTerm& term, const api::Object& must_have) {
      const auto was = before.labels()[term.topology_key], is = after.labels()[term.topology_key];
      return must_have.labels()[term.topology_key] && (bool{was} != bool{is} || was.string() != is.string());
    };
    return std::ranges::any_of(affinity.required, [&](const AffinityTerm& term) { return moved(term, after); }) ||
           std::ranges::any_of(affinity.required_anti, [&](const AffinityTerm& term) { return moved(term, before); });
  }

  const Arguments arguments_;
  const Refusals refusals_;
  const std::shared_ptr<client::Informer> namespaces_;
  const NamespaceLabels labels_ = [this](std::string_view name) {
    return namespaces_->find({{}, std::string(name)}).value_or(api::Object());
  };
  std::atomic<std::uint64_t> labels_generation_ = 0;
  CarriedTerms carried_;
  TopologyIndex index_;
  std::unique_ptr<Subscription> subscription_;
};

}  // namespace

Result<std::unique_ptr<Plugin>> make_inter_pod_affinity(const PluginContext& context) {
  return catch_as_error("InterPodAffinity arguments", [&]() -> Result<std::unique_ptr<Plugin>> {
    const auto config = nlohmann::json::parse(context.config_json);
    Arguments arguments;
    arguments.hard_pod_affinity_weight = config.value("hardPodAffinityWeight", arguments.hard_pod_affinity_weight);
    arguments.ignore_preferred_terms_of_existing_pods = config.value("ignorePreferredTermsOfExistingPods", false);
    return std::make_unique<InterPodAffinity>(arguments, context.informers);
  });
}

}  // namespace kubernel::plugins
