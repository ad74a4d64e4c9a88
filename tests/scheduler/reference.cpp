// SPDX-License-Identifier: Apache-2.0
#include "reference.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>

namespace kubernel::reference {
namespace {

using Scores = std::vector<std::int64_t>;

json at(const json& object, const std::string& pointer, json fallback = json()) {
  return object.value(json::json_pointer(pointer), std::move(fallback));
}
json labels_of(const json& object) {
  return at(object, "/metadata/labels", json::object());
}
json list_at(const json& object, const std::string& pointer) {
  return at(object, pointer, json::array());
}
std::string text(const json& object, const std::string& key) {
  return object.value(key, std::string());
}

// Selectors

bool expression_holds(const json& e, const json& labels) {
  const std::string key = text(e, "key");
  const std::string op = text(e, "operator");
  const json values = e.value("values", json::array());
  const bool has = labels.contains(key);
  const bool listed = has && std::find(values.begin(), values.end(), labels[key]) != values.end();
  if (op == "In") return listed;
  if (op == "NotIn") return !listed;
  if (op == "Exists") return has;
  if (op == "DoesNotExist") return !has;
  if (!has) return false;
  const long have = std::stol(labels[key].get<std::string>());
  const long want = std::stol(values[0].get<std::string>());
  return op == "Gt" ? have > want : have < want;
}

// No selector selects nothing, an empty one everything.
bool selects(const json& selector, const json& labels) {
  if (!selector.is_object()) return false;
  const json exact = selector.value("matchLabels", json::object());
  for (const auto& [key, value] : exact.items()) {
    if (!labels.contains(key) || labels[key] != value) return false;
  }
  const json expressions = selector.value("matchExpressions", json::array());
  return std::all_of(expressions.begin(), expressions.end(),
                     [&](const json& e) { return expression_holds(e, labels); });
}

bool node_term_holds(const json& term, const Node& node) {
  const json expressions = term.value("matchExpressions", json::array());
  const json fields = term.value("matchFields", json::array());
  if (expressions.empty() && fields.empty()) return false;
  const json as_labels = {{"metadata.name", node.name()}};
  return std::all_of(expressions.begin(), expressions.end(),
                     [&](const json& e) { return expression_holds(e, labels_of(node.object)); }) &&
         std::all_of(fields.begin(), fields.end(), [&](const json& f) { return expression_holds(f, as_labels); });
}

bool required_node_affinity(const json& pod, const Node& node) {
  const json labels = labels_of(node.object);
  const json selector = at(pod, "/spec/nodeSelector", json::object());
  for (const auto& [key, value] : selector.items()) {
    if (!labels.contains(key) || labels[key] != value) return false;
  }
  const json required = at(pod, "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution");
  if (required.is_null()) return true;
  const json& terms = required["nodeSelectorTerms"];
  return std::any_of(terms.begin(), terms.end(), [&](const json& term) { return node_term_holds(term, node); });
}

// Taints

bool tolerates(const json& pod, const json& taint) {
  for (const json& t : list_at(pod, "/spec/tolerations")) {
    if (!text(t, "effect").empty() && text(t, "effect") != text(taint, "effect")) continue;
    if (!text(t, "key").empty() && text(t, "key") != text(taint, "key")) continue;
    const std::string op = t.value("operator", "Equal");
    if (op == "Exists" || (op == "Equal" && text(t, "value") == text(taint, "value"))) return true;
  }
  return false;
}

bool repels(const Node& node, const json& pod) {
  const json taints = list_at(node.object, "/spec/taints");
  return std::any_of(taints.begin(), taints.end(),
                     [&](const json& t) { return text(t, "effect") != "PreferNoSchedule" && !tolerates(pod, t); });
}

// Resources: the random clusters write cpu as "Nm" and memory in bytes.

std::int64_t amount(const json& list, const std::string& name) {
  const std::string written = list.value(name, "0");
  return std::stoll(written);
}

// The most the pod needs at any moment of its life: while each init container runs, and when all others do (KEP-753).
// What the pod asks for as a whole replaces that (KEP-2837), and the overhead comes on top (KEP-688).
std::int64_t requests(const json& pod, const std::string& name, std::int64_t when_absent = 0) {
  const auto of = [&](const json& container) {
    const json list = at(container, "/resources/requests", json::object());
    return list.contains(name) ? amount(list, name) : when_absent;
  };
  const auto sidecar = [](const json& container) { return text(container, "restartPolicy") == "Always"; };
  const json steps = list_at(pod, "/spec/initContainers");
  const auto sidecars_before = [&](std::size_t end) {
    std::int64_t total = 0;
    for (std::size_t i = 0; i < end; ++i) total += sidecar(steps[i]) ? of(steps[i]) : 0;
    return total;
  };
  std::int64_t most = sidecars_before(steps.size());
  for (const json& c : list_at(pod, "/spec/containers")) most += of(c);
  for (std::size_t i = 0; i < steps.size(); ++i) most = std::max(most, sidecars_before(i) + of(steps[i]));
  const json whole = at(pod, "/spec/resources/requests", json::object());
  if (whole.contains(name)) most = amount(whole, name);
  return most + amount(at(pod, "/spec/overhead", json::object()), name);
}

std::int64_t used(const Node& node, const std::string& name, std::int64_t when_absent = 0) {
  std::int64_t total = 0;
  for (const json& pod : node.pods) total += requests(pod, name, when_absent);
  return total;
}

std::int64_t allocatable(const Node& node, const std::string& name) {
  return amount(at(node.object, "/status/allocatable"), name);
}

bool has_room(const Node& node, const json& pod) {
  if (static_cast<std::int64_t>(node.pods.size()) + 1 > allocatable(node, "pods")) return false;
  for (const char* name : {"cpu", "memory", "example.com/gpu"}) {
    const std::int64_t wanted = requests(pod, name);
    if (wanted > 0 && wanted > allocatable(node, name) - used(node, name)) return false;
  }
  return true;
}

// Ports

std::vector<json> host_ports(const json& pod) {
  std::vector<json> out;
  for (const json& c : list_at(pod, "/spec/containers")) {
    for (const json& p : c.value("ports", json::array())) {
      if (p.value("hostPort", 0) > 0) out.push_back(p);
    }
  }
  return out;
}

bool ports_free(const Node& node, const json& pod) {
  for (const json& wanted : host_ports(pod)) {
    for (const json& other : node.pods) {
      for (const json& taken : host_ports(other)) {
        if (taken["hostPort"] != wanted["hostPort"] ||
            taken.value("protocol", "TCP") != wanted.value("protocol", "TCP"))
          continue;
        const std::string a = taken.value("hostIP", "0.0.0.0");
        const std::string b = wanted.value("hostIP", "0.0.0.0");
        if (a == b || a == "0.0.0.0" || b == "0.0.0.0") return false;
      }
    }
  }
  return true;
}

// Inter-pod affinity

json terms(const json& pod, const std::string& kind, bool required) {
  return list_at(pod, "/spec/affinity/" + kind + (required ? "/required" : "/preferred") +
                          "DuringSchedulingIgnoredDuringExecution");
}

bool term_matches(const Cluster& cluster, const json& term, const json& owner, const json& pod) {
  const std::string ns = text(pod["metadata"], "namespace");
  const json namespaces = term.value("namespaces", json::array());
  const bool by_default =
      namespaces.empty() && !term.contains("namespaceSelector") && ns == text(owner["metadata"], "namespace");
  const bool listed = std::find(namespaces.begin(), namespaces.end(), json(ns)) != namespaces.end();
  const auto labels = cluster.namespaces.find(ns);
  const bool selected =
      term.contains("namespaceSelector") &&
      selects(term["namespaceSelector"], labels == cluster.namespaces.end() ? json::object() : labels->second);
  return (by_default || listed || selected) && selects(term.value("labelSelector", json()), labels_of(pod));
}

bool same_domain(const Node& a, const Node& b, const std::string& key) {
  const json x = labels_of(a.object);
  const json y = labels_of(b.object);
  return x.contains(key) && y.contains(key) && x[key] == y[key];
}

bool matches_all(const Cluster& cluster, const json& wanted, const json& owner, const json& pod) {
  return std::all_of(wanted.begin(), wanted.end(),
                     [&](const json& term) { return term_matches(cluster, term, owner, pod); });
}

bool affinity_holds(const Cluster& cluster, const Node& node, const json& pod) {
  const json wanted = terms(pod, "podAffinity", true);
  bool company = true;
  bool anybody = false;
  for (const json& term : wanted) {
    const std::string key = text(term, "topologyKey");
    if (!labels_of(node.object).contains(key)) return false;
    bool here = false;
    for (const Node& other : cluster.nodes) {
      for (const json& running : other.pods) {
        if (!matches_all(cluster, wanted, pod, running)) continue;
        here = here || same_domain(node, other, key);
        anybody = anybody || labels_of(other.object).contains(key);
      }
    }
    company = company && here;
  }
  return company || (!anybody && matches_all(cluster, wanted, pod, pod));
}

bool anti_affinity_holds(const Cluster& cluster, const Node& node, const json& pod) {
  for (const Node& other : cluster.nodes) {
    for (const json& running : other.pods) {
      for (const json& term : terms(pod, "podAntiAffinity", true)) {
        if (term_matches(cluster, term, pod, running) && same_domain(node, other, text(term, "topologyKey")))
          return false;
      }
      for (const json& term : terms(running, "podAntiAffinity", true)) {
        if (term_matches(cluster, term, running, pod) && same_domain(node, other, text(term, "topologyKey")))
          return false;
      }
    }
  }
  return true;
}

std::int64_t affinity_score(const Cluster& cluster, const Node& node, const json& pod) {
  std::int64_t total = 0;
  const auto add = [&](const json& term, const json& owner, const json& about, const Node& other, std::int64_t weight) {
    if (term_matches(cluster, term, owner, about) && same_domain(node, other, text(term, "topologyKey")))
      total += weight;
  };
  for (const Node& other : cluster.nodes) {
    for (const json& running : other.pods) {
      for (const json& t : terms(pod, "podAffinity", false))
        add(t["podAffinityTerm"], pod, running, other, t["weight"].get<std::int64_t>());
      for (const json& t : terms(pod, "podAntiAffinity", false))
        add(t["podAffinityTerm"], pod, running, other, -t["weight"].get<std::int64_t>());
      for (const json& t : terms(running, "podAffinity", true)) add(t, running, pod, other, 1);
      for (const json& t : terms(running, "podAffinity", false))
        add(t["podAffinityTerm"], running, pod, other, t["weight"].get<std::int64_t>());
      for (const json& t : terms(running, "podAntiAffinity", false))
        add(t["podAffinityTerm"], running, pod, other, -t["weight"].get<std::int64_t>());
    }
  }
  return total;
}

// Topology spread

std::vector<json> constraints(const json& pod, const std::string& when) {
  std::vector<json> out;
  for (const json& c : list_at(pod, "/spec/topologySpreadConstraints")) {
    if (c["whenUnsatisfiable"] == when) out.push_back(c);
  }
  return out;
}

bool has_keys(const Node& node, const std::vector<json>& all) {
  return std::all_of(all.begin(), all.end(), [&](const json& c) {
    return labels_of(node.object).contains(c["topologyKey"].get<std::string>());
  });
}

bool included(const json& c, const json& pod, const Node& node) {
  if (c.value("nodeAffinityPolicy", "Honor") == "Honor" && !required_node_affinity(pod, node)) return false;
  return c.value("nodeTaintsPolicy", "Ignore") == "Ignore" || !repels(node, pod);
}

json spread_selector(const json& c, const json& pod) {
  json selector = c.value("labelSelector", json());
  for (const json& key : c.value("matchLabelKeys", json::array())) {
    const json labels = labels_of(pod);
    if (!labels.contains(key.get<std::string>())) continue;
    json values = json::array();
    values.push_back(labels[key.get<std::string>()]);
    selector["matchExpressions"].push_back({{"key", key}, {"operator", "In"}, {"values", values}});
  }
  return selector;
}

std::int64_t matching_pods(const Node& node, const json& c, const json& pod) {
  return std::count_if(node.pods.begin(), node.pods.end(), [&](const json& running) {
    return running["metadata"]["namespace"] == pod["metadata"]["namespace"] &&
           !running["metadata"].contains("deletionTimestamp") && selects(spread_selector(c, pod), labels_of(running));
  });
}

// Matching pods by domain, on the nodes that count.
std::map<std::string, std::int64_t> domain_counts(const Cluster& cluster, const json& c, const std::vector<json>& all,
                                                  const json& pod) {
  std::map<std::string, std::int64_t> out;
  for (const Node& node : cluster.nodes) {
    if (!has_keys(node, all) || !included(c, pod, node)) continue;
    out[labels_of(node.object)[c["topologyKey"].get<std::string>()].get<std::string>()] += matching_pods(node, c, pod);
  }
  return out;
}

bool spread_holds(const Cluster& cluster, const Node& node, const json& pod) {
  const auto all = constraints(pod, "DoNotSchedule");
  for (const json& c : all) {
    const json labels = labels_of(node.object);
    const std::string key = text(c, "topologyKey");
    if (!labels.contains(key)) return false;
    const auto counts = domain_counts(cluster, c, all, pod);
    std::int64_t minimum = counts.empty() ? 0 : counts.begin()->second;
    for (const auto& [domain, count] : counts) minimum = std::min(minimum, count);
    if (static_cast<std::int64_t>(counts.size()) < c.value("minDomains", std::int64_t{1})) minimum = 0;
    const auto here = counts.find(labels[key].get<std::string>());
    const std::int64_t self = selects(spread_selector(c, pod), labels_of(pod)) ? 1 : 0;
    if ((here == counts.end() ? 0 : here->second) + self - minimum > c["maxSkew"].get<std::int64_t>()) return false;
  }
  return true;
}

Scores spread_scores(const Cluster& cluster, const json& pod, const std::vector<const Node*>& nodes) {
  Scores out(nodes.size(), 0);
  const auto all = constraints(pod, "ScheduleAnyway");
  if (all.empty()) return out;
  std::vector<const Node*> comparable;
  for (const Node* node : nodes) {
    if (has_keys(*node, all)) comparable.push_back(node);
  }
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    double score = 0;
    for (const json& c : all) {
      if (!has_keys(*nodes[i], all)) continue;
      const std::string key = text(c, "topologyKey");
      const bool host = key == "kubernetes.io/hostname";
      std::set<std::string> domains;
      for (const Node* node : comparable) domains.insert(labels_of(node->object)[key].get<std::string>());
      const auto size = static_cast<double>(host ? comparable.size() : domains.size());
      const auto counts = domain_counts(cluster, c, all, pod);
      const auto here = counts.find(labels_of(nodes[i]->object)[key].get<std::string>());
      const std::int64_t in_domain = here == counts.end() ? 0 : here->second;
      const auto count = static_cast<double>(host ? matching_pods(*nodes[i], c, pod) : in_domain);
      score += count * std::log(size + 2) + static_cast<double>(c["maxSkew"].get<std::int64_t>() - 1);
    }
    out[i] = has_keys(*nodes[i], all) ? static_cast<std::int64_t>(std::round(score)) : -1;
  }
  std::int64_t low = std::numeric_limits<std::int64_t>::max();
  std::int64_t high = 0;
  for (const std::int64_t s : out) {
    if (s < 0) continue;
    low = std::min(low, s);
    high = std::max(high, s);
  }
  for (std::int64_t& s : out) s = s < 0 ? 0 : high == 0 ? 100 : 100 * (high + low - s) / high;
  return out;
}

// Scores

Scores each(const std::vector<const Node*>& nodes, const std::function<std::int64_t(const Node&)>& score) {
  Scores out;
  for (const Node* node : nodes) out.push_back(score(*node));
  return out;
}

Scores scaled(Scores scores, bool reverse) {
  const std::int64_t high = *std::max_element(scores.begin(), scores.end());
  for (std::int64_t& s : scores) {
    s = high == 0 ? 0 : s * 100 / high;
    if (reverse) s = 100 - s;
  }
  return scores;
}

std::int64_t least_allocated(const Node& node, const json& pod) {
  std::int64_t total = 0;
  std::int64_t weights = 0;
  for (const auto& [name, assumed] : {std::pair<const char*, std::int64_t>("cpu", 100), {"memory", 200LL << 20}}) {
    const std::int64_t capacity = allocatable(node, name);
    if (capacity == 0) continue;
    const std::int64_t wanted = used(node, name, assumed) + requests(pod, name, assumed);
    total += wanted > capacity ? 0 : (capacity - wanted) * 100 / capacity;
    ++weights;
  }
  return weights == 0 ? 0 : total / weights;
}

std::int64_t balanced(const Node& node, const json& pod) {
  std::vector<double> shares;
  for (const char* name : {"cpu", "memory"}) {
    const std::int64_t capacity = allocatable(node, name);
    if (capacity == 0) continue;
    shares.push_back(
        std::min(1.0, static_cast<double>(used(node, name) + requests(pod, name)) / static_cast<double>(capacity)));
  }
  const double deviation = shares.size() == 2 ? std::abs((shares[0] - shares[1]) / 2) : 0;
  return static_cast<std::int64_t>((1 - deviation) * 100);
}

std::int64_t preferred_node_affinity(const Node& node, const json& pod) {
  std::int64_t total = 0;
  for (const json& t : list_at(pod, "/spec/affinity/nodeAffinity/preferredDuringSchedulingIgnoredDuringExecution")) {
    if (node_term_holds(t["preference"], node)) total += t["weight"].get<std::int64_t>();
  }
  return total;
}

std::int64_t soft_taints(const Node& node, const json& pod) {
  const json taints = list_at(node.object, "/spec/taints");
  return std::count_if(taints.begin(), taints.end(),
                       [&](const json& t) { return text(t, "effect") == "PreferNoSchedule" && !tolerates(pod, t); });
}

std::int64_t image_locality(const Cluster& cluster, const Node& node, const json& pod) {
  std::int64_t sum = 0;
  std::int64_t containers = 0;
  const auto size_on = [](const Node& n, const std::string& name) -> std::int64_t {
    for (const json& image : list_at(n.object, "/status/images")) {
      if (image["names"][0] == name) return image["sizeBytes"].get<std::int64_t>();
    }
    return -1;
  };
  json all = list_at(pod, "/spec/initContainers");
  for (const json& c : list_at(pod, "/spec/containers")) all.push_back(c);
  for (const json& c : all) {
    ++containers;
    const std::string name = text(c, "image") + ":latest";
    const auto holders =
        std::count_if(cluster.nodes.begin(), cluster.nodes.end(), [&](const Node& n) { return size_on(n, name) >= 0; });
    const std::int64_t size = size_on(node, name);
    if (size > 0)
      sum += static_cast<std::int64_t>(static_cast<double>(size) *
                                       (static_cast<double>(holders) / static_cast<double>(cluster.nodes.size())));
  }
  const std::int64_t low = 23LL << 20;
  const std::int64_t high = (1000LL << 20) * containers;
  return 100 * (std::clamp(sum, low, high) - low) / (high - low);
}

Scores stretched(Scores scores) {
  const auto [low, high] = std::minmax_element(scores.begin(), scores.end());
  const std::int64_t least = *low;
  const std::int64_t most = *high;
  for (std::int64_t& s : scores) {
    s = most == least
            ? 0
            : static_cast<std::int64_t>(100.0 * (static_cast<double>(s - least) / static_cast<double>(most - least)));
  }
  return scores;
}

}  // namespace

