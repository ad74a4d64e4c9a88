// SPDX-License-Identifier: Apache-2.0
//
// Thread: the only place where a thread is started. Stacks are small, because an idle process has many threads and
// little memory, and every thread has a name that `top -H` shows.

#pragma once

#include <functional>
#include <memory>
#include <string>

#include <pthread.h>

namespace kubernel::core {

// Runs `body` on a thread of its own; the destructor joins. When the thread cannot be created the process ends: nothing
// here can work without it.
class Thread {
 public:
  // `name`: at most 15 characters, which is what the kernel keeps.
  Thread(const std::string& name, std::function<void()> body);
  ~Thread();
  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;

 private:
  pthread_t handle_{};
};

}  // namespace kubernel::core
