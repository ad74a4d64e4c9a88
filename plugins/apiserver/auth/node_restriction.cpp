// SPDX-License-Identifier: Apache-2.0
#include "auth/node_restriction.h"

#include <string>
#include <utility>

#include "auth/node_authorizer.h"
#include "registry/errors.h"
#include "registry/json_util.h"

namespace kubernel::apiserver {

namespace {

using admission::Operation;

constexpr const char* kMirror = "kubernetes.io/config.mirror";

class NodeRestriction final : public admission::Admission {
 public:
  explicit NodeRestriction(const Api& api) : api_(api) {}

  bool handles(Operation, const api::Resource& resource, std::string_view) const override {
    if (resource.group.empty()) return resource.plural == "pods" || resource.plural == "nodes";
    return resource.plural == "leases" || resource.plural == "csinodes";
  }
  Result<void> mutate(const CallContext&, admission::Request&) override { return {}; }

  Result<void> validate(const CallContext&, const admission::Request& request) override {
    const std::string node(node_name(request.user));
    if (node.empty()) return {};
    std::string why;
    if (request.resource.plural == "pods") why = check_pod(request, node);
    if (request.resource.plural == "nodes") why = check_node(request, node);
    if (request.resource.plural == "leases") why = check_lease(request, node);
    if (request.resource.plural == "csinodes" && request.key.name != node) {
      why = "can only access CSINode with the same name as the requesting node";
    }
    if (why.empty()) return {};
    return forbidden(*api_.find(request.resource.group, request.resource.version, request.resource.plural),
                     request.key.name, why);
  }

 private:
  static std::string check_pod(const admission::Request& request, const std::string& node) {
    const std::string who = "node " + quote(node);
    if (request.operation == Operation::Create) {
      return request.subresource.empty() ? check_new_pod(*request.object, who, node) : std::string();
    }
    if (request.old_object == nullptr) return {};
    const bool mine = (*request.old_object)["spec"]["nodeName"].string() == node;
    if (request.operation == Operation::Delete) {
      return mine ? "" : who + " can only delete pods with spec.nodeName set to itself";
    }
    if (request.subresource != "status") return who + " can only update the status of pods";
    if (!mine) return who + " can only update pod status for pods with spec.nodeName set to itself";
    const api::Value before = request.old_object->labels();
    const json& after = member(*request.object, {"metadata", "labels"});
    if ((before.empty() ? json::object() : before.to_json()) != (after.empty() ? json::object() : after)) {
      return who + " cannot update labels through pod status";
    }
    return {};
  }

  static std::string check_new_pod(const json& pod, const std::string& who, const std::string& node) {
    if (member(pod, {"metadata", "annotations", kMirror}).is_null()) {
      return "pod does not have " + quote(kMirror) + " annotation, " + who + " can only create mirror pods";
    }
    if (text(pod, {"spec", "nodeName"}) != node) return who + " can only create pods with spec.nodeName set to itself";
    if (!text(pod, {"spec", "serviceAccountName"}).empty())
      return who + " can not create pods that reference a service account";
    for (const json& volume : member(pod, {"spec", "volumes"})) {
      for (const auto& [source, what] : {std::pair{"secret", "secrets"}, std::pair{"configMap", "configmaps"},
                                         std::pair{"persistentVolumeClaim", "persistentvolumeclaims"}}) {
        if (volume.contains(source)) return who + " can not create pods that reference " + what;
      }
    }
    return {};
  }

  static std::string check_node(const admission::Request& request, const std::string& node) {
    const std::string who = "node " + quote(node);
    if (request.key.name != node) return who + " is not allowed to modify node " + quote(request.key.name);
    if (request.object == nullptr) return {};
    const api::Value old_labels = request.old_object == nullptr ? api::Value() : request.old_object->labels();
    for (const auto& [key, value] : member(*request.object, {"metadata", "labels"}).items()) {
      const bool same =
          old_labels[key].is_string() && value.is_string() && old_labels[key].string() == value.get<std::string>();
      const bool restricted = key.find("node-restriction.kubernetes.io/") != std::string::npos;
      if (restricted && !same) return who + " is not allowed to set the following labels: " + key;
    }
    if (request.operation != Operation::Update || request.old_object == nullptr) return {};
    const api::Value before = (*request.old_object)["spec"]["taints"];
    const json& after = member(*request.object, {"spec", "taints"});
    if ((before.empty() ? json::array() : before.to_json()) != (after.empty() ? json::array() : after)) {
      return who + " is not allowed to modify taints";
    }
    return {};
  }

  static std::string check_lease(const admission::Request& request, const std::string& node) {
    if (request.key.ns != "kube-node-lease")
      return "can only access leases in the \"kube-node-lease\" system namespace";
    if (request.key.name != node) return "can only access node lease with the same name as the requesting node";
    return {};
  }

  const Api& api_;
};

}  // namespace

std::unique_ptr<admission::Admission> make_node_restriction(const Api& api) {
  return std::make_unique<NodeRestriction>(api);
}

}  // namespace kubernel::apiserver
