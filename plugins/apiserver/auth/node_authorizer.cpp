// SPDX-License-Identifier: Apache-2.0
#include "auth/node_authorizer.h"

#include <algorithm>
#include <utility>

#include "auth/bootstrap_policy.h"

namespace kubernel::apiserver {

namespace {

constexpr std::size_t kBatch = 512;
constexpr std::string_view kPrefix = "system:node:";

auth::Decision yes() {
  return {true, false, ""};
}
auth::Decision no(std::string why) {
  return {false, false, std::move(why)};
}

bool one_of(std::string_view word, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

std::string in_quotes(std::string_view text) {
  return "'" + std::string(text) + "'";
}

// A list or watch of one name asks about that name.
std::string asked_name(const auth::Attributes& a) {
  return a.name.empty() ? a.field_selector.exact("metadata.name").value_or("") : a.name;
}

std::string label(std::string_view plural, std::string_view ns, std::string_view name) {
  return std::string(plural) + "/" + std::string(ns) + "/" + std::string(name);
}

class Refs {
 public:
  explicit Refs(std::string ns) : ns_(std::move(ns)) {}
  void add(std::string_view plural, api::Value name) { add(plural, name.string()); }
  void add(std::string_view plural, std::string_view name) {
    if (!name.empty()) found_.insert(label(plural, ns_, name));
  }
  std::vector<std::string> take() { return {found_.begin(), found_.end()}; }

 private:
  std::string ns_;
  std::set<std::string> found_;
};

void add_container(Refs& out, api::Value container) {
  for (const api::Value source : container["envFrom"]) {
    out.add("secrets", source["secretRef"]["name"]);
    out.add("configmaps", source["configMapRef"]["name"]);
  }
  for (const api::Value variable : container["env"]) {
    out.add("secrets", variable["valueFrom"]["secretKeyRef"]["name"]);
    out.add("configmaps", variable["valueFrom"]["configMapKeyRef"]["name"]);
  }
}

void add_volume(Refs& out, api::Value volume, const std::string& pod) {
  out.add("secrets", volume["secret"]["secretName"]);
  out.add("configmaps", volume["configMap"]["name"]);
  out.add("persistentvolumeclaims", volume["persistentVolumeClaim"]["claimName"]);
  if (volume["ephemeral"]) out.add("persistentvolumeclaims", pod + "-" + std::string(volume["name"].string()));
  for (const api::Value source : volume["projected"]["sources"]) {
    out.add("secrets", source["secret"]["name"]);
    out.add("configmaps", source["configMap"]["name"]);
  }
  out.add("secrets", volume["azureFile"]["secretName"]);
  for (const char* driver : {"cephfs", "cinder", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos"}) {
    out.add("secrets", volume[driver]["secretRef"]["name"]);
  }
  out.add("secrets", volume["csi"]["nodePublishSecretRef"]["name"]);
}

std::vector<std::string> references(const api::Object& pod) {
  Refs out(pod.ns());
  const api::Value spec = pod["spec"];
  out.add("pods", pod.name());
  out.add("serviceaccounts", spec["serviceAccountName"]);
  for (const api::Value secret : spec["imagePullSecrets"]) out.add("secrets", secret["name"]);
  for (const char* list : {"initContainers", "containers", "ephemeralContainers"}) {
    for (const api::Value container : spec[list]) add_container(out, container);
  }
  for (const api::Value volume : spec["volumes"]) add_volume(out, volume, pod.name());
  for (const api::Value claim : spec["resourceClaims"]) out.add("resourceclaims", claim["resourceClaimName"]);
  for (const api::Value claim : pod["status"]["resourceClaimStatuses"])
    out.add("resourceclaims", claim["resourceClaimName"]);
  return out.take();
}

PolicyRules node_rules() {
  for (const PolicyObject& object : bootstrap_policy()) {
    if (object.resource == api::resources::kClusterRoles && object.document["metadata"]["name"] == "system:node") {
      return read_rules(object.document["rules"]);
    }
  }
  return {};
}

auth::Decision decide_node(std::string_view node, const auth::Attributes& a) {
  // Which node is written is NodeRestriction's to check; here only the verb is known.
  if (a.subresource == "status") {
    return one_of(a.verb, {"update", "patch"}) ? yes() : no("can only update and patch the status of nodes");
  }
  if (!a.subresource.empty()) return no("unsupported node subresource " + in_quotes(a.subresource));
  if (one_of(a.verb, {"create", "update", "patch"})) return yes();
  if (!one_of(a.verb, {"get", "list", "watch"})) return no("unsupported node verb " + in_quotes(a.verb));
  const std::string name = asked_name(a);
  if (name == node) return yes();
  if (name.empty()) return no("node " + in_quotes(node) + " cannot read all nodes, only its own Node object");
  return no("node " + in_quotes(node) + " cannot read " + in_quotes(name) + ", only its own Node object");
}

auth::Decision decide_lease(std::string_view node, const auth::Attributes& a) {
  if (!one_of(a.verb, {"get", "create", "update", "patch", "delete"}))
    return no("can only get, create, update, patch, or delete a node lease");
  if (a.ns != "kube-node-lease") return no("can only access leases in the \"kube-node-lease\" system namespace");
  // The name of a new lease is not known before its body is read; NodeRestriction checks it.
  if (a.verb != "create" && a.name != node)
    return no("can only access node lease with the same name as the requesting node");
  return yes();
}

auth::Decision decide_csi_node(std::string_view node, const auth::Attributes& a) {
  if (!one_of(a.verb, {"get", "create", "update", "patch", "delete"}))
    return no("can only get, create, update, patch, or delete a CSINode");
  if (!a.subresource.empty()) return no("cannot authorize CSINode subresources");
  if (a.verb != "create" && a.name != node)
    return no("can only access CSINode with the same name as the requesting node");
  return yes();
}

}  // namespace

std::string_view node_name(const auth::User& user) {
  const auto& groups = user.groups;
  if (!user.name.starts_with(kPrefix) || std::find(groups.begin(), groups.end(), "system:nodes") == groups.end())
    return {};
  return std::string_view(user.name).substr(kPrefix.size());
}

NodeAuthorizer::NodeAuthorizer(Api& api)
    : api_(api), pods_(*api.store(*api.find("", "v1", "pods"))), rules_(node_rules()) {}

NodeAuthorizer::~NodeAuthorizer() = default;

Result<auth::Decision> NodeAuthorizer::authorize(const CallContext& ctx, const auth::Attributes& a) {
  const std::string_view node = node_name(a.user);
  if (node.empty()) return auth::Decision{};
  if (!a.is_resource_request) return allowed_by_role(a) ? yes() : auth::Decision{};
  if (a.group.empty()) {
    if (one_of(a.resource, {"secrets", "configmaps"})) {
      if (!one_of(a.verb, {"get", "list", "watch"})) return no("can only read resources of this type");
      if (!a.subresource.empty()) return no("cannot read subresource");
      if (a.ns.empty()) return no("can only read namespaced object of this type");
      return referenced(node, a);
    }
    if (a.resource == "persistentvolumeclaims") {
      const bool status = a.subresource == "status" && one_of(a.verb, {"get", "update", "patch"});
      if (!status && !(a.subresource.empty() && a.verb == "get"))
        return no("can only get individual resources of this type");
      return referenced(node, a);
    }
    if (a.resource == "persistentvolumes") return decide_volume(ctx, node, a);
    if (a.resource == "serviceaccounts" && a.subresource == "token") {
      if (a.verb != "create") return no("can only create tokens for individual service accounts");
      return referenced(node, a);
    }
    if (a.resource == "nodes") return decide_node(node, a);
    if (a.resource == "pods") return decide_pod(node, a);
  }
  if (a.group == "resource.k8s.io" && a.resource == "resourceclaims") {
    if (a.verb != "get" || !a.subresource.empty()) return no("can only get individual resources of this type");
    return referenced(node, a);
  }
  if (a.group == "resource.k8s.io" && a.resource == "resourceslices") return decide_slice(ctx, node, a);
  if (a.group == "storage.k8s.io" && a.resource == "volumeattachments") return decide_attachment(ctx, node, a);
  if (a.group == "storage.k8s.io" && a.resource == "csinodes") return decide_csi_node(node, a);
  if (a.group == "coordination.k8s.io" && a.resource == "leases") return decide_lease(node, a);
  return allowed_by_role(a) ? yes() : auth::Decision{};
}

bool NodeAuthorizer::allowed_by_role(const auth::Attributes& a) const {
  return std::any_of(rules_.begin(), rules_.end(), [&](const PolicyRule& rule) { return allows(rule, a); });
}

auth::Decision NodeAuthorizer::referenced(std::string_view node, const auth::Attributes& a) {
  const std::string name = asked_name(a);
  if (name.empty()) return no("No Object name found");
  const std::string what = label(a.resource, a.ns, name);
  if (refers(node, what) || (a.resource == "secrets" && refers_through_volume(node, what))) return yes();
  return no("no relationship found between node " + in_quotes(node) + " and this object");
}

auth::Decision NodeAuthorizer::decide_pod(std::string_view node, const auth::Attributes& a) {
  if (a.subresource == "status")
    return one_of(a.verb, {"update", "patch"}) ? yes() : no("can only update and patch the status of pods");
  if (a.subresource == "eviction") return a.verb == "create" ? yes() : no("can only create evictions");
  if (!a.subresource.empty()) return no("unsupported pod subresource " + in_quotes(a.subresource));
  // Only mirror pods; NodeRestriction sees to it.
  if (one_of(a.verb, {"create", "delete"})) return yes();
  if (a.verb == "get") return referenced(node, a);
  if (!one_of(a.verb, {"list", "watch"})) return no("unsupported pod verb " + in_quotes(a.verb));
  if (a.field_selector.exact("spec.nodeName") == std::optional<std::string>(node)) return yes();
  if (!a.ns.empty() && !asked_name(a).empty()) return referenced(node, a);
  return no("can only list/watch pods with spec.nodeName field selector");
}

auth::Decision NodeAuthorizer::decide_slice(const CallContext& ctx, std::string_view node,
                                            const auth::Attributes& a) const {
  if (!a.subresource.empty()) return no("cannot authorize ResourceSlice subresources");
  if (a.verb == "create") return yes();
  if (one_of(a.verb, {"get", "update", "patch", "delete"})) {
    const auto slice = read(ctx, a.group, "resourceslices", {"", a.name});
    if (slice && (*slice)["spec"]["nodeName"].string() == node) return yes();
    return no("no relationship found between node " + in_quotes(node) + " and this object");
  }
  if (a.field_selector.exact("spec.nodeName") == std::optional<std::string>(node)) return yes();
  return no("can only list/watch/deletecollection resourceslices with nodeName field selector");
}

auth::Decision NodeAuthorizer::decide_volume(const CallContext& ctx, std::string_view node, const auth::Attributes& a) {
  if (a.verb != "get" || !a.subresource.empty()) return no("can only get individual resources of this type");
  if (a.name.empty()) return no("No Object name found");
  const auto volume = read(ctx, "", "persistentvolumes", {"", a.name});
  if (volume) {
    const api::Value claim = (*volume)["spec"]["claimRef"];
    if (refers(node, label("persistentvolumeclaims", claim["namespace"].string(), claim["name"].string())))
      return yes();
  }
  return no("no relationship found between node " + in_quotes(node) + " and this object");
}

auth::Decision NodeAuthorizer::decide_attachment(const CallContext& ctx, std::string_view node,
                                                 const auth::Attributes& a) const {
  if (a.verb != "get" || !a.subresource.empty()) return no("can only get individual resources of this type");
  const auto attachment = read(ctx, a.group, "volumeattachments", {"", a.name});
  if (attachment && (*attachment)["spec"]["nodeName"].string() == node) return yes();
  return no("no relationship found between node " + in_quotes(node) + " and this object");
}

Result<api::Object> NodeAuthorizer::read(const CallContext& ctx, std::string_view group, std::string_view plural,
                                         const api::ObjectKey& key) const {
  const schema::ResourceInfo* info = api_.find(group, "v1", plural);
  const Store* store = info == nullptr ? nullptr : api_.store(*info);
  if (store == nullptr) return Error(Reason::NotFound, std::string(plural) + " are not served");
  auto cached = store->get(ctx, key, "0");
  if (cached || cached.error().reason() != Reason::NotFound) return cached;
  return store->get(ctx, key, "");  // It may be newer than the cache.
}

bool NodeAuthorizer::refers(std::string_view node, const std::string& what) {
  const auto known = [&] {
    refresh();
    const std::shared_lock lock(mutex_);
    const auto found = by_object_.find(what);
    return found != by_object_.end() && found->second.contains(node);
  };
  if (known()) return true;
  // A pod may have been bound a moment ago.
  api_.caches().pump();
  return dirty_.load(std::memory_order_acquire) && known();
}

// Secrets that a volume's driver needs, of volumes that claims of the node's pods are bound to.
bool NodeAuthorizer::refers_through_volume(std::string_view node, const std::string& secret) {
  const schema::ResourceInfo* info = api_.find("", "v1", "persistentvolumes");
  for (const api::Object& volume : api_.store(*info)->cache().list({}, 0).items) {
    const api::Value spec = volume["spec"];
    const api::Value claim = spec["claimRef"];
    bool wanted = false;
    const auto check = [&](api::Value ref, std::string_view fallback) {
      wanted = wanted || (ref && label("secrets", ref["namespace"].string(fallback), ref["name"].string()) == secret);
    };
    const std::string_view ns = claim["namespace"].string();
    for (const char* ref : {"nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef",
                            "controllerPublishSecretRef", "controllerExpandSecretRef"}) {
      check(spec["csi"][ref], "");
    }
    for (const char* driver : {"cephfs", "cinder", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos"})
      check(spec[driver]["secretRef"], ns);
    const api::Value azure = spec["azureFile"];
    wanted = wanted ||
             (azure && label("secrets", azure["secretNamespace"].string(ns), azure["secretName"].string()) == secret);
    if (wanted && refers(node, label("persistentvolumeclaims", ns, claim["name"].string()))) return true;
  }
  return false;
}

void NodeAuthorizer::refresh() {
  if (!dirty_.load(std::memory_order_acquire) && loaded_.load(std::memory_order_acquire)) return;
  const std::lock_guard turn(refresh_mutex_);
  if (!dirty_.exchange(false)) return;
  drain();
  loaded_.store(true, std::memory_order_release);
}

void NodeAuthorizer::drain() {
  while (true) {
    if (watcher_ == nullptr) {
      {
        const std::unique_lock lock(mutex_);
        by_pod_.clear();
        by_object_.clear();
      }
      auto watcher = pods_.cache().watch({});
      if (!watcher) {
        dirty_.store(
            true, std::memory_order_release);  // The state ran ahead while it was read: the next request tries again.
        return;
      }
      watcher_ = *std::move(watcher);
    }
    auto events = watcher_->take(kBatch);
    if (!events) {
      watcher_.reset();
      continue;
    }
    if (events->empty()) break;
    const std::unique_lock lock(mutex_);
    for (const client::WatchEvent& event : *events) apply(event.object, event.type == client::EventType::Deleted);
  }
  watcher_->notify([this] { dirty_.store(true, std::memory_order_release); });
}

void NodeAuthorizer::apply(const api::Object& pod, bool gone) {
  const std::string key = api::to_string(pod.key());
  PodRefs now;
  if (!gone) {
    now.node = pod["spec"]["nodeName"].string();
    if (!now.node.empty()) now.refs = references(pod);
  }
  const auto old = by_pod_.find(key);
  if (old != by_pod_.end()) {
    if (old->second.node == now.node && old->second.refs == now.refs) return;
    for (const std::string& ref : old->second.refs) {
      Counts& counts = by_object_[ref];
      const auto count = counts.find(old->second.node);
      if (--count->second == 0) counts.erase(count);
      if (counts.empty()) by_object_.erase(ref);
    }
    by_pod_.erase(old);
  }
  if (now.node.empty()) return;
  for (const std::string& ref : now.refs) ++by_object_[ref][now.node];
  by_pod_.emplace(key, std::move(now));
}

}  // namespace kubernel::apiserver
