// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include <kubernel/storage/backend.h>

namespace kubernel::storage_memory {

/// A store with full history that lives as long as the returned object. Each call makes an empty one.
Result<std::unique_ptr<storage::Backend>> open_memory(const storage::BackendContext& context);

}  // namespace kubernel::storage_memory
