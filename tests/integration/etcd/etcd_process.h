// SPDX-License-Identifier: Apache-2.0
//
// A real etcd of one member, started for a test on free ports with a directory of its own.

#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <sys/types.h>

#include <kubernel/base/child_process.h>
#include <kubernel/base/result.h>

namespace kubernel::testing {

/// Whether Debian's etcd-server is installed.
bool have_etcd();

/// A TCP port of 127.0.0.1 that nobody uses now.
int free_port();

class EtcdProcess {
 public:
  /// `arguments`: besides those that name directory and addresses. Returns when etcd serves.
  static std::unique_ptr<EtcdProcess> start(std::vector<std::string> arguments = {});
  ~EtcdProcess();

  const std::string& url() const noexcept { return url_; }
  /// Kills it as a crash would; start_again() finds what it had acknowledged.
  void kill();
  void start_again();
  pid_t pid() const noexcept { return pid_; }

 private:
  EtcdProcess() = default;
  void run();

  std::filesystem::path directory_;
  std::vector<std::string> arguments_;
  std::string url_, peer_url_;
  pid_t pid_ = -1;
  std::jthread reader_;  // Of its log, which would otherwise fill the pipe.
};

}  // namespace kubernel::testing
