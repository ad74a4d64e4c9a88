// SPDX-License-Identifier: Apache-2.0
//
// The subresources of pods that change a running pod's spec: ephemeralcontainers and resize.
#include <utility>

#include <kubernel/api/quantity.h>

#include "pipeline/api.h"
#include "registry/errors.h"
#include "strategies/strategy.h"
#include "validation/pod_rules.h"

namespace kubernel::apiserver {

namespace {

using validation::Field;

void carry_version(json& pod, const json& wanted) {
  copy_member(make_member(pod, {"metadata"}), member(wanted, {"metadata"}), "resourceVersion");
}

// A change of the spec is a new generation.
void count_change(json& pod, const json& before) {
  if (pod["spec"] != member(before, {"spec"}))
    pod["metadata"]["generation"] = number(before, {"metadata", "generation"}) + 1;
}

const json* find_named(const json& list, const std::string& name) {
  if (!list.is_array()) return nullptr;
  for (const json& one : list) {
    if (text(one, {"name"}) == name) return &one;
  }
  return nullptr;
}

Result<json> finished(const schema::ResourceInfo& pods, json pod, const json& before, Causes causes) {
  if (!causes.empty()) {
    validation::arrange(*pods.type, causes);
    return invalid(pods, text(before, {"metadata", "name"}), std::move(causes));
  }
  count_change(pod, before);
  return pod;
}

bool is_static(const json& pod) {
  return !member(pod, {"metadata", "annotations", "kubernetes.io/config.mirror"}).is_null();
}

// Of a container's requests and limits, only processor time and memory change while it runs, and none of them goes.
void check_container_resize(const Field& resources, const json& old, const Field& spec) {
  for (const char* list : {"requests", "limits"}) {
    const json& before = member(old, {"resources", list});
    const Field now = resources[list];
    if (before.is_object()) {
      for (const auto& [name, amount] : before.items()) {
        if (name != "cpu" && name != "memory") continue;
        if (!now.key(name).set()) spec.forbidden("resource " + std::string(list) + " cannot be removed");
      }
    }
    const auto others = [](json map) {
      if (!map.is_object()) return json::object();
      map.erase("cpu");
      map.erase("memory");
      return map;
    };
    if (others(now.value()) != others(before)) spec.forbidden("only cpu and memory resources are mutable");
  }
}

}  // namespace

Result<json> add_ephemeral_containers(const schema::ResourceInfo& pods, const json& pod, const json& wanted) {
  json out = pod;
  carry_version(out, wanted);
  copy_member(make_member(out, {"spec"}), member(wanted, {"spec"}), "ephemeralContainers");
  Causes causes;
  const Field whole(out, "", causes);
  const Field list = whole["spec"]["ephemeralContainers"];
  const json& before = member(pod, {"spec", "ephemeralContainers"});
  if (is_static(pod)) list.forbidden("static pods do not support ephemeral containers");
  if (before.is_array()) {
    for (const json& one : before) {
      const std::string name = text(one, {"name"});
      const json* now = find_named(list.value(), name);
      if (now == nullptr) {
        list.forbidden("existing ephemeral containers " + quote(name) + " may not be removed\n");
      } else if (*now != one) {
        list.forbidden("existing ephemeral containers " + quote(name) + " may not be changed\n");
      }
    }
  }
  schema::validate(*pods.type, out, causes);
  validation::check_ephemeral_containers(whole["spec"]);
  return finished(pods, std::move(out), pod, std::move(causes));
}

Result<json> resize_pod(const schema::ResourceInfo& pods, const json& pod, const json& wanted) {
  json out = pod;
  carry_version(out, wanted);
  Causes causes;
  for (const char* list : {"containers", "initContainers"}) {
    const json& theirs = member(wanted, {"spec", list});
    if (!out["spec"].contains(list)) continue;
    for (json& container : out["spec"][list]) {
      const json* now = find_named(theirs, text(container, {"name"}));
      if (now == nullptr) continue;
      copy_member(container, *now, "resources");
      copy_member(container, *now, "resizePolicy");
    }
  }
  const Field whole(out, "", causes);
  const Field spec = whole["spec"];
  if (is_static(pod)) spec.forbidden("static pods do not support in-place pod resize");
  for (const char* list : {"containers", "initContainers"}) {
    spec[list].each([&](const Field& container, std::size_t i) {
      const json& old = member(pod, {"spec", list})[i];
      if (container.value() == old) return;
      if (list == std::string_view("initContainers") && container["restartPolicy"].text() != "Always") {
        spec.forbidden("only cpu and memory resources for sidecar containers are mutable");
      }
      validation::check_resource_requirements(container["resources"], true);
      check_container_resize(container["resources"], old, spec);
    });
  }
  if (qos_class(out) != qos_class(pod)) {
    spec.invalid_as(quote(text(pod, {"status", "qosClass"})), "Pod QOS Class may not change as a result of resizing");
  }
  return finished(pods, std::move(out), pod, std::move(causes));
}

}  // namespace kubernel::apiserver
