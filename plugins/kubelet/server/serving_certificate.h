// SPDX-License-Identifier: Apache-2.0
//
// The certificate the kubelet serves with, and the authorities its clients are checked against.

#pragma once

#include <string>
#include <vector>

#include <kubernel/base/clock.h>
#include <kubernel/base/result.h>
#include <kubernel/net/server.h>

#include "config.h"

namespace kubernel::kubelet {

// From the files of `tls`, or issued with the cluster's authority when its key is in the PKI directory.
// Errors: Invalid, saying what to configure; Internal for a file that cannot be read.
Result<net::ServerTls> serving_tls(const Config& config, const std::vector<std::string>& addresses,
                                   const std::string& hostname, Clock::WallTime now);

}  // namespace kubernel::kubelet
