// SPDX-License-Identifier: Apache-2.0
//
// Discovery: what this server serves, in the plain documents and in the aggregated one, and /version.

#pragma once

#include <optional>

#include <kubernel/net/http.h>

#include "pipeline/api.h"

namespace kubernel::apiserver {

/// The answer to /api, /apis, /api/v1, /apis/GROUP, /apis/GROUP/VERSION and /version; absent for any other path.
std::optional<net::Response> serve_discovery(const Api& api, const net::Request& request);

}  // namespace kubernel::apiserver
