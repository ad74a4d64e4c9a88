// SPDX-License-Identifier: Apache-2.0
//
// NodeAgent: registers the Node, keeps its status true and its lease alive.

#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include <kubernel/api/object.h>
#include <kubernel/base/log.h>
#include <kubernel/client/client.h>

#include "config.h"
#include "node/node_status.h"
#include "tasks.h"

namespace kubernel::kubelet {

// Threads: start() and stop() once each, on one thread; the rest from any.
class NodeAgent {
 public:
  // `observe` reads the node anew; it may block. `registered` is called each time the Node is found to exist.
  NodeAgent(const Config& config, client::ApiClient& api, Tasks& tasks, Logger& log, std::function<NodeInput()> observe,
            std::function<void(const api::Object& node)> registered);
  ~NodeAgent();

  void start();
  void stop();
  // Looks at the node now, for example when an image was pulled or the network came up.
  void observe_soon();
  // Empty once the Node is registered.
  std::string problem() const;

 private:
  void tick_status();
  void look_after(std::chrono::milliseconds delay);
  void tick_lease();
  Result<api::Object> register_node(const NodeInput& input);
  Result<void> write_status(const NodeInput& input, const api::Object& node);
  Result<void> renew_lease();
  void again(std::unique_ptr<Subscription>& timer, std::chrono::milliseconds delay, void (NodeAgent::*what)());

  const Config& config_;
  client::ApiClient& api_;
  Tasks& tasks_;
  Logger& log_;
  std::function<NodeInput()> observe_;
  std::function<void(const api::Object& node)> registered_;
  mutable std::mutex mutex_;
  bool stopped_ = false;
  bool looking_ = false;     // A status look is under way.
  bool look_again_ = false;  // Asked for since it began.
  std::string problem_ = "the node is not registered yet";
  std::unique_ptr<Subscription> status_timer_, lease_timer_;
  std::mutex status_mutex_;  // One tick at a time; guards what follows.
  std::optional<Clock::TimePoint> last_write_;
  int failures_ = 0;
  bool fresh_start_ = true;
  std::optional<api::Object> lease_;  // Used by the lease's ticks only.
};

}  // namespace kubernel::kubelet
