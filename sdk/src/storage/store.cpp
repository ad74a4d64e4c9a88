// SPDX-License-Identifier: Apache-2.0
#include <kubernel/storage/store.h>

#include <string>

namespace kubernel::storage {

Result<std::unique_ptr<Backend>> open_loaded(const plugin::ComponentContext& context) {
  const auto stores = plugin::all<BackendSpec>(context.extensions);
  if (stores.empty()) {
    return Error(Reason::Invalid, "no storage backend is loaded; name one in the manifest, such as storage-sqlite");
  }
  if (stores.size() > 1) {
    std::string names;
    for (const auto& store : stores) names += (names.empty() ? "" : ", ") + store.extension->plugin;
    return Error(Reason::Invalid, "several storage backends are loaded (" + names + "); name one in the manifest");
  }
  const auto& store = stores.front();
  return store.spec->open(
      {store.extension->config_json, context.log, context.metrics, context.clock, context.blocking, context.poller});
}

}  // namespace kubernel::storage
