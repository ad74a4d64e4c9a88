// SPDX-License-Identifier: Apache-2.0
#include "sqlite_backend.h"

#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include "log_store.h"
#include "sqlite_database.h"
#include "store_copy.h"
#include "store_file.h"

namespace kubernel::storage_sqlite {
namespace {

Result<FileOptions> parse(const std::string& config_json) {
  return catch_as_error("storage-sqlite: config", [&]() -> Result<FileOptions> {
    const auto config = nlohmann::json::parse(config_json);
    FileOptions options;
    options.path = config.value("path", "");
    if (options.path.empty()) return Error(Reason::BadRequest, "storage-sqlite: config: path is required");
    const std::string synchronous = config.value("synchronous", "full");
    if (synchronous != "full" && synchronous != "normal") {
      return Error(Reason::BadRequest,
                   "storage-sqlite: config: synchronous must be full or normal, not \"" + synchronous + "\"");
    }
    options.synchronous_full = synchronous == "full";
    return options;
  });
}

}  // namespace

Result<std::unique_ptr<storage::Backend>> open_sqlite(const storage::BackendContext& context) {
  KUBERNEL_TRY(FileOptions options, parse(context.config_json));
  KUBERNEL_TRY(auto file, StoreFile::open(options));
  auto database = std::make_unique<SqliteDatabase>(std::move(file), context);
  return storage_common::make_log_store(std::move(database), context, {});
}

Result<void> backup_sqlite(const storage::BackendContext& context, const std::string& file) {
  KUBERNEL_TRY(const FileOptions options, parse(context.config_json));
  return copy_store(options.path, file);
}

}  // namespace kubernel::storage_sqlite
