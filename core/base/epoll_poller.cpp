// SPDX-License-Identifier: Apache-2.0
#include "core/base/epoll_poller.h"

#include <array>
#include <cerrno>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/base/thread.h"

namespace kubernel::core {
namespace {

constexpr std::uint64_t kWake = 0;
constexpr std::uint32_t kEvents = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT;

int checked(int fd, const char* what) {
  if (fd >= 0) return fd;
  std::fprintf(stderr, "kubernel: %s: %s\n", what, std::strerror(errno));
  std::abort();
}

}  // namespace

struct EpollPoller::State {
  struct Entry {
    int fd;
    std::function<void()> callback;
  };

  State() {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = kWake;
    checked(epoll_ctl(epoll, EPOLL_CTL_ADD, wake, &event), "epoll_ctl");
  }
  ~State() {
    close(wake);
    close(epoll);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  const int epoll = checked(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
  const int wake = checked(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd");
  std::mutex mutex;
  std::condition_variable finished;  // A callback has returned.
  std::map<std::uint64_t, std::shared_ptr<Entry>> entries;
  std::uint64_t next_id = kWake + 1;
  std::optional<std::uint64_t> running;
  std::thread::id runner;
  bool ending = false;
  std::unique_ptr<Thread> thread;

  void run();
  void dispatch(std::unique_lock<std::mutex>& lock, std::uint64_t id);
  void cancel(std::uint64_t id);
};

void EpollPoller::State::run() {
  std::unique_lock lock(mutex);
  runner = std::this_thread::get_id();
  std::array<epoll_event, 32> events{};
  while (!ending) {
    lock.unlock();
    const int count = epoll_wait(epoll, events.data(), static_cast<int>(events.size()), -1);
    if (count < 0 && errno != EINTR) checked(count, "epoll_wait");
    lock.lock();
    for (int i = 0; i < count && !ending; ++i) {
      const std::uint64_t id = events[static_cast<std::size_t>(i)].data.u64;
      if (id != kWake) dispatch(lock, id);
    }
  }
}

void EpollPoller::State::dispatch(std::unique_lock<std::mutex>& lock, std::uint64_t id) {
  const auto found = entries.find(id);
  if (found == entries.end()) return;  // Cancelled after epoll_wait returned.
  std::shared_ptr<Entry> entry = found->second;
  running = id;
  lock.unlock();
  entry->callback();
  lock.lock();
  if (entries.contains(id)) {
    epoll_event event{};
    event.events = kEvents;
    event.data.u64 = id;
    // Fails only when the descriptor was closed against the rules; then there is nothing to wait for.
    static_cast<void>(epoll_ctl(epoll, EPOLL_CTL_MOD, entry->fd, &event));
  } else {
    // Cancelled by its own callback: what it captured goes now, without the lock.
    lock.unlock();
    entry.reset();
    lock.lock();
  }
  running.reset();
  finished.notify_all();
}

void EpollPoller::State::cancel(std::uint64_t id) {
  std::shared_ptr<Entry> dropped;  // Destroyed after the lock is released.
  std::unique_lock lock(mutex);
  const auto found = entries.find(id);
  if (found != entries.end()) {
    dropped = std::move(found->second);
    entries.erase(found);
    epoll_ctl(epoll, EPOLL_CTL_DEL, dropped->fd, nullptr);
  }
  if (running == id && runner != std::this_thread::get_id()) {
    finished.wait(lock, [&] { return running != id; });
  }
  lock.unlock();
}

namespace {

class Readable final : public Subscription {
 public:
  explicit Readable(std::function<void()> cancel) : cancel_(std::move(cancel)) {}
  ~Readable() override { cancel_(); }

 private:
  std::function<void()> cancel_;
};

}  // namespace

EpollPoller::EpollPoller() : state_(std::make_shared<State>()) {}

EpollPoller::~EpollPoller() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->ending = true;
  }
  const std::uint64_t one = 1;
  // Fails only when the counter is full, and then the thread wakes anyway.
  static_cast<void>(!write(state_->wake, &one, sizeof one));
  state_->thread.reset();
}

Result<std::unique_ptr<Subscription>> EpollPoller::when_readable(int fd, std::function<void()> callback) {
  const std::lock_guard lock(state_->mutex);
  const std::uint64_t id = state_->next_id++;
  epoll_event event{};
  event.events = kEvents;
  event.data.u64 = id;
  if (epoll_ctl(state_->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
    return Error(Reason::BadRequest, "descriptor " + std::to_string(fd) + " cannot be polled: " + std::strerror(errno));
  }
  state_->entries.emplace(id, std::make_shared<State::Entry>(State::Entry{fd, std::move(callback)}));
  if (!state_->thread) {
    state_->thread = std::make_unique<Thread>("poller", [state = state_.get()] { state->run(); });
  }
  return std::unique_ptr<Subscription>(std::make_unique<Readable>([state = state_, id] { state->cancel(id); }));
}

}  // namespace kubernel::core
