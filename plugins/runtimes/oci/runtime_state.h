// SPDX-License-Identifier: Apache-2.0
//
// What OciRuntime's parts share and nobody else sees.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "oci_runtime.h"

namespace kubernel::runtime::oci {

struct OciRuntime::Container {
  std::mutex mutex;  // Guards what follows. Held for moments, never while a process runs.
  ContainerRecord record;
  UniqueFd watched;  // pidfd of the monitor (of the container's process when the monitor is gone).
  std::unique_ptr<Subscription> watch;
  std::vector<std::weak_ptr<Relay>> attached;

  ContainerRecord snapshot() {
    const std::lock_guard lock(mutex);
    return record;
  }
};

struct OciRuntime::Sandbox {
  std::mutex mutex;
  SandboxRecord record;
  UniqueFd watched;
  std::unique_ptr<Subscription> watch;

  SandboxRecord snapshot() {
    const std::lock_guard lock(mutex);
    return record;
  }
};

// Counts tasks on the executor, so that the runtime is not destroyed under them.
class OciRuntime::Gate {
 public:
  bool enter() {
    const std::lock_guard lock(mutex_);
    if (closed_) return false;
    ++inside_;
    return true;
  }
  void leave() {
    const std::lock_guard lock(mutex_);
    if (--inside_ == 0) empty_.notify_all();
  }
  void close() {
    std::unique_lock lock(mutex_);
    closed_ = true;
    empty_.wait(lock, [this] { return inside_ == 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable empty_;
  bool closed_ = false;
  int inside_ = 0;
};

struct OciRuntime::Listeners {
  struct Listener {
    std::recursive_mutex
        running;  // Held while the callback runs: ending the subscription waits for it, except from inside.
    std::function<void(std::string)> changed;
  };
  std::mutex mutex;
  std::vector<std::shared_ptr<Listener>> all;
};

}  // namespace kubernel::runtime::oci
