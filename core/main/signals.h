// SPDX-License-Identifier: Apache-2.0
//
// StopSignals: SIGTERM and SIGINT as calls on the poller's thread.
//
// Handlers, not signal masks or SIG_IGN: both of those would be inherited by every program the process runs.

#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include <kubernel/base/executor.h>

namespace kubernel::core {

class StopSignals {
 public:
  // `stop` receives the signal's name, once; a second signal ends the process at once with exit code 1, whatever it is
  // doing. SIGHUP and SIGPIPE do nothing. One object per process.
  StopSignals(Poller& poller, std::function<void(std::string_view signal)> stop);
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

 private:
  std::unique_ptr<Subscription> readable_;
};

}  // namespace kubernel::core
