// SPDX-License-Identifier: Apache-2.0
#include <kubernel/api/quota.h>

#include <algorithm>

namespace kubernel::api {
namespace {

void add(Amounts& to, const Amounts& more) {
  for (const auto& [name, amount] : more) to[name] += amount;
}

void raise(Amounts& to, const Amounts& other) {
  for (const auto& [name, amount] : other) {
    Quantity& mine = to[name];
    if (mine < amount) mine = amount;
  }
}

bool is_core(std::string_view name) {
  return name == "cpu" || name == "memory" || name == "ephemeral-storage";
}
bool is_huge_page(std::string_view name) {
  return name.starts_with("hugepages-");
}

std::string count_name(const Resource& resource) {
  return "count/" + resource.plural + (resource.group.empty() ? "" : "." + resource.group);
}

void use_requests(const Amounts& requests, Amounts& out) {
  for (const auto& [name, amount] : requests) {
    if (is_core(name)) out[name] = amount;
    if (is_huge_page(name)) out[name] = amount;
    // Extended resources are limited by their requests only.
    if (is_core(name) || is_huge_page(name) || name.find('/') != std::string::npos) out["requests." + name] = amount;
  }
}

bool pod_ended(const Object& pod) {
  const std::string_view phase = pod["status"]["phase"].string();
  return phase == "Succeeded" || phase == "Failed";
}

void use_pod(const Object& pod, Amounts& out) {
  if (pod_ended(pod)) return;
  out["pods"] = Quantity::of(1);
  use_requests(pod_amounts(pod["spec"], "requests"), out);
  for (const auto& [name, amount] : pod_amounts(pod["spec"], "limits")) {
    if (is_core(name)) out["limits." + name] = amount;
  }
}

void use_service(const Object& service, Amounts& out) {
  const std::string_view type = service["spec"]["type"].string();
  const auto ports = static_cast<std::int64_t>(service["spec"]["ports"].size());
  const bool balanced = type == "LoadBalancer";
  const bool with_node_ports =
      type == "NodePort" || (balanced && service["spec"]["allocateLoadBalancerNodePorts"].boolean(true));
  out["services"] = Quantity::of(1);
  out["services.loadbalancers"] = Quantity::of(balanced ? 1 : 0);
  out["services.nodeports"] = Quantity::of(with_node_ports ? ports : 0);
}

void use_claim(const Object& claim, Amounts& out) {
  const Quantity storage = Quantity::read(claim["spec"]["resources"]["requests"]["storage"]);
  const std::string_view storage_class = claim["spec"]["storageClassName"].string();
  out["persistentvolumeclaims"] = Quantity::of(1);
  out["requests.storage"] = storage;
  if (storage_class.empty()) return;
  const std::string prefix = std::string(storage_class) + ".storageclass.storage.k8s.io/";
  out[prefix + "persistentvolumeclaims"] = Quantity::of(1);
  out[prefix + "requests.storage"] = storage;
}

// BestEffort: no container asks for, or is held to, any processor time or memory.
bool best_effort(Value pod_spec) {
  for (const char* list : {"containers", "initContainers"}) {
    for (const Value container : pod_spec[list]) {
      for (const char* kind : {"requests", "limits"}) {
        for (const char* name : {"cpu", "memory"}) {
          if (!Quantity::read(container["resources"][kind][name]).is_zero()) return false;
        }
      }
    }
  }
  return true;
}

bool has_namespaces(Value affinity) {
  for (const char* kind : {"podAffinity", "podAntiAffinity"}) {
    for (const Value term : affinity[kind]["requiredDuringSchedulingIgnoredDuringExecution"]) {
      if (term["namespaces"].size() > 0 || term["namespaceSelector"]) return true;
    }
    for (const Value weighted : affinity[kind]["preferredDuringSchedulingIgnoredDuringExecution"]) {
      const Value term = weighted["podAffinityTerm"];
      if (term["namespaces"].size() > 0 || term["namespaceSelector"]) return true;
    }
  }
  return false;
}

bool in_scope(std::string_view scope, const Object& pod) {
  const Value spec = pod["spec"];
  if (scope == "Terminating") return static_cast<bool>(spec["activeDeadlineSeconds"]);
  if (scope == "NotTerminating") return !spec["activeDeadlineSeconds"];
  if (scope == "BestEffort") return best_effort(spec);
  if (scope == "NotBestEffort") return !best_effort(spec);
  if (scope == "PriorityClass") return !spec["priorityClassName"].string().empty();
  if (scope == "CrossNamespacePodAffinity") return has_namespaces(spec["affinity"]);
  return false;
}

bool fits(Value term, const Object& pod) {
  const std::string_view scope = term["scopeName"].string();
  const std::string_view op = term["operator"].string();
  if (scope != "PriorityClass") return in_scope(scope, pod);
  const std::string_view name = pod["spec"]["priorityClassName"].string();
  const bool listed =
      std::any_of(term["values"].begin(), term["values"].end(), [&](Value one) { return one.string() == name; });
  if (op == "Exists") return !name.empty();
  if (op == "DoesNotExist") return name.empty();
  return op == "In" ? listed : !listed;
}

}  // namespace

Amounts read_amounts(Value list) {
  Amounts out;
  for (auto place = list.begin(); place != list.end(); ++place) out[std::string(place.key())] = Quantity::read(*place);
  return out;
}

std::string print_amounts(const Amounts& amounts) {
  std::string out;
  for (const auto& [name, amount] : amounts) out += (out.empty() ? "" : ",") + name + "=" + amount.to_string();
  return out;
}

Amounts pod_amounts(Value pod_spec, const char* list) {
  Amounts running;
  for (const Value container : pod_spec["containers"]) add(running, read_amounts(container["resources"][list]));
  // A restartable init container goes on beside what comes after it; any other needs its amounts beside those before it
  // only.
  Amounts sidecars;
  Amounts starting;
  for (const Value container : pod_spec["initContainers"]) {
    Amounts step = read_amounts(container["resources"][list]);
    if (container["restartPolicy"].string() == "Always") {
      add(running, step);
      add(sidecars, step);
      raise(starting, sidecars);
    } else {
      add(step, sidecars);
      raise(starting, step);
    }
  }
  raise(running, starting);
  for (const auto& [name, amount] : read_amounts(pod_spec["resources"][list])) running[name] = amount;
  const bool requests = std::string_view(list) == "requests";
  for (const auto& [name, amount] : read_amounts(pod_spec["overhead"])) {
    // A limit that nobody set stays unset.
    if (requests || running.contains(name)) running[name] += amount;
  }
  return running;
}

Amounts quota_usage(const Resource& resource, const Object& object) {
  Amounts out;
  out[count_name(resource)] = Quantity::of(1);
  if (!resource.group.empty()) return out;
  if (resource.plural == "pods") {
    use_pod(object, out);
  } else if (resource.plural == "services") {
    use_service(object, out);
  } else if (resource.plural == "persistentvolumeclaims") {
    use_claim(object, out);
  } else if (resource.plural == "configmaps" || resource.plural == "secrets" ||
             resource.plural == "replicationcontrollers" || resource.plural == "resourcequotas") {
    out[resource.plural] = Quantity::of(1);
  }
  return out;
}

bool quota_includes(const Object& quota, const Resource& resource, const Object& object) {
  const Value spec = quota["spec"];
  const Value scopes = spec["scopes"];
  const Value terms = spec["scopeSelector"]["matchExpressions"];
  if (scopes.size() == 0 && terms.size() == 0) return true;
  if (!resource.group.empty() || resource.plural != "pods") return false;
  return std::all_of(scopes.begin(), scopes.end(), [&](Value scope) { return in_scope(scope.string(), object); }) &&
         std::all_of(terms.begin(), terms.end(), [&](Value term) { return fits(term, object); });
}

}  // namespace kubernel::api
