// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include <kubernel/storage/backend.h>

namespace kubernel::storage_mysql {

/// Opens, or creates, the store in the database that context.config_json names (config.schema.json).
///
/// Errors: ServiceUnavailable, one line that names server and database, when it cannot be reached, the user may not do
/// what is needed, or the tables are of a newer version; BadRequest when the configuration is wrong.
Result<std::unique_ptr<storage::Backend>> open_mysql(const storage::BackendContext& context);

}  // namespace kubernel::storage_mysql
