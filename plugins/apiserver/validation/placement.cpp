// SPDX-License-Identifier: Apache-2.0
//
// Where a pod may run: node selectors, affinity, tolerations, spread.
#include <set>

#include "validation/pod_rules.h"

namespace kubernel::apiserver::validation {

namespace {

void check_expression(const Field& term) {
  const std::string op = term["operator"].text();
  const Field values = term["values"];
  if (op == "In" || op == "NotIn") {
    if (values.zero()) values.required("must be specified when `operator` is 'In' or 'NotIn'");
  } else if (op == "Exists" || op == "DoesNotExist") {
    if (!values.zero()) values.forbidden("may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
  } else if (op == "Gt" || op == "Lt") {
    if (values.size() != 1) values.required("must be specified single value when `operator` is 'Lt' or 'Gt'");
  }
  if (!term["key"].zero()) check_label_name(term["key"]);
}

void check_field_expression(const Field& term) {
  const std::string op = term["operator"].text();
  if (op == "In" || op == "NotIn") {
    if (term["values"].size() != 1) {
      term["values"].required("must be only one value when `operator` is 'In' or 'NotIn' for node field selector");
    }
  } else if (!op.empty()) {
    term["operator"].invalid("not a valid selector operator");
  }
  if (term["key"].text() != "metadata.name") {
    term["key"].invalid("not a valid field selector key");
    return;
  }
  term["values"].each(
      [](const Field& value, std::size_t) { value.invalid(check_name(NameRule::Subdomain, value.text(), false)); });
}

void check_node_term(const Field& term) {
  term["matchExpressions"].each([](const Field& one, std::size_t) { check_expression(one); });
  term["matchFields"].each([](const Field& one, std::size_t) { check_field_expression(one); });
}

void check_weight(const Field& weight) {
  if (weight.number() < 1 || weight.number() > 100) {
    weight.with(weight.set() ? weight.value() : json(0)).invalid("must be in the range 1-100");
  }
}

void check_pod_term(const Field& term) {
  check_selector(term["labelSelector"]);
  check_selector(term["namespaceSelector"]);
  term["namespaces"].each([&](const Field& name, std::size_t) {
    for (const std::string& why : check_name(NameRule::Label, name.text(), false)) {
      term["namespace"].invalid_as(quote(name.text()), why);
    }
  });
  if (term["topologyKey"].zero()) {
    term["topologyKey"].required("can not be empty");
  } else {
    check_label_name(term["topologyKey"]);
  }
}

void check_pod_affinity(const Field& affinity) {
  affinity["requiredDuringSchedulingIgnoredDuringExecution"].each(
      [](const Field& term, std::size_t) { check_pod_term(term); });
  affinity["preferredDuringSchedulingIgnoredDuringExecution"].each([](const Field& one, std::size_t) {
    check_weight(one["weight"]);
    check_pod_term(one["podAffinityTerm"]);
  });
}

void check_toleration(const Field& toleration) {
  const Field key = toleration["key"];
  const Field op = toleration["operator"];
  if (!key.zero()) check_label_name(key);
  if (key.zero() && op.text() != "Exists") {
    op.with(op.set() ? op.value() : json(""))
        .invalid("operator must be Exists when `key` is empty, which means \"match all values and all keys\"");
  }
  if (toleration["tolerationSeconds"].set() && toleration["effect"].text() != "NoExecute") {
    toleration["effect"].invalid_as(quote(toleration["effect"].text()),
                                    "effect must be 'NoExecute' when `tolerationSeconds` is set");
  }
  if (op.zero() || op.text() == "Equal") {
    if (const auto problems = check_label_value(toleration["value"].text()); !problems.empty()) {
      op.invalid_as(quote(toleration["value"].text()), join(problems, ";"));
    }
  } else if (op.text() == "Exists" && !toleration["value"].zero()) {
    op.invalid_as(toleration.value().dump(), "value must be empty when `operator` is 'Exists'");
  }
}

void check_spread(const Field& constraint) {
  const Field skew = constraint["maxSkew"];
  if (skew.number() <= 0) skew.with(skew.set() ? skew.value() : json(0)).invalid("must be greater than zero");
  if (constraint["topologyKey"].zero()) {
    constraint["topologyKey"].required("can not be empty");
  } else {
    check_label_name(constraint["topologyKey"]);
  }
  const Field domains = constraint["minDomains"];
  if (domains.set()) {
    if (domains.number() <= 0) domains.invalid("must be greater than zero");
    const std::string action = constraint["whenUnsatisfiable"].text();
    if (!action.empty() && action != "DoNotSchedule") {
      domains.invalid("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not " + action);
    }
  }
  check_selector(constraint["labelSelector"]);
  if (!constraint["matchLabelKeys"].zero() && !constraint["labelSelector"].set()) {
    constraint["matchLabelKeys"].forbidden("must not be specified when labelSelector is not set");
  }
  constraint["matchLabelKeys"].each([](const Field& key, std::size_t) { check_label_name(key); });
}

}  // namespace

void check_node_selector(const Field& selector) {
  const Field terms = selector["nodeSelectorTerms"];
  if (terms.zero()) terms.required("must have at least one node selector term");
  terms.each([](const Field& term, std::size_t) { check_node_term(term); });
}

void check_tolerations(const Field& tolerations) {
  tolerations.each([](const Field& toleration, std::size_t) { check_toleration(toleration); });
}

void check_placement(const Field& spec) {
  check_labels(spec["nodeSelector"]);
  const Field affinity = spec["affinity"];
  const Field node = affinity["nodeAffinity"];
  if (node["requiredDuringSchedulingIgnoredDuringExecution"].set()) {
    check_node_selector(node["requiredDuringSchedulingIgnoredDuringExecution"]);
  }
  node["preferredDuringSchedulingIgnoredDuringExecution"].each([](const Field& one, std::size_t) {
    check_weight(one["weight"]);
    check_node_term(one["preference"]);
  });
  check_pod_affinity(affinity["podAffinity"]);
  check_pod_affinity(affinity["podAntiAffinity"]);
  check_tolerations(spec["tolerations"]);
  spec["topologySpreadConstraints"].each([](const Field& one, std::size_t) { check_spread(one); });
}

}  // namespace kubernel::apiserver::validation
