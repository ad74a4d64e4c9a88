// SPDX-License-Identifier: Apache-2.0
//
// Snapshot: the store as a database file of etcd's own, from which `etcdctl snapshot restore` makes a real etcd.

#pragma once

#include <functional>
#include <string_view>

#include <kubernel/storage/backend.h>

#include "admin.pb.h"
#include "rpc.pb.h"
#include "service_context.h"

namespace kubernel::etcd_server {

/// Hands out the file of the store as of now, and after it the SHA-256 of it, which etcdctl checks.
/// `sink` gets pieces and how many bytes follow each.
Result<void> write_snapshot(storage::Backend& store, const CallContext& ctx,
                            const std::function<Result<void>(std::string_view piece, std::uint64_t remaining)>& sink);

/// Answers `call` with it, piece by piece, as fast as the client takes them.
void stream_snapshot(ServiceContext& context, Call call);

}  // namespace kubernel::etcd_server
