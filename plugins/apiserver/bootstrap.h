// SPDX-License-Identifier: Apache-2.0
//
// The objects every cluster has from its first start.

#pragma once

#include <string>

#include <kubernel/base/context.h>
#include <kubernel/base/result.h>
#include <kubernel/client/client.h>
#include <kubernel/storage/backend.h>

namespace kubernel::apiserver {

struct BootstrapOptions {
  std::string service_cidr;
  std::string advertise_address;  ///< Empty: no endpoint is published.
  int advertise_port = 0;
};

/// Creates what is missing: namespaces, system priority classes, the service network, the `kubernetes` service; and
/// brings the endpoint of the latter up to date. `client` speaks for the server itself.
Result<void> bootstrap(const CallContext& ctx, client::ApiClient& client, const BootstrapOptions& options);

/// Gives back addresses of services that do not exist: left by a server that died between two writes.
Result<void> repair_addresses(const CallContext& ctx, client::ApiClient& client);

}  // namespace kubernel::apiserver
