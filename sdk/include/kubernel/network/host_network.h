// SPDX-License-Identifier: Apache-2.0
//
// Whether this process could touch the machine's own network.

#pragma once

#include <kubernel/base/export.h>

namespace kubernel::network {

/// True when this process's network namespace is the machine's own: it has hardware, or belongs to the machine's first
/// process. Who programs rules, or connects to pods and services, asks first and refuses then, unless told `network:
/// host`. When the namespace cannot be told, it counts as the machine's.
///
/// Threads: any. Reads the kernel's state at each call.
KUBERNEL_EXPORT bool in_host_network();

}  // namespace kubernel::network
