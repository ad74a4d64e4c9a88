// SPDX-License-Identifier: Apache-2.0
//
// For tests: a database server of the test's own, from the distribution's packages, in a directory of its own and on a
// socket in it. It ends with the test process, however that ends.

#pragma once

#include <sys/types.h>

#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <kubernel/base/child_process.h>

namespace kubernel::storage_server::testing {

enum class Kind { Postgres, MariaDb };

struct ServerOptions {
  bool durable = false;                ///< Syncs its files, as a real server does. Slower.
  int port = 0;                        ///< Also listens there on 127.0.0.1; 0: on its socket only.
  std::vector<std::string> arguments;  ///< More of them for the server.
};

/// A failure of the server's tools ends the test process: nothing can be tested then.
/// Threads: one at a time, but for make_database() and run().
class RealServer {
 public:
  /// Null when the packages are not installed; missing() says which. The thread that calls it must outlive the server.
  static std::unique_ptr<RealServer> start(Kind kind, const ServerOptions& options = {});
  static std::string missing(Kind kind);
  ~RealServer();
  RealServer(const RealServer&) = delete;
  RealServer& operator=(const RealServer&) = delete;

  /// A new, empty database that `user` owns, which need not exist yet. Users "trusted" and "trusted_reader" are let in
  /// without a password, others with "secret".
  std::string make_database(const std::string& user = "trusted");
  void drop_database(const std::string& name);
  /// Runs SQL as the administrator and returns what it printed, without headings.
  std::string run(const std::string& database, const std::string& sql) const;
  /// The same for SQL that may fail; true when it did not.
  bool try_run(const std::string& database, const std::string& sql, std::string& output) const;

  /// For a backend's configuration.
  std::string url(const std::string& database, const std::string& user = "trusted") const;
  /// The same through ServerOptions::port.
  std::string tcp_url(const std::string& database, const std::string& user) const;
  const std::filesystem::path& directory() const { return directory_; }

  /// As kill -9.
  void kill();
  /// Stops it so that it needs no recovery. Connections are closed.
  void stop();
  /// After kill() or stop(). Returns when it answers.
  void start_again();

 private:
  RealServer(Kind kind, ServerOptions options);
  void create();
  void spawn();
  int port() const;
  void end(int signal);
  std::vector<std::string> as_owner(std::vector<std::string> command, bool ends_with_us) const;
  std::vector<std::string> client(const std::string& database, const std::string& sql) const;

  const Kind kind_;
  const ServerOptions options_;
  std::filesystem::path directory_;
  pid_t pid_ = -1;
  std::jthread output_reader_;
  std::mutex mutex_;
  int databases_ = 0;
  std::vector<std::string> users_;
};

}  // namespace kubernel::storage_server::testing
