// SPDX-License-Identifier: Apache-2.0
//
// A real etcd, started for a test on free ports with a directory of its own.

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
  /// The members of one cluster.
  static std::vector<std::unique_ptr<EtcdProcess>> start_cluster(int members);
  ~EtcdProcess();

  const std::string& url() const noexcept { return url_; }
  /// Kills it as a crash would; start_again() finds what it had acknowledged.
  void kill();
  void start_again();
  /// Not one of its threads runs from here on.
  void freeze();
  void thaw();
  pid_t pid() const noexcept { return pid_; }

 private:
  explicit EtcdProcess(std::string name, std::vector<std::string> arguments = {});
  void spawn();
  void wait_until_it_serves();

  std::filesystem::path directory_;
  const std::vector<std::string> arguments_;
  const std::string name_;
  std::string url_, peer_url_, cluster_;
  pid_t pid_ = -1;
  UniqueFd log_;
  std::jthread reader_;  // Of its log, which would otherwise fill the pipe.
};

}  // namespace kubernel::testing
