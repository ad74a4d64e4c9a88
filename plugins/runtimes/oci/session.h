// SPDX-License-Identifier: Apache-2.0
//
// Relay: a Session over a monitor's attach socket. The socket carries all streams as packets; the session's user has a
// pipe per stream. Between them bytes move on the poller's thread, and stop moving when the other side does not take
// them: nothing is buffered without bound.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include <kubernel/base/child_process.h>
#include <kubernel/base/executor.h>
#include <kubernel/runtime/container_runtime.h>

namespace kubernel::runtime::oci {

struct RelayOptions {
  UniqueFd socket;  ///< conmon's attach socket.
  bool stdin_open = false, tty = false;
  std::string directory;  ///< The bundle with the control pipe, for resize.
};

/// Threads: all members may be called concurrently.
class Relay : public std::enable_shared_from_this<Relay> {
 public:
  /// Errors: Internal.
  static Result<std::shared_ptr<Relay>> start(Poller& poller, RelayOptions options);
  ~Relay();

  int stdin_fd() const;
  int stdout_fd() const { return outputs_[0].reader.get(); }
  int stderr_fd() const { return outputs_[1].reader.get(); }
  void close_stdin();
  Result<void> resize(int columns, int rows);
  void on_exit(std::function<void(int)> exited);

  /// The process's exit code. It is passed on once all output has been written to the pipes.
  void set_exit_code(int code);
  /// Stops moving bytes; no callback runs after it returns (unless called from one).
  void close();

 private:
  struct Output {
    UniqueFd reader, writer;
  };
  explicit Relay(Poller& poller, RelayOptions options);

  Result<void> open_pipes();
  void watch_socket();  // These three: with the lock held.
  void watch_stdin();
  void wait_writable(int fd, std::unique_ptr<Subscription>& slot, UniqueFd& epoll, void (Relay::*ready)());
  void on_socket();
  void on_output_room();
  void on_stdin();
  void on_socket_room();
  bool flush_output();
  bool flush_stdin();
  void report();

  Poller& poller_;
  RelayOptions options_;
  mutable std::mutex mutex_;
  bool closed_ = false, ended_ = false;
  Output outputs_[2];
  UniqueFd stdin_reader_, stdin_writer_;
  std::string pending_output_, pending_input_;
  std::size_t pending_stream_ = 0;
  UniqueFd output_room_, socket_room_;  // epoll descriptors: readable when the other side can be written.
  std::unique_ptr<Subscription> socket_watch_, output_watch_, stdin_watch_, input_watch_;
  std::optional<int> exit_code_;
  std::function<void(int)> exited_;
};

}  // namespace kubernel::runtime::oci