std::map<std::string, std::vector<std::string>> feasible(const Cluster& cluster, const json& pod) {
  using Rule = std::function<bool(const Node&)>;
  const json unschedulable = {{"key", "node.kubernetes.io/unschedulable"}, {"effect", "NoSchedule"}};
  const std::map<std::string, Rule> rules = {
      {"NodeName",
       [&](const Node& n) { return at(pod, "/spec/nodeName", "") == "" || at(pod, "/spec/nodeName") == n.name(); }},
      {"NodeUnschedulable",
       [&](const Node& n) {
         return !at(n.object, "/spec/unschedulable", false).get<bool>() || tolerates(pod, unschedulable);
       }},
      {"TaintToleration", [&](const Node& n) { return !repels(n, pod); }},
      {"NodeAffinity", [&](const Node& n) { return required_node_affinity(pod, n); }},
      {"NodePorts", [&](const Node& n) { return ports_free(n, pod); }},
      {"NodeResourcesFit", [&](const Node& n) { return has_room(n, pod); }},
      {"InterPodAffinity",
       [&](const Node& n) { return affinity_holds(cluster, n, pod) && anti_affinity_holds(cluster, n, pod); }},
      {"PodTopologySpread", [&](const Node& n) { return spread_holds(cluster, n, pod); }},
  };
  std::map<std::string, std::vector<std::string>> out;
  for (const auto& [plugin, rule] : rules) {
    auto& names = out[plugin];
    for (const Node& node : cluster.nodes) {
      if (rule(node)) names.push_back(node.name());
    }
  }
  return out;
}

