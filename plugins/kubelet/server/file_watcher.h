// SPDX-License-Identifier: Apache-2.0
//
// FileWatcher: tells when files change, with one inotify instance for the whole kubelet (a machine has few).

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include <kubernel/base/executor.h>
#include <kubernel/base/result.h>

namespace kubernel::kubelet {

// Threads: all members may be called concurrently. Lifetime: outlives its watches.
class FileWatcher {
 public:
  static Result<std::unique_ptr<FileWatcher>> open(Poller& poller);
  ~FileWatcher();
  FileWatcher(const FileWatcher&) = delete;
  FileWatcher& operator=(const FileWatcher&) = delete;

  // Calls `changed` on the poller's thread each time something in `directory` is written, made or moved. Must not
  // block.
  [[nodiscard]] Result<std::unique_ptr<Subscription>> watch(const std::string& directory,
                                                            std::function<void()> changed);

 private:
  explicit FileWatcher(int fd) : fd_(fd) {}
  void read_events();
  void end(int descriptor, std::uint64_t id);

  class Watch;
  const int fd_;
  std::unique_ptr<Subscription> readable_;
  std::recursive_mutex mutex_;  // A callback may end its own watch.
  std::uint64_t next_id_ = 0;
  std::map<int, std::map<std::uint64_t, std::function<void()>>> watches_;  // By inotify descriptor.
};

}  // namespace kubernel::kubelet
