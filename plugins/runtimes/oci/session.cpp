// SPDX-License-Identifier: Apache-2.0
#include "session.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "files.h"
#include "monitor.h"

namespace kubernel::runtime::oci {
namespace {

constexpr std::size_t kPacket = 32 * 1024 + 1;  // conmon's largest, with the byte that names the stream.
constexpr std::size_t kInput = 8 * 1024;        // conmon reads no more of one packet.
constexpr int kTurns = 16;                      // Packets moved before other descriptors get their turn.
constexpr char kStderr = 3;

}  // namespace

Relay::Relay(Poller& poller, RelayOptions options) : poller_(poller), options_(std::move(options)) {}
Relay::~Relay() {
  close();
}

Result<std::shared_ptr<Relay>> Relay::start(Poller& poller, RelayOptions options) {
  std::shared_ptr<Relay> relay(new Relay(poller, std::move(options)));
  KUBERNEL_CHECK_OK(relay->open_pipes());
  const std::lock_guard lock(relay->mutex_);
  relay->watch_socket();
  if (relay->options_.stdin_open) relay->watch_stdin();
  return relay;
}

Result<void> Relay::open_pipes() {
  for (std::size_t i = 0; i < (options_.tty ? 1U : 2U); ++i) {
    std::array<int, 2> fds{};
    if (pipe2(fds.data(), O_CLOEXEC | O_NONBLOCK) != 0) return file_error("make", "a pipe", errno);
    outputs_[i].reader.reset(fds[0]);
    outputs_[i].writer.reset(fds[1]);
  }
  if (!options_.stdin_open) return {};
  std::array<int, 2> fds{};
  if (pipe2(fds.data(), O_CLOEXEC | O_NONBLOCK) != 0) return file_error("make", "a pipe", errno);
  stdin_reader_.reset(fds[0]);
  stdin_writer_.reset(fds[1]);
  return {};
}

// Weak: a relay nobody holds any more must not be kept alive by its own descriptors.
void Relay::watch_socket() {
  if (closed_ || ended_ || socket_watch_) return;
  auto watch = poller_.when_readable(options_.socket.get(), [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->on_socket();
  });
  if (watch) socket_watch_ = *std::move(watch);
}

void Relay::watch_stdin() {
  if (closed_ || !stdin_reader_ || stdin_watch_) return;
  auto watch = poller_.when_readable(stdin_reader_.get(), [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->on_stdin();
  });
  if (watch) stdin_watch_ = *std::move(watch);
}

void Relay::wait_writable(int fd, std::unique_ptr<Subscription>& slot, UniqueFd& epoll, void (Relay::*ready)()) {
  if (closed_) return;
  epoll.reset(epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{};
  event.events = EPOLLOUT;
  epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event);
  auto watch = poller_.when_readable(epoll.get(), [weak = weak_from_this(), ready] {
    if (const auto self = weak.lock()) (*self.*ready)();
  });
  if (watch) slot = *std::move(watch);
}

// True when nothing is left.
bool Relay::flush_output() {
  UniqueFd& writer = outputs_[pending_stream_].writer;
  while (!pending_output_.empty()) {
    const ssize_t written = write(writer.get(), pending_output_.data(), pending_output_.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EAGAIN) return false;
    if (written < 0)
      pending_output_.clear();  // Nobody reads this stream any more.
    else
      pending_output_.erase(0, static_cast<std::size_t>(written));
  }
  return true;
}

void Relay::on_socket() {
  std::unique_ptr<Subscription> dropped;  // Destroyed after the lock.
  {
    const std::lock_guard lock(mutex_);
    if (closed_ || ended_) return;
    std::array<char, kPacket> packet{};
    for (int turn = 0; turn < kTurns; ++turn) {
      const ssize_t got = recv(options_.socket.get(), packet.data(), packet.size(), MSG_DONTWAIT);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0 && errno == EAGAIN) return;
      if (got <= 0) {
        ended_ = true;
        for (Output& output : outputs_) output.writer.reset();
        dropped = std::move(socket_watch_);
        break;
      }
      pending_stream_ = !options_.tty && packet[0] == kStderr ? 1 : 0;
      pending_output_.assign(packet.data() + 1, static_cast<std::size_t>(got) - 1);
      if (!flush_output()) {
        dropped = std::move(socket_watch_);
        wait_writable(outputs_[pending_stream_].writer.get(), output_watch_, output_room_, &Relay::on_output_room);
        break;
      }
    }
  }
  report();
}

void Relay::on_output_room() {
  std::unique_ptr<Subscription> dropped;
  const std::lock_guard lock(mutex_);
  if (closed_ || !flush_output()) return;
  dropped = std::move(output_watch_);
  watch_socket();
}

bool Relay::flush_stdin() {
  while (!pending_input_.empty()) {
    const ssize_t sent =
        send(options_.socket.get(), pending_input_.data(), pending_input_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) return false;
    pending_input_.clear();  // A packet goes whole, or the process is gone.
  }
  return true;
}

void Relay::on_stdin() {
  std::unique_ptr<Subscription> dropped;
  const std::lock_guard lock(mutex_);
  if (closed_ || !stdin_reader_) return;
  std::array<char, kInput> buffer{};
  for (int turn = 0; turn < kTurns; ++turn) {
    const ssize_t got = read(stdin_reader_.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
      shutdown(options_.socket.get(), SHUT_WR);
      dropped = std::move(stdin_watch_);
      return;
    }
    pending_input_.assign(buffer.data(), static_cast<std::size_t>(got));
    if (!flush_stdin()) {
      dropped = std::move(stdin_watch_);
      wait_writable(options_.socket.get(), input_watch_, socket_room_, &Relay::on_socket_room);
      return;
    }
  }
}

void Relay::on_socket_room() {
  std::unique_ptr<Subscription> dropped;
  const std::lock_guard lock(mutex_);
  if (closed_ || !flush_stdin()) return;
  dropped = std::move(input_watch_);
  watch_stdin();
}

int Relay::stdin_fd() const {
  const std::lock_guard lock(mutex_);
  return stdin_writer_.get();
}

void Relay::close_stdin() {
  const std::lock_guard lock(mutex_);
  stdin_writer_.reset();
}

Result<void> Relay::resize(int columns, int rows) {
  if (!options_.tty) return Error(Reason::Invalid, "the session has no terminal");
  constexpr int kMax = 1000;  // conmon ignores larger ones.
  return control(options_.directory,
                 "1 " + std::to_string(std::clamp(rows, 0, kMax)) + " " + std::to_string(std::clamp(columns, 0, kMax)));
}

void Relay::on_exit(std::function<void(int)> exited) {
  {
    const std::lock_guard lock(mutex_);
    exited_ = std::move(exited);
  }
  report();
}

void Relay::set_exit_code(int code) {
  {
    const std::lock_guard lock(mutex_);
    exit_code_ = code;
  }
  report();
}

void Relay::report() {
  std::function<void(int)> exited;
  int code = 0;
  {
    const std::lock_guard lock(mutex_);
    if (closed_ || !ended_ || !exit_code_ || !exited_) return;
    exited = std::exchange(exited_, nullptr);
    code = *exit_code_;
  }
  exited(code);
}

void Relay::close() {
  std::unique_ptr<Subscription> watches[4];
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    exited_ = nullptr;
    watches[0] = std::move(socket_watch_);
    watches[1] = std::move(output_watch_);
    watches[2] = std::move(stdin_watch_);
    watches[3] = std::move(input_watch_);
  }
  // Outside the lock: destroying one waits for its callback, which takes the lock.
}

}  // namespace kubernel::runtime::oci
