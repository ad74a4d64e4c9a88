// SPDX-License-Identifier: Apache-2.0
//
// ImagePuller: gets a container's image by its pull policy, without holding the pod's worker.

#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <kubernel/api/object.h>
#include <kubernel/base/result.h>
#include <kubernel/runtime/container_runtime.h>

#include "tasks.h"

namespace kubernel::kubelet {

// One pull, and what came of it. Threads: result() from any.
class Pull {
 public:
  // Absent while it runs.
  std::optional<Result<runtime::Image>> result() const;
  Clock::TimePoint started_at() const { return started_at_; }
  Clock::TimePoint finished_at() const;

 private:
  friend class ImagePuller;
  mutable std::mutex mutex_;
  std::optional<Result<runtime::Image>> result_;
  Clock::TimePoint started_at_, finished_at_;
};

// At most `parallel` pulls at once; others wait in order. Threads: all members may be called concurrently.
class ImagePuller {
 public:
  ImagePuller(runtime::ImageStore& images, Tasks& tasks, int parallel);

  runtime::ImageStore& images() { return images_; }
  // Tries each of `credentials` in turn (none: anonymously), as upstream's keyring. `done` is called on a pool thread.
  std::shared_ptr<Pull> pull(const std::string& reference, std::vector<runtime::Credentials> credentials,
                             std::function<void()> done);

 private:
  void next();

  struct Waiting {
    std::shared_ptr<Pull> pull;
    std::string reference;
    std::vector<runtime::Credentials> credentials;
    std::function<void()> done;
  };
  void run(Waiting& job);

  runtime::ImageStore& images_;
  Tasks& tasks_;
  const int parallel_;
  std::mutex mutex_;
  int running_ = 0;
  std::deque<Waiting> queue_;
};

// The host a reference is pulled from ("docker.io" when it names none).
std::string registry_of(std::string_view reference);
// Whether `reference` can be parsed; the message says what is wrong with it, empty when nothing.
std::string reference_problem(std::string_view reference);

// The credentials for `reference` in a kubernetes.io/dockerconfigjson (or dockercfg) secret.
// Errors: Invalid when the document cannot be read; never repeats it.
Result<std::vector<runtime::Credentials>> credentials_in(const api::Object& secret, std::string_view reference);

}  // namespace kubernel::kubelet
