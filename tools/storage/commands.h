// SPDX-License-Identifier: Apache-2.0
//
// What `kubernel storage VERB` does, without its flags: each returns what to print.

#pragma once

#include <optional>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include <kubernel/base/result.h>
#include <kubernel/storage/backend.h>

#include "open_store.h"
#include "progress.h"
#include "store_url.h"

namespace kubernel::storage_tool {

// What a command says: as people read it, and as programs do.
struct Answer {
  std::string text;
  std::string json;
  bool good = true;  // False: the store is damaged.
};

struct Tools {
  Workbench& bench;
  Progress& progress;
};

Result<Answer> stats(const Tools& tools, const StoreUrl& url);
Result<Answer> check(const Tools& tools, const StoreUrl& url);
// `revision`: nothing: the present one.
Result<Answer> compact(const Tools& tools, const StoreUrl& url, std::optional<storage::Revision> revision);
Result<Answer> backup(const Tools& tools, const StoreUrl& from, const std::string& file);
// `skip`: how many revisions to leave out, for those that were given after the backup was made.
Result<Answer> restore(const Tools& tools, const std::string& file, const StoreUrl& to, storage::Revision skip);
Result<Answer> migrate(const Tools& tools, const StoreUrl& from, const StoreUrl& to);

}  // namespace kubernel::storage_tool
