// SPDX-License-Identifier: Apache-2.0
#include "server/file_watcher.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

namespace kubernel::kubelet {

namespace {
constexpr std::uint32_t kEvents = IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_CLOSE_WRITE | IN_DELETE_SELF;
}  // namespace

class FileWatcher::Watch final : public Subscription {
 public:
  Watch(FileWatcher& owner, int descriptor, std::uint64_t id) : owner_(owner), descriptor_(descriptor), id_(id) {}
  ~Watch() override { owner_.end(descriptor_, id_); }

 private:
  FileWatcher& owner_;
  int descriptor_;
  std::uint64_t id_;
};

Result<std::unique_ptr<FileWatcher>> FileWatcher::open(Poller& poller) {
  const int fd = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (fd < 0) return Error(Reason::Internal, std::string("inotify: ") + std::strerror(errno));
  std::unique_ptr<FileWatcher> out(new FileWatcher(fd));
  KUBERNEL_TRY(out->readable_, poller.when_readable(fd, [raw = out.get()] { raw->read_events(); }));
  return out;
}

FileWatcher::~FileWatcher() {
  readable_.reset();
  ::close(fd_);
}

Result<std::unique_ptr<Subscription>> FileWatcher::watch(const std::string& directory, std::function<void()> changed) {
  const std::lock_guard lock(mutex_);
  const int descriptor = ::inotify_add_watch(fd_, directory.c_str(), kEvents);
  if (descriptor < 0) return Error(Reason::Internal, directory + ": inotify: " + std::strerror(errno));
  const std::uint64_t id = next_id_++;
  watches_[descriptor].emplace(id, std::move(changed));
  return std::unique_ptr<Subscription>(std::make_unique<Watch>(*this, descriptor, id));
}

void FileWatcher::end(int descriptor, std::uint64_t id) {
  const std::lock_guard lock(mutex_);
  const auto at = watches_.find(descriptor);
  if (at == watches_.end()) return;
  at->second.erase(id);
  if (!at->second.empty()) return;
  watches_.erase(at);
  ::inotify_rm_watch(fd_, descriptor);
}

void FileWatcher::read_events() {
  alignas(inotify_event) char buffer[4096];
  for (ssize_t n = 0; (n = ::read(fd_, buffer, sizeof buffer)) > 0;) {
    for (ssize_t at = 0; at < n;) {
      inotify_event event{};
      std::memcpy(&event, buffer + at, sizeof event);
      at += static_cast<ssize_t>(sizeof event + event.len);
      const std::lock_guard lock(mutex_);
      const auto found = watches_.find(event.wd);
      if (found == watches_.end()) continue;
      const auto callbacks = found->second;  // A callback may change the map.
      for (const auto& [id, changed] : callbacks) changed();
    }
  }
}

}  // namespace kubernel::kubelet
