// SPDX-License-Identifier: Apache-2.0
#include "core/main/signals.h"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

namespace kubernel::core {
namespace {

// What a signal handler may touch. The pipe stays open until the process ends: a handler may run at any time.
int pipe_ends[2] = {-1, -1};
std::atomic<int> received = 0;
static_assert(std::atomic<int>::is_always_lock_free);

extern "C" void on_stop_signal(int signal) {
  const int saved = errno;
  if (received.fetch_add(1) > 0) _exit(1);
  const char number = static_cast<char>(signal);
  // One byte into an empty pipe cannot fail.
  static_cast<void>(!write(pipe_ends[1], &number, 1));
  errno = saved;
}

extern "C" void on_ignored_signal(int) {}

void handle(int signal, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(signal, &action, nullptr);
}

}  // namespace

StopSignals::StopSignals(Poller& poller, std::function<void(std::string_view)> stop) {
  if (pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK) != 0) {
    std::fprintf(stderr, "kubernel: pipe: %s\n", std::strerror(errno));
    std::abort();
  }
  auto readable = poller.when_readable(pipe_ends[0], [stop = std::move(stop)] {
    char number = 0;
    if (read(pipe_ends[0], &number, 1) == 1) stop(number == SIGINT ? "SIGINT" : "SIGTERM");
  });
  if (!readable) {
    std::fprintf(stderr, "kubernel: %s\n", readable.error().message().c_str());
    std::abort();
  }
  readable_ = *std::move(readable);
  handle(SIGHUP, on_ignored_signal);
  handle(SIGPIPE, on_ignored_signal);
  handle(SIGINT, on_stop_signal);
  handle(SIGTERM, on_stop_signal);
}

StopSignals::~StopSignals() = default;

}  // namespace kubernel::core
