// SPDX-License-Identifier: Apache-2.0
//
// EpollPoller: one thread that waits for all descriptors of the process. It starts with the first of them.

#pragma once

#include <functional>
#include <memory>

#include <kubernel/base/executor.h>

namespace kubernel::core {

// Subscriptions still held when the poller is destroyed are never called again. Must not be destroyed by a callback.
class EpollPoller final : public Poller {
 public:
  EpollPoller();
  ~EpollPoller() override;

  // Besides what Poller says: BadRequest also when `fd` already has a subscription.
  Result<std::unique_ptr<Subscription>> when_readable(int fd, std::function<void()> callback) override;

 private:
  struct State;
  std::shared_ptr<State> state_;  // Shared with the subscriptions, which may outlive the poller.
};

}  // namespace kubernel::core
