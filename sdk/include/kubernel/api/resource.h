// SPDX-License-Identifier: Apache-2.0
//
// How the API names things: group, version, kind, resource, and one object's key.

#pragma once

#include <compare>
#include <string>
#include <string_view>

#include <kubernel/base/export.h>

namespace kubernel::api {

/// Names one object of a known resource. Namespace is empty for cluster-scoped resources.
struct ObjectKey {
  std::string ns;
  std::string name;

  friend bool operator==(const ObjectKey&, const ObjectKey&) = default;
  friend auto operator<=>(const ObjectKey&, const ObjectKey&) = default;
};

/// "namespace/name", or just "name" when the namespace is empty.
KUBERNEL_EXPORT std::string to_string(const ObjectKey& key);
/// The inverse of to_string().
KUBERNEL_EXPORT ObjectKey parse_object_key(std::string_view text);

/// A served collection: {"apps", "v1", "deployments"}. The core group is "".
struct Resource {
  std::string group;
  std::string version;
  std::string plural;

  friend bool operator==(const Resource&, const Resource&) = default;
  friend auto operator<=>(const Resource&, const Resource&) = default;
};

/// "deployments.apps", or "pods" for the core group: upstream's GroupResource text, used in messages.
KUBERNEL_EXPORT std::string to_string(const Resource& resource);

struct GroupVersionKind {
  std::string group;
  std::string version;
  std::string kind;

  /// "apps/v1" or "v1".
  std::string api_version() const { return group.empty() ? version : group + "/" + version; }
  friend bool operator==(const GroupVersionKind&, const GroupVersionKind&) = default;
  friend auto operator<=>(const GroupVersionKind&, const GroupVersionKind&) = default;
};

/// Splits "apps/v1" (group "apps", version "v1") or "v1" (group "").
KUBERNEL_EXPORT GroupVersionKind make_gvk(std::string_view api_version, std::string_view kind);

namespace resources {
// The resources that code of ours names. Any other is reached through schema::find_resource().
inline const Resource kPods{"", "v1", "pods"};
inline const Resource kNodes{"", "v1", "nodes"};
inline const Resource kNamespaces{"", "v1", "namespaces"};
inline const Resource kServices{"", "v1", "services"};
inline const Resource kEndpoints{"", "v1", "endpoints"};
inline const Resource kEvents{"", "v1", "events"};
inline const Resource kSecrets{"", "v1", "secrets"};
inline const Resource kConfigMaps{"", "v1", "configmaps"};
inline const Resource kServiceAccounts{"", "v1", "serviceaccounts"};
inline const Resource kReplicationControllers{"", "v1", "replicationcontrollers"};
inline const Resource kPersistentVolumeClaims{"", "v1", "persistentvolumeclaims"};
inline const Resource kPersistentVolumes{"", "v1", "persistentvolumes"};
inline const Resource kDeployments{"apps", "v1", "deployments"};
inline const Resource kReplicaSets{"apps", "v1", "replicasets"};
inline const Resource kStatefulSets{"apps", "v1", "statefulsets"};
inline const Resource kDaemonSets{"apps", "v1", "daemonsets"};
inline const Resource kJobs{"batch", "v1", "jobs"};
inline const Resource kCronJobs{"batch", "v1", "cronjobs"};
inline const Resource kEndpointSlices{"discovery.k8s.io", "v1", "endpointslices"};
inline const Resource kLeases{"coordination.k8s.io", "v1", "leases"};
inline const Resource kPriorityClasses{"scheduling.k8s.io", "v1", "priorityclasses"};
inline const Resource kRoles{"rbac.authorization.k8s.io", "v1", "roles"};
inline const Resource kRoleBindings{"rbac.authorization.k8s.io", "v1", "rolebindings"};
inline const Resource kClusterRoles{"rbac.authorization.k8s.io", "v1", "clusterroles"};
inline const Resource kClusterRoleBindings{"rbac.authorization.k8s.io", "v1", "clusterrolebindings"};
}  // namespace resources

}  // namespace kubernel::api
