// SPDX-License-Identifier: Apache-2.0
#include "server/remote_command.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>

#include <nlohmann/json.hpp>

namespace kubernel::kubelet {

namespace {

using nlohmann::json;

constexpr std::size_t kBlock = 32 * 1024;
constexpr std::size_t kMaxBacklog = 1 << 20;  // Unsent output, then the process waits.
constexpr std::size_t kMaxInput = 1 << 20;    // Unwritten input, then the client waits.
constexpr int kWriteWaitMs = 200;             // Between looks at whether the session has ended.

}  // namespace

std::string exit_status_text(int exit_code) {
  if (exit_code == 0) return R"({"metadata":{},"status":"Success"})";
  const std::string code = std::to_string(exit_code);
  nlohmann::ordered_json status = nlohmann::ordered_json::parse(R"({"metadata":{},"status":"Failure"})");
  status["message"] = "command terminated with non-zero exit code: command terminated with exit code " + code;
  status["reason"] = "NonZeroExitCode";
  status["details"]["causes"] = nlohmann::ordered_json::array();
  nlohmann::ordered_json cause;
  cause["reason"] = "ExitCode";
  cause["message"] = code;
  status["details"]["causes"].push_back(std::move(cause));
  return status.dump();
}

std::string failure_status_text(const Error& error) {
  json status = json::parse(R"({"metadata":{},"status":"Failure","reason":"InternalError","code":500})");
  status["message"] = "Internal error occurred: " + error.message();
  return status.dump();
}

RemoteCommand::RemoteCommand(std::unique_ptr<runtime::Session> session, std::unique_ptr<CommandTransport> transport,
                             Streams streams, Poller& poller, Tasks& tasks, Logger& log)
    : session_(std::move(session)),
      transport_(std::move(transport)),
      streams_(streams),
      poller_(poller),
      tasks_(tasks),
      log_(log) {
  outputs_[0] = {session_->stdout_fd(), Channel::Stdout, streams.out, session_->stdout_fd() < 0, nullptr};
  outputs_[1] = {session_->stderr_fd(), Channel::Stderr, streams.err, session_->stderr_fd() < 0, nullptr};
}

RemoteCommand::~RemoteCommand() = default;

void RemoteCommand::start() {
  self_ = shared_from_this();
  const std::weak_ptr<RemoteCommand> weak = self_;
  transport_->on_closed([weak] {
    if (const auto self = weak.lock()) self->end();
  });
  transport_->on_drained([weak] {
    if (const auto self = weak.lock()) self->tasks_.run([self] { self->resume(); });
  });
  transport_->on_receive([weak](Channel channel, std::optional<std::string_view> data) {
    if (const auto self = weak.lock()) self->receive(channel, data);
  });
  {
    const std::lock_guard lock(mutex_);
    for (Output& output : outputs_) listen(output);
  }
  session_->on_exit([weak](int code) {
    if (const auto self = weak.lock()) self->tasks_.run([self, code] { self->exited(code); });
  });
}

// Precondition: mutex_ is held.
void RemoteCommand::listen(Output& output) {
  if (output.done || output.readable || ended_) return;
  auto readable = poller_.when_readable(output.fd, [weak = weak_from_this(), which = &output] {
    const auto self = weak.lock();
    if (!self) return;
    std::unique_ptr<Subscription> over;  // Ended here, on the poller's own thread, it does not wait.
    const std::lock_guard lock(self->mutex_);
    if (self->ended_ || !self->drain(*which, false)) over = std::move(which->readable);
  });
  if (readable) {
    output.readable = *std::move(readable);
  } else {
    log_warning(log_, "cannot wait for a command's output", {{"error", readable.error()}});
    output.done = true;
  }
}

// Sends what can be read now. False when nothing more will come, or the client must first take what was sent.
// Precondition: mutex_ is held.
bool RemoteCommand::drain(Output& output, bool to_the_end) {
  char buffer[kBlock];
  while (!output.done && (to_the_end || transport_->backlog() < kMaxBacklog)) {
    const ssize_t n = ::read(output.fd, buffer, sizeof buffer);
    if (n > 0) {
      if (output.wanted && !transport_->send(output.channel, std::string_view(buffer, static_cast<std::size_t>(n))))
        return false;
      continue;
    }
    if (n < 0 && errno == EAGAIN) return true;
    if (n < 0 && errno == EINTR) continue;
    output.done = true;  // The end; a terminal says EIO.
  }
  return false;
}

void RemoteCommand::resume() {
  const std::lock_guard lock(mutex_);
  if (ended_) return;
  for (Output& output : outputs_) {
    if (!output.readable && !output.done && drain(output, false)) listen(output);
  }
  if (exit_code_) finish();
}

void RemoteCommand::receive(Channel channel, std::optional<std::string_view> data) {
  const std::lock_guard lock(mutex_);
  if (ended_) return;
  if (channel == Channel::Resize && data) {
    const json size = json::parse(*data, nullptr, false);
    if (!size.is_object()) return;
    const int columns = size.value("Width", 0), rows = size.value("Height", 0);
    if (columns <= 0 || rows <= 0) return;
    tasks_.run([self = shared_from_this(), columns, rows] {
      if (auto done = self->session_->resize(columns, rows); !done) {
        log_debug(self->log_, "cannot resize a terminal", {{"error", done.error()}});
      }
    });
    return;
  }
  if (channel != Channel::Stdin || !streams_.in) return;
  if (data) {
    input_.emplace_back(*data);
    input_bytes_ += data->size();
    if (input_bytes_ > kMaxInput) transport_->pause(true);
  } else {
    input_ended_ = true;
  }
  if (writing_) return;
  writing_ = true;
  tasks_.run([self = shared_from_this()] { self->write_input(); });
}

// Writes queued input; one such task runs at a time. It waits while the process does not read.
void RemoteCommand::write_input() {
  for (;;) {
    std::string block;
    {
      const std::lock_guard lock(mutex_);
      if (ended_ || (input_.empty() && !input_ended_)) {
        writing_ = false;
        return;
      }
      if (input_.empty()) {
        session_->close_stdin();
        return;  // writing_ stays: nothing may follow.
      }
      block = std::move(input_.front());
      input_.pop_front();
      const bool was_full = input_bytes_ > kMaxInput;
      input_bytes_ -= block.size();
      if (was_full && input_bytes_ <= kMaxInput) transport_->pause(false);
    }
    std::string_view rest = block;
    const int fd = session_->stdin_fd();
    while (!rest.empty() && fd >= 0) {
      const ssize_t n = ::write(fd, rest.data(), rest.size());
      if (n > 0) {
        rest.remove_prefix(static_cast<std::size_t>(n));
      } else if (errno == EAGAIN) {
        pollfd waiting{fd, POLLOUT, 0};
        ::poll(&waiting, 1, kWriteWaitMs);
        const std::lock_guard lock(mutex_);
        if (ended_) return;
      } else {
        break;  // It reads no more.
      }
    }
  }
}

void RemoteCommand::exited(int code) {
  const std::lock_guard lock(mutex_);
  if (ended_) return;
  exit_code_ = code;
  finish();
}

// The process has ended, so all its output is in the descriptors: send the rest, then the status, then close.
// Precondition: mutex_ is held.
void RemoteCommand::finish() {
  for (Output& output : outputs_) {
    if (output.done) continue;
    const bool empty = drain(output, false);
    if (!empty && !output.done && transport_->backlog() >= kMaxBacklog) return;  // resume() comes back here.
  }
  if (transport_->has_status()) {
    transport_->send(Channel::Error, exit_status_text(*exit_code_));
  } else if (*exit_code_ != 0) {
    transport_->send(Channel::Error, "error executing command in container: command terminated with exit code " +
                                         std::to_string(*exit_code_));
  }
  transport_->close();
  end();
}

void RemoteCommand::end() {
  std::shared_ptr<RemoteCommand> self;
  std::unique_ptr<Subscription> readable[2];
  {
    const std::lock_guard lock(mutex_);
    if (ended_) return;
    ended_ = true;
    self = std::move(self_);
    for (std::size_t i = 0; i < 2; ++i) readable[i] = std::move(outputs_[i].readable);
  }
  // Subscriptions and, last, the session end on the pool: ending a session kills and waits.
  auto left = std::make_shared<std::pair<std::shared_ptr<RemoteCommand>, std::vector<std::unique_ptr<Subscription>>>>();
  left->first = std::move(self);
  for (auto& one : readable) left->second.push_back(std::move(one));
  tasks_.run([left] {
    left->second.clear();
    left->first.reset();
  });
}

}  // namespace kubernel::kubelet
