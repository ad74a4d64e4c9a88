// SPDX-License-Identifier: Apache-2.0
//
// Store: the one store of the process, shared by the components that serve it.
//
// The API server offers the store it has opened; a component that serves the same store in another protocol uses that,
// or, in a process without an API server, opens the store itself. Everything else of a cluster goes through the API
// server, never to the store.

#pragma once

#include <memory>
#include <string_view>

#include <kubernel/base/export.h>
#include <kubernel/base/result.h>
#include <kubernel/plugin/component.h>
#include <kubernel/storage/backend.h>

namespace kubernel::storage {

/// Service "store". Threads: any. Lifetime: of the component that offers it.
struct Store {
  static constexpr std::string_view kService = "store";
  explicit Store(Backend& opened) : backend(opened) {}
  Backend& backend;
};

/// Opens the storage backend the manifest loads.
/// Errors: Invalid when there is none or more than one; those of BackendSpec::open.
[[nodiscard]] KUBERNEL_EXPORT Result<std::unique_ptr<Backend>> open_loaded(const plugin::ComponentContext& context);

}  // namespace kubernel::storage
