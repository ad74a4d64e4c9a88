// SPDX-License-Identifier: Apache-2.0
//
// RemoteCommand: carries an exec or attach between a client and a process in a container.

#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/base/executor.h>
#include <kubernel/base/log.h>
#include <kubernel/net/http.h>
#include <kubernel/runtime/container_runtime.h>

#include "tasks.h"

namespace kubernel::kubelet {

// The channels of the remote command protocols.
enum class Channel : std::uint8_t { Stdin = 0, Stdout = 1, Stderr = 2, Error = 3, Resize = 4, Close = 255 };

// How channels travel: in WebSocket messages or in SPDY streams.
//
// Threads: all members may be called concurrently; callbacks come from an I/O thread and must not block.
class CommandTransport {
 public:
  virtual ~CommandTransport() = default;
  // False when the client has gone.
  virtual bool send(Channel channel, std::string_view data) = 0;
  virtual std::size_t backlog() const = 0;
  virtual void on_drained(std::function<void()> drained) = 0;
  // `data` of a channel; an absent `data` is the end of standard input.
  virtual void on_receive(std::function<void(Channel channel, std::optional<std::string_view> data)> receive) = 0;
  virtual void pause(bool paused) = 0;
  virtual void on_closed(std::function<void()> closed) = 0;
  // Whether the error channel carries a Status (v4 and later) or only the text of a failure.
  virtual bool has_status() const = 0;
  // After everything sent: closes.
  virtual void close() = 0;
};

// The subprotocols a kubelet accepts, best first.
const std::vector<std::string>& command_subprotocols();
std::unique_ptr<CommandTransport> make_websocket_transport(std::shared_ptr<net::WebSocket> socket);

// The Status that ends a command (metav1.Status as JSON text): Success, or upstream's NonZeroExitCode.
std::string exit_status_text(int exit_code);
// An internal failure in the same form.
std::string failure_status_text(const Error& error);

// Lives until the command has ended and its last output was sent, or the client has gone.
class RemoteCommand : public std::enable_shared_from_this<RemoteCommand> {
 public:
  struct Streams {
    bool in = false, out = false, err = false;
  };
  RemoteCommand(std::unique_ptr<runtime::Session> session, std::unique_ptr<CommandTransport> transport, Streams streams,
                Poller& poller, Tasks& tasks, Logger& log);
  ~RemoteCommand();
  void start();

 private:
  struct Output {
    int fd = -1;
    Channel channel = Channel::Stdout;
    bool wanted = false, done = false;
    std::unique_ptr<Subscription> readable;
  };

  void listen(Output& output);
  bool drain(Output& output, bool to_the_end);
  void resume();
  void receive(Channel channel, std::optional<std::string_view> data);
  void write_input();
  void exited(int code);
  void finish();
  void end();

  std::unique_ptr<runtime::Session> session_;
  std::unique_ptr<CommandTransport> transport_;
  const Streams streams_;
  Poller& poller_;
  Tasks& tasks_;
  Logger& log_;

  std::recursive_mutex mutex_;  // Sending may call back into on_drained.
  Output outputs_[2];
  std::deque<std::string> input_;
  std::size_t input_bytes_ = 0;
  bool input_ended_ = false, writing_ = false, ended_ = false;
  std::optional<int> exit_code_;
  std::shared_ptr<RemoteCommand> self_;  // Until it ends.
};

}  // namespace kubernel::kubelet
