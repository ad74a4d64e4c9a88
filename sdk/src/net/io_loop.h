// SPDX-License-Identifier: Apache-2.0
//
// IoLoop: the I/O threads of the process, shared by all servers and clients.
//
// Edge-triggered epoll: a descriptor is registered once for both directions, and an idle connection costs neither a
// system call nor a buffer. Everything about a connection happens on its loop's thread; other threads post().

#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include <unistd.h>

#include <kubernel/base/result.h>

namespace kubernel::net {

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  ~UniqueFd() { reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  void reset(int fd = -1) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
  }

 private:
  int fd_ = -1;
};

/// "what: the system's reason".
Error errno_error(Reason reason, const std::string& what, int code);

class IoHandler {
 public:
  virtual ~IoHandler() = default;
  /// `events`: EPOLL* bits, edge-triggered. Called on the loop's thread.
  virtual void on_ready(std::uint32_t events) = 0;
};

class IoLoop {
 public:
  IoLoop();
  IoLoop(const IoLoop&) = delete;
  IoLoop& operator=(const IoLoop&) = delete;

  /// Runs `task` on the loop's thread, in order of posting, never inside this call. Threads: any.
  void post(std::function<void()> task);

  /// Runs `task` once everything that was posted so far has run: what it sends is sent together. Loop thread only.
  void after_posted(std::function<void()> task) { late_.push_back(std::move(task)); }

  /// Watches `fd` for both directions and holds `handler` until remove(). Loop thread only.
  Result<void> add(int fd, std::shared_ptr<IoHandler> handler);
  void remove(int fd);

  /// Where bytes are read into and small writes are joined: valid until the handler returns. Loop thread only.
  std::array<char, 64 * 1024>& input_scratch() { return input_; }
  std::array<char, 16 * 1024>& output_scratch() { return output_; }

 private:
  struct Entry {
    std::shared_ptr<IoHandler> handler;
    std::uint32_t generation = 0;
  };

  void run();
  void run_posted();
  void dispatch(std::uint64_t key, std::uint32_t events);

  UniqueFd epoll_;
  UniqueFd wake_;
  std::mutex mutex_;
  std::vector<std::function<void()>> posted_;
  std::vector<std::function<void()>> running_;
  std::vector<std::function<void()>> late_;  // Loop thread only.
  std::unordered_map<int, Entry> entries_;
  std::uint32_t next_generation_ = 0;
  std::array<char, 64 * 1024> input_{};
  std::array<char, 16 * 1024> output_{};
  std::thread thread_;
};

/// One of the process's loops, in turn. They start with their first use and live as long as the process, because a
/// stream that outlived its server may still post.
IoLoop& next_io_loop();

}  // namespace kubernel::net
