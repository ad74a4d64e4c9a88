// SPDX-License-Identifier: Apache-2.0
#include "child_signals.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>

#include "files.h"

namespace kubernel::cluster {

Result<ChildSignals> ChildSignals::open() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGCHLD}) sigaddset(&signals, signal);
  if (sigprocmask(SIG_BLOCK, &signals, nullptr) != 0) return system_error("block", "signals");
  UniqueFd fd(signalfd(-1, &signals, SFD_CLOEXEC));
  if (!fd) return system_error("open", "signalfd");
  return ChildSignals(std::move(fd));
}

std::optional<int> ChildSignals::next(std::optional<std::chrono::milliseconds> timeout) {
  pollfd waiting{fd_.get(), POLLIN, 0};
  if (poll(&waiting, 1, timeout ? static_cast<int>(timeout->count()) : -1) <= 0) return std::nullopt;
  signalfd_siginfo info{};
  if (read(fd_.get(), &info, sizeof(info)) != static_cast<ssize_t>(sizeof(info))) return std::nullopt;
  return static_cast<int>(info.ssi_signo);
}

}  // namespace kubernel::cluster
