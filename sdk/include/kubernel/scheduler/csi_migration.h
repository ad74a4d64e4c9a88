// SPDX-License-Identifier: Apache-2.0
//
// In-tree volumes as the CSI volumes they stand for: what upstream's csi-translation-lib says of their driver, handle
// and topology. Only of the in-tree plugins whose migration upstream's scheduler takes for done (EBS, GCE PD, Azure
// Disk, Cinder, Portworx); volumes of the others have no driver.

#pragma once

#include <string>
#include <string_view>

#include <kubernel/api/object.h>
#include <kubernel/base/export.h>
#include <kubernel/base/result.h>

namespace kubernel::scheduler {

struct InTreePlugin {
  std::string_view name;          ///< "kubernetes.io/aws-ebs".
  std::string_view driver;        ///< "ebs.csi.aws.com".
  std::string_view member;        ///< Of a volume's source: "awsElasticBlockStore".
  std::string_view topology_key;  ///< The driver's label for zones; empty: zones are not translated.
};

/// By the plugin's name (a StorageClass's provisioner); null when there is none.
KUBERNEL_EXPORT const InTreePlugin* find_in_tree_plugin(std::string_view name) noexcept;

/// By what is set in `source`, a PersistentVolume's spec or one of a pod's volumes; null when it is no such volume.
KUBERNEL_EXPORT const InTreePlugin* in_tree_plugin_of(api::Value source) noexcept;

/// The handle of a PersistentVolume of that plugin; equal for two that are one.
///
/// Errors: Invalid, with upstream's message, when its source (or the zones in its labels) makes no sense.
KUBERNEL_EXPORT Result<std::string> csi_handle(const InTreePlugin& plugin, const api::Object& persistent_volume);
/// The same of one of a pod's volumes.
KUBERNEL_EXPORT Result<std::string> csi_handle_of_inline(const InTreePlugin& plugin, api::Value pod_volume);

/// The PersistentVolume as one of the plugin's driver: with spec.csi, and with the zones of its node affinity, or else
/// of its labels, under the driver's label.
///
/// Errors: as csi_handle().
KUBERNEL_EXPORT Result<api::Object> as_csi_volume(const InTreePlugin& plugin, const api::Object& persistent_volume);

/// Of a CSINode: the names of the plugins whose volumes the node has given to their drivers, separated by commas.
inline constexpr const char* kMigratedPluginsAnnotation = "storage.alpha.kubernetes.io/migrated-plugins";

/// Whether the plugin is one of them.
KUBERNEL_EXPORT bool has_migrated(const api::Object& csi_node, const InTreePlugin& plugin);

}  // namespace kubernel::scheduler
