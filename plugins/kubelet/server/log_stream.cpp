// SPDX-License-Identifier: Apache-2.0
#include "server/log_stream.h"

#include <filesystem>

namespace kubernel::kubelet {

namespace {
constexpr std::size_t kMaxBacklog = 1 << 20;
}

LogStream::LogStream(Source source, std::shared_ptr<net::ResponseStream> out, runtime::ContainerAccess& access,
                     FileWatcher* watcher, Tasks& tasks, Logger& log)
    : source_(std::move(source)), out_(std::move(out)), access_(access), watcher_(watcher), tasks_(tasks), log_(log) {}

LogStream::~LogStream() = default;

void LogStream::start() {
  // The stream keeps this alive until it is closed.
  const auto self = shared_from_this();
  const std::weak_ptr<LogStream> weak = self;
  const auto wake_up = [weak] {
    if (const auto alive = weak.lock()) alive->wake();
  };
  if (source_.follow) {
    exits_ = access_.on_exit([weak, id = source_.container_id](const std::string& exited) {
      if (exited != id) return;
      if (const auto alive = weak.lock()) alive->wake();
    });
    if (watcher_ != nullptr) {
      auto watch = watcher_->watch(std::filesystem::path(source_.path).parent_path().string(), wake_up);
      if (watch) {
        changes_ = *std::move(watch);
      } else {
        log_warning(log_, "cannot follow a log", {{"error", watch.error()}});
        source_.follow = false;
      }
    }
  }
  out_->on_drained(wake_up);
  out_->on_closed([self] { self->end(); });
  wake();
}

void LogStream::wake() {
  {
    const std::lock_guard lock(mutex_);
    if (ended_) return;
    if (running_) {
      again_ = true;
      return;
    }
    running_ = true;
  }
  tasks_.run([self = shared_from_this()] { self->pump(); });
}

bool LogStream::container_runs() {
  const auto status = access_.status(tasks_.context(), source_.container_id);
  return status && status->state == runtime::State::Running;
}

void LogStream::pump() {
  for (;;) {
    {
      const std::lock_guard lock(mutex_);
      if (ended_) return;
      again_ = false;
    }
    bool finished = false;
    while (out_->backlog() < kMaxBacklog) {
      // Asked before reading: what was written before an exit is then in the file.
      const bool more_may_come = source_.follow && container_runs();
      auto text = source_.log->read();
      if (text && text->empty() && source_.follow) {
        source_.log->follow_rotation();
        text = source_.log->read();
      }
      if (!text) {
        log_warning(log_, "cannot read a log", {{"error", text.error()}});
        finished = true;
        break;
      }
      if (!text->empty()) {
        if (!out_->write(std::make_shared<const std::string>(*std::move(text)))) return end();
        if (source_.log->exhausted()) finished = true;
        if (finished) break;
        continue;
      }
      finished = !more_may_come || source_.log->exhausted();
      break;
    }
    if (finished) {
      out_->finish();
      return end();
    }
    const std::lock_guard lock(mutex_);
    if (!again_) {
      running_ = false;
      return;
    }
  }
}

void LogStream::end() {
  std::unique_ptr<Subscription> changes, exits;
  const std::lock_guard lock(mutex_);
  ended_ = true;
  changes = std::move(changes_);
  exits = std::move(exits_);
}

}  // namespace kubernel::kubelet
