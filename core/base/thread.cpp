// SPDX-License-Identifier: Apache-2.0
#include "core/base/thread.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace kubernel::core {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::size_t kStackBytes = std::size_t{8} << 20U;  // Sanitizers put red zones into every frame.
#else
constexpr std::size_t kStackBytes = std::size_t{1} << 20U;
#endif

struct Start {
  std::string name;
  std::function<void()> body;
};

void* run(void* argument) {
  const std::unique_ptr<Start> start(static_cast<Start*>(argument));
  pthread_setname_np(pthread_self(), start->name.c_str());
  start->body();
  return nullptr;
}

}  // namespace

Thread::Thread(const std::string& name, std::function<void()> body) {
  auto start = std::make_unique<Start>(Start{name.substr(0, 15), std::move(body)});
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStackBytes);
  const int failure = pthread_create(&handle_, &attributes, run, start.get());
  pthread_attr_destroy(&attributes);
  if (failure != 0) {
    std::fprintf(stderr, "kubernel: cannot start thread %s: %s\n", name.c_str(), std::strerror(failure));
    std::abort();
  }
  static_cast<void>(start.release());  // run() owns it now.
}

Thread::~Thread() {
  pthread_join(handle_, nullptr);
}

}  // namespace kubernel::core
