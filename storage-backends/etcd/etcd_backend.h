// SPDX-License-Identifier: Apache-2.0
//
// The storage backend over an etcd cluster.

#pragma once

#include <memory>

#include <kubernel/storage/backend.h>

namespace kubernel::storage_etcd {

/// Errors: Invalid for unusable settings; else one line that names the endpoint, what failed and what to do.
Result<std::unique_ptr<storage::Backend>> open_etcd(const storage::BackendContext& context);

}  // namespace kubernel::storage_etcd
