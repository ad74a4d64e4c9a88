// SPDX-License-Identifier: Apache-2.0
#include <kubernel/base/alarm.h>

namespace kubernel {

void Alarm::set(const std::function<std::unique_ptr<Subscription>()>& arm) {
  std::uint64_t mine = 0;
  {
    const std::lock_guard lock(mutex_);
    mine = ++newest_;
  }
  auto timer = arm();
  // What is not kept is destroyed after the lock is released.
  const std::lock_guard lock(mutex_);
  if (mine == newest_) timer_.swap(timer);
}

void Alarm::cancel() {
  std::unique_ptr<Subscription> timer;
  const std::lock_guard lock(mutex_);
  ++newest_;
  timer_.swap(timer);
}

}  // namespace kubernel
