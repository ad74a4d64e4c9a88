// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace kubernel::etcd_api {

/// Keeps the threads that run gRPC's callbacks for the rest of the process. Without, gRPC 1.51 ends them with the last
/// server or channel that uses callbacks, and aborts when an event is still on its way to them. To be called before
/// the first such server or channel is made. Threads: any.
void keep_callback_threads();

/// Debian's abseil looks for deadlocks at every lock that gRPC takes, under a lock of its own, which many threads then
/// wait for. Off from now on, for the whole process. Threads: any.
void trust_lock_order();

/// gRPC's own remarks would go to standard error; what matters of them is in the errors we report.
void silence_log();

}  // namespace kubernel::etcd_api
