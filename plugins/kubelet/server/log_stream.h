// SPDX-License-Identifier: Apache-2.0
//
// LogStream: sends a container's log to a client, and what is added to it while the container runs.

#pragma once

#include <functional>
#include <memory>
#include <mutex>

#include <kubernel/base/log.h>
#include <kubernel/net/http.h>
#include <kubernel/runtime/container_runtime.h>

#include "server/container_log.h"
#include "server/file_watcher.h"
#include "tasks.h"

namespace kubernel::kubelet {

// Lives as long as the client listens or there is something to send. Reads only when the client takes, so a large log
// costs no memory; waits for inotify and the container's exit, never for a timer.
class LogStream : public std::enable_shared_from_this<LogStream> {
 public:
  struct Source {
    std::unique_ptr<ContainerLog> log;
    std::string path, container_id;
    bool follow = false;
  };
  LogStream(Source source, std::shared_ptr<net::ResponseStream> out, runtime::ContainerAccess& access,
            FileWatcher* watcher, Tasks& tasks, Logger& log);
  ~LogStream();

  void start();

 private:
  void wake();
  void pump();
  bool container_runs();
  void end();

  Source source_;
  std::shared_ptr<net::ResponseStream> out_;
  runtime::ContainerAccess& access_;
  FileWatcher* const watcher_;
  Tasks& tasks_;
  Logger& log_;
  std::mutex mutex_;
  bool running_ = false, again_ = false, ended_ = false;
  std::unique_ptr<Subscription> changes_, exits_;
};

}  // namespace kubernel::kubelet
