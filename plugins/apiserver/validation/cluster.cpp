// SPDX-License-Identifier: Apache-2.0
//
// The cluster's own objects: nodes, volumes and claims, storage classes, roles and their bindings.
#include <algorithm>
#include <array>
#include <set>

#include <kubernel/crypto/pki.h>

#include "validation/object_rules.h"
#include "validation/pod_rules.h"

namespace kubernel::apiserver::validation {

namespace {

void check_taints(const Field& taints) {
  std::set<std::string> seen;
  taints.each([&](const Field& taint, std::size_t) {
    if (!taint["key"].zero()) check_label_name(taint["key"]);
    if (const auto problems = check_label_value(taint["value"].text()); !problems.empty())
      taint["value"].invalid(join(problems, ";"));
    if (!seen.insert(taint["key"].text() + ":" + taint["effect"].text()).second) {
      taint.duplicate();
    }
  });
}

void check_rules(const Field& rules, bool namespaced) {
  rules.each([&](const Field& rule, std::size_t) {
    if (rule["verbs"].zero()) rule["verbs"].required("verbs must contain at least one value");
    if (!rule["nonResourceURLs"].zero()) {
      if (namespaced) rule["nonResourceURLs"].invalid("namespaced rules cannot apply to non-resource URLs");
      if (!rule["apiGroups"].zero() || !rule["resources"].zero() || !rule["resourceNames"].zero()) {
        rule["nonResourceURLs"].invalid("rules cannot apply to both regular resources and non-resource URLs");
      }
      return;
    }
    if (rule["apiGroups"].zero()) rule["apiGroups"].required("resource rules must supply at least one api group");
    if (rule["resources"].zero()) rule["resources"].required("resource rules must supply at least one resource");
  });
}

void check_subject(const Field& subject, bool namespaced) {
  const std::string kind = subject["kind"].text();
  const Field group = subject["apiGroup"];
  if (subject["name"].zero()) subject["name"].required();
  if (kind == "ServiceAccount") {
    check_name_rule(subject["name"], NameRule::Subdomain);
    if (!group.zero()) group.not_supported({""});
    if (!namespaced && subject["namespace"].zero()) subject["namespace"].required();
  } else if (kind == "User" || kind == "Group") {
    if (group.text() != "rbac.authorization.k8s.io") group.not_supported({"rbac.authorization.k8s.io"});
  } else {
    subject["kind"].not_supported({"ServiceAccount", "User", "Group"});
  }
}

void check_binding(const Field& binding, bool namespaced) {
  const Field role = binding["roleRef"];
  if (role["apiGroup"].text() != "rbac.authorization.k8s.io")
    role["apiGroup"].not_supported({"rbac.authorization.k8s.io"});
  const std::string kind = role["kind"].text();
  if (kind != "ClusterRole" && !(namespaced && kind == "Role")) {
    role["kind"].not_supported(namespaced ? std::vector<std::string>{"Role", "ClusterRole"}
                                          : std::vector<std::string>{"ClusterRole"});
  }
  if (role["name"].zero()) {
    role["name"].required();
  } else {
    role["name"].invalid(check_name(NameRule::PathSegment, role["name"].text(), false));
  }
  binding["subjects"].each([&](const Field& subject, std::size_t) { check_subject(subject, namespaced); });
}

// What a persistent volume may be made of.
constexpr std::array kVolumeSources = {"hostPath",
                                       "gcePersistentDisk",
                                       "awsElasticBlockStore",
                                       "glusterfs",
                                       "flocker",
                                       "nfs",
                                       "rbd",
                                       "quobyte",
                                       "cephfs",
                                       "iscsi",
                                       "cinder",
                                       "fc",
                                       "flexVolume",
                                       "azureFile",
                                       "vsphereVolume",
                                       "photonPersistentDisk",
                                       "portworxVolume",
                                       "azureDisk",
                                       "scaleIO",
                                       "local",
                                       "storageos",
                                       "csi"};

}  // namespace

void check_node(const Field& node) {
  check_taints(node["spec"]["taints"]);
  node["spec"]["podCIDRs"].each([](const Field& range, std::size_t) { check_cidr(range); });
}

void check_node_update(const Field& node, const json& old) {
  const Field spec = node["spec"];
  if (const std::string was = text(old, {"spec", "providerID"}); !was.empty() && spec["providerID"].text() != was) {
    spec["providerID"].forbidden("node updates may not change providerID except from \"\" to valid");
  }
  if (!text(old, {"spec", "podCIDR"}).empty() && spec["podCIDR"].value() != member(old, {"spec", "podCIDR"})) {
    spec["podCIDRs"].forbidden("node updates may not change podCIDR except from \"\" to valid");
  }
}

void check_claim_spec(const Field& spec) {
  if (spec["accessModes"].zero()) spec["accessModes"].required("at least 1 access mode is required");
  check_selector(spec["selector"]);
  const Field storage = spec["resources"]["requests"].key("storage");
  if (!storage.set()) {
    storage.required();
  } else if (storage.quantity().sign() <= 0) {
    storage.invalid_as(quote(storage.quantity().to_string()), "must be greater than zero");
  }
  check_name_rule(spec["storageClassName"], NameRule::Subdomain);
  const json& modes = spec["accessModes"].value();
  if (modes.is_array() && modes.size() > 1 &&
      std::find(modes.begin(), modes.end(), "ReadWriteOncePod") != modes.end()) {
    spec["accessModes"].forbidden("may not use ReadWriteOncePod with other access modes");
  }
}

void check_claim(const Field& claim) {
  check_claim_spec(claim["spec"]);
}

void check_claim_update(const Field& claim, const json& old) {
  json now = claim["spec"].value();
  const json& before = member(old, {"spec"});
  const api::Quantity was = Field(member(before, {"resources", "requests", "storage"}), "", claim.causes()).quantity();
  const Field storage = claim["spec"]["resources"]["requests"].key("storage");
  const bool bound = !text(before, {"volumeName"}).empty();
  if (!bound) copy_member(now, before, "volumeName");
  if (text(before, {"storageClassName"}).empty()) copy_member(now, before, "storageClassName");
  copy_member(now, before, "volumeAttributesClassName");
  if (bound) copy_member(now, before, "resources");
  if (now != before) {
    claim["spec"].forbidden(
        "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims");
  } else if (storage.quantity() < was &&
             storage.quantity() <
                 Field(member(old, {"status", "capacity", "storage"}), "", claim.causes()).quantity()) {
    storage.forbidden("field can not be less than status.capacity");
  }
}

void check_volume(const Field& volume) {
  const Field spec = volume["spec"];
  if (spec["accessModes"].zero()) spec["accessModes"].required();
  const Field capacity = spec["capacity"];
  if (capacity.zero()) {
    capacity.required();
  } else if (!capacity.key("storage").set() || capacity.size() > 1) {
    capacity.not_supported({"storage"});
  }
  capacity.each_member([](const std::string&, const Field& amount) {
    if (amount.quantity().sign() <= 0)
      amount.invalid_as(quote(amount.quantity().to_string()), "must be greater than zero");
  });
  int sources = 0;
  for (const char* name : kVolumeSources) {
    if (spec[name].set() && sources++ > 0) spec[name].forbidden("may not specify more than 1 volume type");
  }
  if (sources == 0) spec.required("must specify a volume type");
  check_no_backsteps(spec["hostPath"]["path"]);
  if (spec["hostPath"]["path"].text() == "/" && spec["persistentVolumeReclaimPolicy"].text() == "Recycle") {
    spec["persistentVolumeReclaimPolicy"].forbidden("may not be 'recycle' for a hostPath mount of '/'");
  }
  const Field affinity = spec["nodeAffinity"];
  if (spec["local"].set() && !affinity.set()) affinity.required("Local volume requires node affinity");
  if (affinity.set()) {
    if (affinity["required"].set()) {
      check_node_selector(affinity["required"]);
    } else {
      affinity["required"].required("must specify required node constraints");
    }
  }
  check_name_rule(spec["storageClassName"], NameRule::Subdomain);
}

void check_volume_update(const Field& volume, const json& old) {
  for (const char* name : kVolumeSources) {
    if (volume["spec"][name].value() == member(old, {"spec", name})) continue;
    volume["spec"]
        .as_path("spec.persistentvolumesource")
        .forbidden("spec.persistentvolumesource is immutable after creation");
    return;
  }
  check_unchanged(volume["spec"]["volumeMode"], member(old, {"spec", "volumeMode"}));
}

void check_storage_class(const Field& storage) {
  if (!storage["provisioner"].zero()) {
    for (const std::string& why : check_label_key(storage["provisioner"].text())) storage["provisioner"].invalid(why);
  }
  storage["parameters"].each_member([&](const std::string& key, const Field&) {
    if (key.empty()) storage["parameters"].invalid_as("\"\"", "field can not be empty.");
  });
}

void check_storage_class_update(const Field& storage, const json& old) {
  if (storage["parameters"].value() != member(old, {"parameters"})) {
    storage["parameters"].forbidden("updates to parameters are forbidden.");
  }
  if (storage["provisioner"].value() != member(old, {"provisioner"})) {
    storage["provisioner"].forbidden("updates to provisioner are forbidden.");
  }
  if (storage["reclaimPolicy"].value() != member(old, {"reclaimPolicy"})) {
    storage["reclaimPolicy"].forbidden("updates to reclaimPolicy are forbidden.");
  }
  check_unchanged(storage["volumeBindingMode"], member(old, {"volumeBindingMode"}));
}

void check_role(const Field& role) {
  check_rules(role["rules"], true);
}

void check_cluster_role(const Field& role) {
  check_rules(role["rules"], false);
  role["aggregationRule"]["clusterRoleSelectors"].each(
      [](const Field& selector, std::size_t) { check_selector(selector); });
  if (role["aggregationRule"].set() && role["aggregationRule"]["clusterRoleSelectors"].zero()) {
    role["aggregationRule"]["clusterRoleSelectors"].required(
        "at least one clusterRoleSelector required if aggregationRule is non-nil");
  }
}

void check_role_binding(const Field& binding) {
  check_binding(binding, true);
}
void check_cluster_role_binding(const Field& binding) {
  check_binding(binding, false);
}

void check_role_binding_update(const Field& binding, const json& old) {
  if (binding["roleRef"].value() != member(old, {"roleRef"})) binding["roleRef"].invalid("cannot change roleRef");
}

void check_runtime_class(const Field& runtime) {
  const Field handler = runtime["handler"];
  handler.with(json(handler.text())).invalid(check_name(NameRule::Label, handler.text(), false));
  check_resource_list(runtime["overhead"]["podFixed"], true);
  check_labels(runtime["scheduling"]["nodeSelector"]);
  check_tolerations(runtime["scheduling"]["tolerations"]);
}

void check_runtime_class_update(const Field& runtime, const json& old) {
  check_unchanged(runtime["handler"], member(old, {"handler"}));
}

namespace {

void check_signer(const Field& signer) {
  const std::string text = signer.text();
  if (text.empty()) return signer.required();
  const std::size_t slash = text.find('/');
  if (slash == std::string::npos || slash + 1 == text.size() || text.find('/', slash + 1) != std::string::npos) {
    return signer.invalid("must be a fully qualified domain and path of the form 'example.com/signer-name'");
  }
  const std::string domain = text.substr(0, slash);
  if (domain.find('.') == std::string::npos) {
    return signer.invalid_as(quote(domain), "should be a domain with at least two segments separated by dots");
  }
  for (const std::string& why : check_name(NameRule::Subdomain, domain, false)) signer.invalid_as(quote(domain), why);
  for (const std::string& why : check_name(NameRule::Subdomain, text.substr(slash + 1), false)) {
    signer.invalid_as(quote(text.substr(slash + 1)), why);
  }
}

}  // namespace

void check_signing_request(const Field& request) {
  const Field spec = request["spec"];
  const auto bytes = crypto::base64_decode(spec["request"].text());
  if (!bytes || bytes->find("-----BEGIN CERTIFICATE REQUEST-----") == std::string::npos) {
    spec["request"].invalid("PEM block type must be CERTIFICATE REQUEST");
  }
  if (spec["usages"].zero()) spec["usages"].required();
  const Field seconds = spec["expirationSeconds"];
  if (seconds.set() && seconds.number() < 600)
    seconds.invalid("may not specify a duration less than 600 seconds (10 minutes)");
  check_signer(spec["signerName"]);
}

}  // namespace kubernel::apiserver::validation
