// SPDX-License-Identifier: Apache-2.0
//
// LeaderElector: one of several processes does the work, decided by a Lease (client-go's algorithm).
//
// A follower never compares the lease's timestamps with its own clock: it takes the lease over when it has not changed
// for its duration on the follower's monotonic clock. A leader that could not renew for `renew_deadline`, which is
// shorter than the lease, stops leading before anybody else may begin.

#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include <kubernel/api/resource.h>
#include <kubernel/base/export.h>
#include <kubernel/client/informer.h>

namespace kubernel::client {

struct LeaderElection {
  api::ObjectKey lease;  ///< kube-system/kube-controller-manager
  std::string identity;  ///< Unique per process: host name and a UUID.
  std::chrono::milliseconds lease_duration{15'000};
  std::chrono::milliseconds renew_deadline{10'000};
  std::chrono::milliseconds retry_period{2'000};
};

/// Called one at a time on the blocking executor. Any member may be empty.
struct LeaderCallbacks {
  std::function<void()> started_leading;
  /// Leading is over: nothing may be written any more. Also called by stop() when it was leading.
  std::function<void()> stopped_leading;
  std::function<void(const std::string& identity)> new_leader;
};

/// Threads: all members may be called concurrently.
class KUBERNEL_EXPORT LeaderElector {
 public:
  virtual ~LeaderElector() = default;  ///< stop().
  virtual void start() = 0;
  virtual bool leading() const = 0;
  /// The holder last seen; empty when none was.
  virtual std::string leader() const = 0;
  /// Ends it: no callback runs afterwards. A leader calls stopped_leading and gives the lease back, so that the next
  /// need not wait.
  virtual void stop() = 0;
};

/// `client` outlives the elector.
/// Errors: BadRequest unless lease_duration > renew_deadline > 1.2 * retry_period and identity is set.
[[nodiscard]] KUBERNEL_EXPORT Result<std::unique_ptr<LeaderElector>> make_leader_elector(const InformerContext& context,
                                                                                         ApiClient& client,
                                                                                         LeaderElection election,
                                                                                         LeaderCallbacks callbacks);

}  // namespace kubernel::client