std::map<std::string, Scores> scores(const Cluster& cluster, const json& pod, const std::vector<std::string>& names) {
  std::vector<const Node*> nodes;
  for (const Node& node : cluster.nodes) {
    if (std::find(names.begin(), names.end(), node.name()) != names.end()) nodes.push_back(&node);
  }
  const bool asks = requests(pod, "cpu") > 0 || requests(pod, "memory") > 0;
  return {
      {"TaintToleration", scaled(each(nodes, [&](const Node& n) { return soft_taints(n, pod); }), true)},
      {"NodeAffinity", scaled(each(nodes, [&](const Node& n) { return preferred_node_affinity(n, pod); }), false)},
      {"NodeResourcesFit", each(nodes, [&](const Node& n) { return least_allocated(n, pod); })},
      {"NodeResourcesBalancedAllocation", each(nodes, [&](const Node& n) { return asks ? balanced(n, pod) : 0; })},
      {"ImageLocality", each(nodes, [&](const Node& n) { return image_locality(cluster, n, pod); })},
      {"InterPodAffinity", stretched(each(nodes, [&](const Node& n) { return affinity_score(cluster, n, pod); }))},
      {"PodTopologySpread", spread_scores(cluster, pod, nodes)},
  };
}

}  // namespace kubernel::reference
