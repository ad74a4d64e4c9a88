// SPDX-License-Identifier: Apache-2.0
//
// PodNetwork: gives a pod's network namespace its interfaces and addresses.

#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/base/clock.h>
#include <kubernel/base/context.h>
#include <kubernel/base/executor.h>
#include <kubernel/base/log.h>
#include <kubernel/base/result.h>

namespace kubernel::network {

struct PortMapping {
  int host_port = 0, container_port = 0;
  std::string protocol;  ///< "tcp", "udp", "sctp".
  std::string host_ip;
};

struct PodAttachment {
  std::string pod_name, pod_namespace, pod_uid;
  std::string sandbox_id;  ///< Stable for the pod's sandbox; chosen by the caller before the sandbox runs.
  std::vector<PortMapping> ports;
};

struct PodAddresses {
  std::string namespace_path;    ///< "/run/netns/<sandbox_id>"; exists until detach().
  std::vector<std::string> ips;  ///< Primary first.
};

struct NodeNetwork {
  std::string node_name;
  std::vector<std::string> pod_cidrs;  ///< This node's ranges, primary first.
  /// Other nodes: how their pods are reached.
  struct Peer {
    std::string node_name, node_ip;
    std::vector<std::string> pod_cidrs;
  };
  std::vector<Peer> peers;
};

/// Threads: all members may be called concurrently for different sandboxes. Calls block.
/// Errors: Forbidden when programming the host's own network namespace has not been allowed (`network: host`); Internal
/// with the plugin's message.
class PodNetwork {
 public:
  virtual ~PodNetwork() = default;
  /// Called at start and whenever a node or its ranges change: routes to peers, masquerading of traffic that leaves the
  /// cluster. Idempotent.
  virtual Result<void> configure(const CallContext& ctx, const NodeNetwork& node) = 0;
  /// Makes the network namespace and attaches it. Idempotent for a sandbox already attached.
  virtual Result<PodAddresses> attach(const CallContext& ctx, const PodAttachment& pod) = 0;
  /// Frees addresses, removes the namespace. Idempotent, also for an unknown sandbox.
  virtual Result<void> detach(const CallContext& ctx, const PodAttachment& pod) = 0;
  /// Empty when pods can be attached; otherwise what is missing (node condition NetworkUnavailable).
  virtual std::string problem() const = 0;
};

struct NetworkContext {
  std::string config_json;
  Logger& log;
  Clock& clock;
  Executor& blocking;
  bool host_network_allowed = false;
};

/// Extension point "network".
struct NetworkSpec {
  static constexpr std::string_view kPoint = "network";
  Result<std::unique_ptr<PodNetwork>> (*open)(const NetworkContext& context) = nullptr;
};

}  // namespace kubernel::network
