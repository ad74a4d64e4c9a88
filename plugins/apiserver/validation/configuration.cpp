// SPDX-License-Identifier: Apache-2.0
//
// Configuration and limits: config maps, secrets, service accounts, quotas, priority classes, leases, disruption
// budgets, autoscalers.
#include <map>
#include <set>

#include <kubernel/api/quantity.h>

#include "validation/object_rules.h"

namespace kubernel::apiserver::validation {

namespace {

constexpr std::size_t kMaxBytes = 1024 * 1024;
constexpr std::string_view kWhenSet = "field is immutable when `immutable` is set";

// What base64 text stands for, in bytes.
std::size_t decoded_size(const json& value) {
  if (!value.is_string()) return 0;
  const auto& text = value.get_ref<const std::string&>();
  if (text.size() < 4) return 0;
  const std::size_t padding = text[text.size() - 1] != '=' ? 0 : text[text.size() - 2] == '=' ? 2 : 1;
  return text.size() / 4 * 3 - padding;
}

void check_frozen(const Field& object, const json& old, std::initializer_list<const char*> fields) {
  if (!flag(old, {"immutable"})) return;
  if (!object["immutable"].flag()) object["immutable"].forbidden(kWhenSet);
  for (const char* field : fields) {
    if (object[field].value() != member(old, {field})) object[field].forbidden(kWhenSet);
  }
}

void check_secret_type(const Field& secret) {
  static const std::map<std::string, std::vector<const char*>> kNeeds = {
      {"kubernetes.io/dockercfg", {".dockercfg"}},
      {"kubernetes.io/dockerconfigjson", {".dockerconfigjson"}},
      {"kubernetes.io/ssh-auth", {"ssh-privatekey"}},
      {"kubernetes.io/tls", {"tls.crt", "tls.key"}}};
  const std::string type = secret["type"].text();
  if (const auto needs = kNeeds.find(type); needs != kNeeds.end()) {
    for (const char* key : needs->second) {
      if (!secret["data"].key(key).set()) secret["data"].key(key).required();
    }
  } else if (type == "kubernetes.io/basic-auth") {
    if (!secret["data"].key("username").set() && !secret["data"].key("password").set()) {
      secret["data"].key("username").required();
      secret["data"].key("password").required();
    }
  } else if (type == "kubernetes.io/service-account-token") {
    const Field account = secret["metadata"]["annotations"].key("kubernetes.io/service-account.name");
    if (account.zero()) account.required();
  }
}

}  // namespace

void check_config_map(const Field& map) {
  std::size_t total = 0;
  map["data"].each_member([&](const std::string& key, const Field& value) {
    check_config_key(value, key);
    if (map["binaryData"].key(key).set()) value.invalid_as(quote(key), "duplicate of key present in binaryData");
    total += value.text().size();
  });
  map["binaryData"].each_member([&](const std::string& key, const Field& value) {
    check_config_key(value, key);
    if (map["data"].key(key).set()) value.invalid_as(quote(key), "duplicate of key present in data");
    total += decoded_size(value.value());
  });
  if (total > kMaxBytes) map.too_long(kMaxBytes);
}

void check_config_map_update(const Field& map, const json& old) {
  check_frozen(map, old, {"data", "binaryData"});
}

void check_secret(const Field& secret) {
  std::size_t total = 0;
  secret["data"].each_member([&](const std::string& key, const Field& value) {
    check_config_key(value, key);
    total += decoded_size(value.value());
  });
  if (total > kMaxBytes) secret["data"].too_long(kMaxBytes);
  check_secret_type(secret);
}

void check_secret_update(const Field& secret, const json& old) {
  check_unchanged(secret["type"], member(old, {"type"}));
  check_frozen(secret, old, {"data"});
}

void check_service_account(const Field& account) {
  account["imagePullSecrets"].each(
      [](const Field& one, std::size_t) { check_name_rule(one["name"], NameRule::Subdomain); });
}

void check_resource_quota(const Field& quota) {
  check_resource_list(quota["spec"]["hard"], false);
  const Field terms = quota["spec"]["scopeSelector"]["matchExpressions"];
  terms.each([](const Field& term, std::size_t) {
    const std::string op = term["operator"].text();
    if ((op == "In" || op == "NotIn") && term["values"].zero()) {
      term["values"].required("must be at least one value when `operator` is 'In' or 'NotIn' for scope selector");
    }
    if ((op == "Exists" || op == "DoesNotExist") && !term["values"].zero()) {
      term["values"].invalid("must be no value when `operator` is 'Exists' or 'DoesNotExist' for scope selector");
    }
  });
}

void check_resource_quota_update(const Field& quota, const json& old) {
  const json& before = member(old, {"spec", "scopes"});
  const Field scopes = quota["spec"]["scopes"];
  if (std::set<json>(before.begin(), before.end()) != std::set<json>(scopes.value().begin(), scopes.value().end())) {
    scopes.invalid(kImmutable);
  }
}

void check_limit_range(const Field& range) {
  std::set<std::string> types;
  range["spec"]["limits"].each([&](const Field& limit, std::size_t) {
    const std::string type = limit["type"].text();
    if (!type.empty() && !types.insert(type).second) limit["type"].duplicate();
    for (const char* list : {"max", "min", "default", "defaultRequest", "maxLimitRequestRatio"})
      check_resource_list(limit[list], false);
    if (type == "Pod") {
      for (const char* list : {"default", "defaultRequest"}) {
        if (!limit[list].zero()) limit[list].forbidden("may not be specified when `type` is 'Pod'");
      }
    }
    if (type == "PersistentVolumeClaim" && !limit["min"].key("storage").set() && !limit["max"].key("storage").set()) {
      limit["limits"].required("either minimum or maximum storage value is required, but neither was provided");
    }
    const auto ordered = [&](const char* low, const char* high) {
      limit[low].each_member([&](const std::string& name, const Field& value) {
        const Field other = limit[high].key(name);
        if (!other.set() || value.quantity() <= other.quantity()) return;
        value.invalid_as(quote(value.quantity().to_string()), std::string(low) + " value " +
                                                                  value.quantity().to_string() + " is greater than " +
                                                                  high + " value " + other.quantity().to_string());
      });
    };
    ordered("min", "max");
    ordered("min", "default");
    ordered("min", "defaultRequest");
    ordered("default", "max");
    ordered("defaultRequest", "max");
    ordered("defaultRequest", "default");
    limit["maxLimitRequestRatio"].each_member([](const std::string&, const Field& ratio) {
      if (ratio.quantity() < api::Quantity::of(1))
        ratio.invalid_as(quote(ratio.quantity().to_string()), "ratio must be greater than or equal to 1");
    });
  });
}

void check_priority_class(const Field& priority) {
  const std::string name = priority["metadata"]["name"].text();
  const std::int64_t value = priority["value"].number();
  if (!name.starts_with("system-")) {
    if (value > 1'000'000'000)
      priority["value"].forbidden("maximum allowed value of a user defined priority is 1000000000");
    return;
  }
  const std::string_view shared =
      "priority class names with 'system-' prefix are reserved for system use only. error: ";
  const bool node = name == "system-node-critical";
  if (!node && name != "system-cluster-critical") {
    priority["metadata"]["name"].forbidden(std::string(shared) + name + " is not a known system priority class");
    return;
  }
  const std::int64_t known = node ? 2'000'001'000 : 2'000'000'000;
  if (value != known) {
    priority["metadata"]["name"].forbidden(std::string(shared) + "value of " + name + " PriorityClass must be " +
                                           std::to_string(known));
  } else if (priority["globalDefault"].flag()) {
    priority["metadata"]["name"].forbidden(std::string(shared) + "globalDefault of " + name +
                                           " PriorityClass must be false");
  }
}

void check_priority_class_update(const Field& priority, const json& old) {
  if (priority["value"].number() != number(old, {"value"}))
    priority["value"].forbidden("may not be changed in an update.");
  check_unchanged(priority["preemptionPolicy"], member(old, {"preemptionPolicy"}));
}

void check_lease(const Field& lease) {
  const Field spec = lease["spec"];
  const Field seconds = spec["leaseDurationSeconds"];
  if (seconds.set() && seconds.number() <= 0) seconds.invalid("must be greater than 0");
  check_not_negative(spec["leaseTransitions"]);
  if (spec["preferredHolder"].set() && spec["strategy"].zero())
    spec["preferredHolder"].forbidden("strategy must be specified when preferredHolder is set");
}

void check_budget(const Field& budget) {
  const Field spec = budget["spec"];
  if (spec["minAvailable"].set() && spec["maxUnavailable"].set()) {
    spec.invalid("minAvailable and maxUnavailable cannot be both set");
  }
  check_int_or_percent(spec["minAvailable"], true);
  check_int_or_percent(spec["maxUnavailable"], true);
  check_selector(spec["selector"]);
}

}  // namespace kubernel::apiserver::validation
