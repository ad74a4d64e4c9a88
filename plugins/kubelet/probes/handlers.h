// SPDX-License-Identifier: Apache-2.0
//
// What a probe or a hook does: run a command in the container, send a GET, open a connection.

#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include <kubernel/api/object.h>
#include <kubernel/net/client.h>
#include <kubernel/runtime/container_runtime.h>

#include "pods/spec.h"
#include "tasks.h"

namespace kubernel::kubelet {

struct ProbeOutcome {
  enum class Verdict : std::uint8_t { Success, Failure, Unknown } verdict = Verdict::Unknown;
  std::string message;
};

struct ProbeTarget {
  const api::Object& pod;
  const ContainerSpec& container;
  std::string container_id, pod_ip;
};

// Threads: all members may be called concurrently. They block up to `timeout`.
class ProbeHandlers {
 public:
  virtual ~ProbeHandlers() = default;
  // `handler` has one of exec, httpGet, tcpSocket.
  virtual ProbeOutcome run(const ProbeTarget& target, api::Value handler, std::chrono::seconds timeout) = 0;
};

// Dials from this process's network namespace: one connection a probe, closed after it, so that a probe always tests
// that connections can be made.
class NodeProbeHandlers final : public ProbeHandlers {
 public:
  // Errors: as net::make_http_client().
  static Result<std::unique_ptr<NodeProbeHandlers>> make(runtime::ContainerRuntime& runtime, Tasks& tasks,
                                                         const net::NetContext& net);
  ProbeOutcome run(const ProbeTarget& target, api::Value handler, std::chrono::seconds timeout) override;

 private:
  NodeProbeHandlers(runtime::ContainerRuntime& runtime, Tasks& tasks, std::unique_ptr<net::HttpClient> https);
  ProbeOutcome run_exec(const ProbeTarget& target, api::Value exec, std::chrono::seconds timeout);
  ProbeOutcome run_http(const ProbeTarget& target, api::Value get, std::chrono::seconds timeout);
  ProbeOutcome run_tcp(const ProbeTarget& target, api::Value socket, std::chrono::seconds timeout);

  runtime::ContainerRuntime& runtime_;
  Tasks& tasks_;
  const std::unique_ptr<net::HttpClient> https_;
};

// The number of a port given as such or by its name in the container; 0 when there is none.
int port_number(const ContainerSpec& container, api::Value port);

}  // namespace kubernel::kubelet
