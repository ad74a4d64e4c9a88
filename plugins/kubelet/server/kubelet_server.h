// SPDX-License-Identifier: Apache-2.0
//
// KubeletServer: what the kubelet answers on its port: logs, exec, attach, port-forward, pods, metrics.

#pragma once

#include <string>
#include <vector>

#include <kubernel/base/executor.h>
#include <kubernel/base/log.h>
#include <kubernel/base/metrics.h>
#include <kubernel/net/http.h>
#include <kubernel/runtime/container_runtime.h>

#include "pods/pod_workers.h"
#include "server/auth.h"
#include "server/file_watcher.h"
#include "server/remote_command.h"
#include "tasks.h"

namespace kubernel::kubelet {

// All references outlive the server and the streams it has made (the network server's shutdown ends those).
struct ServerParts {
  NodeAuth& auth;
  PodWorkers& workers;
  RuntimeCache& cache;
  runtime::ContainerRuntime& runtime;
  runtime::ImageStore& images;
  std::string node_name;
  FileWatcher* watcher;  // Null: logs cannot be followed.
  Poller& poller;
  Tasks& tasks;
  Logger& log;
  Metrics& metrics;
};

// Threads: handle() may be called concurrently.
class KubeletServer {
 public:
  explicit KubeletServer(const ServerParts& parts) : parts_(parts) {}
  void handle(net::Exchange& exchange);

 private:
  Result<void> check(net::Exchange& exchange);
  void serve(net::Exchange& exchange, const std::vector<std::string>& path);
  void serve_logs(net::Exchange& exchange, const std::vector<std::string>& path);
  void serve_command(net::Exchange& exchange, const std::vector<std::string>& path, bool attach);
  void serve_port_forward(net::Exchange& exchange, const std::vector<std::string>& path);
  void serve_run(net::Exchange& exchange, const std::vector<std::string>& path);
  void serve_pods(net::Exchange& exchange);
  // images.cpp: GET lists the node's images; POST ?path=FILE loads an archive or OCI layout that lies on the node.
  void serve_images(net::Exchange& exchange);

  // The running container a path names. Errors: NotFound with upstream's message.
  Result<runtime::ContainerStatus> running_container(const std::vector<std::string>& path);
  // The container whose log is asked for. Errors: BadRequest and NotFound with upstream's message.
  Result<runtime::ContainerStatus> logged_container(const std::vector<std::string>& path, bool previous);

  const ServerParts parts_;
};

// What `kubectl top` needs, in Prometheus' text format; and the same as the summary API's document.
std::string resource_metrics(const ServerParts& parts);
std::string stats_summary(const ServerParts& parts);

}  // namespace kubernel::kubelet
