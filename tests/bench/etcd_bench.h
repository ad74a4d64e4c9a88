// SPDX-License-Identifier: Apache-2.0
//
// etcd for storage-bench: Debian's, and etcd-server over SQLite as its equal.

#pragma once

#include "server_bench.h"

namespace kubernel::bench {

/// An etcd of one member that syncs its writes. measure_raw() prints what it does by itself and, beside it, what our
/// etcd-server does over SQLite for the same clients (C3). As start_server().
MeasuredServer start_etcd(const std::filesystem::path& directory, std::string& why);

/// Is that etcd-server: serves a store in `directory` and prints its address, until standard input ends.
int serve_etcd(const std::string& directory);

}  // namespace kubernel::bench
