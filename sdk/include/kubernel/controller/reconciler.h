// SPDX-License-Identifier: Apache-2.0
//
// Reconciler: the extension point behind every controller.

#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/api/object.h>
#include <kubernel/base/clock.h>
#include <kubernel/base/context.h>
#include <kubernel/base/executor.h>
#include <kubernel/base/log.h>
#include <kubernel/base/metrics.h>
#include <kubernel/base/random.h>
#include <kubernel/base/result.h>
#include <kubernel/client/client.h>
#include <kubernel/client/events.h>
#include <kubernel/client/informer.h>

namespace kubernel::controller {

/// What the work queue does with a key whose reconcile() succeeded.
///
/// There is no way to say "requeue with back-off": back-off belongs to failures,
/// and a failure is an Error. There is no way to say both, either.
class Next {
 public:
  /// Forget the key until something it depends on changes.
  static Next done() noexcept { return Next(std::chrono::milliseconds::zero()); }
  /// Look again after `delay` even if nothing changes.
  static Next after(std::chrono::milliseconds delay) noexcept { return Next(delay); }

  std::chrono::milliseconds delay() const noexcept { return delay_; }

 private:
  explicit Next(std::chrono::milliseconds delay) noexcept : delay_(delay) {}
  std::chrono::milliseconds delay_;
};

/// Where watches put work. add() is what event handlers call. Threads: any.
class KeyQueue {
 public:
  virtual ~KeyQueue() = default;
  virtual void add(const api::ObjectKey& key) = 0;
  virtual void add_after(const api::ObjectKey& key, std::chrono::milliseconds delay) = 0;
};

/// Brings the world one step closer to what one object asks for.
///
/// reconcile() is level-triggered: it is told which key to look at, never what
/// happened to it. It must be idempotent, must read everything it decides on, and
/// must tolerate a cache that has not yet seen its own last write.
///
/// Threads: the runner never runs reconcile() for the same key twice at once. Calls
/// for different keys run concurrently, up to `workers`; keep state out of members
/// or guard it. Implementations start no threads.
///
/// Errors: a retriable Error puts the key back with exponential back-off; any
/// other Error is logged, counted and parked until the object changes.
class Reconciler {
 public:
  virtual ~Reconciler() = default;

  /// Called once before informers sync: asks for the informers it needs and subscribes, with handlers that add keys.
  /// Informers must be asked for here and kept; queue outlives the reconciler.
  virtual Result<void> watch(client::InformerFactory& informers, KeyQueue& queue) = 0;

  virtual Result<Next> reconcile(const CallContext& ctx, const api::ObjectKey& key) = 0;
};

/// Lent to a factory; all references outlive every instance the factory makes. `api` and `events` act as
/// system:serviceaccount:kube-system:<controller's account>.
struct ControllerContext {
  std::string config_json;
  client::ApiClient& api;
  client::EventRecorder& events;
  Logger& log;
  Metrics& metrics;
  Clock& clock;
  Random& random;
  Executor& blocking;
};

/// Extension point "controller": everything the controller manager must know to run one.
struct Spec {
  static constexpr std::string_view kPoint = "controller";

  std::string service_account;  ///< Upstream's: "deployment-controller"; its rights are a bootstrap ClusterRole.
  int workers = 1;
  Result<std::unique_ptr<Reconciler>> (*make)(const ControllerContext& context) = nullptr;
};

}  // namespace kubernel::controller
