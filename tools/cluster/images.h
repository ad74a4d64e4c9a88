// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include <kubernel/base/result.h>

#include "api_access.h"
#include "cluster_paths.h"

namespace kubernel::cluster {

// Loads an OCI layout or docker archive (a file or a directory on this machine) into the image store of every node.
// Errors: the node's, naming the node.
Result<void> load_image(ApiAccess& api, const ClusterRecord& record, const std::string& path);

// The nodes' images, one "node reference size" line each; JSON when asked for.
Result<std::string> list_images(ApiAccess& api, const ClusterRecord& record, bool as_json);

}  // namespace kubernel::cluster
