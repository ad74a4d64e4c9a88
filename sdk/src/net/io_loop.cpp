// SPDX-License-Identifier: Apache-2.0
#include "net/io_loop.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <system_error>

namespace kubernel::net {
namespace {

constexpr std::uint64_t kWakeKey = ~std::uint64_t{0};

std::uint64_t key_of(int fd, std::uint32_t generation) {
  return static_cast<std::uint64_t>(generation) << 32U | static_cast<std::uint32_t>(fd);
}

}  // namespace

Error errno_error(Reason reason, const std::string& what, int code) {
  return {reason, what + ": " + std::system_category().message(code)};
}

IoLoop::IoLoop() : epoll_(::epoll_create1(EPOLL_CLOEXEC)), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  event.data.u64 = kWakeKey;
  // Out of descriptors before the first connection: nothing in this process can work.
  if (!epoll_ || !wake_ || ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event) != 0) std::abort();

  // Signals are the main thread's business.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_setname_np(thread_.native_handle(), "kubernel-io");
}

void IoLoop::post(std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    posted_.push_back(std::move(task));
    if (posted_.size() > 1) return;  // The first one woke the loop.
  }
  const std::uint64_t one = 1;
  // Fails only when the counter is full, and then the loop is awake.
  [[maybe_unused]] const ssize_t written = ::write(wake_.get(), &one, sizeof one);
}

Result<void> IoLoop::add(int fd, std::shared_ptr<IoHandler> handler) {
  const std::uint32_t generation = ++next_generation_;
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.u64 = key_of(fd, generation);
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    return errno_error(Reason::Internal, "cannot watch a socket", errno);
  }
  entries_[fd] = Entry{std::move(handler), generation};
  return {};
}

void IoLoop::remove(int fd) {
  if (entries_.erase(fd) > 0) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

void IoLoop::dispatch(std::uint64_t key, std::uint32_t events) {
  if (key == kWakeKey) {
    std::uint64_t count = 0;
    [[maybe_unused]] const ssize_t size = ::read(wake_.get(), &count, sizeof count);
    return;
  }
  // An event of this batch may be for a descriptor that was closed, and even reused, since the kernel reported it.
  const auto found = entries_.find(static_cast<int>(key & 0xffffffffU));
  if (found == entries_.end() || found->second.generation != key >> 32U) return;
  const std::shared_ptr<IoHandler> handler = found->second.handler;
  handler->on_ready(events);
}

void IoLoop::run_posted() {
  {
    const std::lock_guard lock(mutex_);
    running_.swap(posted_);
  }
  for (auto& task : running_) {
    task();
    task = nullptr;
  }
  running_.clear();
  // What these add comes with the next ones.
  running_.swap(late_);
  for (auto& task : running_) {
    task();
    task = nullptr;
  }
  running_.clear();
}

void IoLoop::run() {
  std::array<epoll_event, 128> events{};
  for (;;) {
    const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
    if (count < 0 && errno != EINTR) std::abort();
    for (int i = 0; i < count; ++i) {
      dispatch(events[static_cast<std::size_t>(i)].data.u64, events[static_cast<std::size_t>(i)].events);
    }
    run_posted();
  }
}

IoLoop& next_io_loop() {
  // Never destroyed: see the header.
  static const auto* const loops = [] {
    auto* made = new std::vector<std::unique_ptr<IoLoop>>;
    const unsigned count = std::thread::hardware_concurrency() > 4 ? 2 : 1;
    for (unsigned i = 0; i < count; ++i) made->push_back(std::make_unique<IoLoop>());
    return made;
  }();
  static std::atomic<unsigned> turn{0};
  return *(*loops)[turn.fetch_add(1, std::memory_order_relaxed) % loops->size()];
}

}  // namespace kubernel::net
