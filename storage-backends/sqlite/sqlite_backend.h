// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include <kubernel/storage/backend.h>

namespace kubernel::storage_sqlite {

/// Opens, or creates, the store in the file that context.config_json names (config.schema.json).
///
/// Errors: ServiceUnavailable, one line that names the file, when it cannot be opened, is in use by another process,
/// is no store, or is of a newer version; BadRequest when the configuration is wrong.
Result<std::unique_ptr<storage::Backend>> open_sqlite(const storage::BackendContext& context);

/// Copies the store, which may be in use by another process, as of one moment into the new file `file`, which
/// open_sqlite() takes as a store afterwards.
///
/// Errors: AlreadyExists when there is such a file; one line as from open_sqlite().
Result<void> backup_sqlite(const storage::BackendContext& context, const std::string& file);

}  // namespace kubernel::storage_sqlite
