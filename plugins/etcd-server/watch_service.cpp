// SPDX-License-Identifier: Apache-2.0
#include "watch_service.h"

#include <utility>

#include "watch_stream.h"

namespace kubernel::etcd_server {

WatchService::WatchService(ServiceContext& context) : context_(context) {
  tick();
}

WatchService::~WatchService() {
  stop();
}

grpc::ServerBidiReactor<etcdserverpb::WatchRequest, etcdserverpb::WatchResponse>* WatchService::Watch(
    grpc::CallbackServerContext*) {
  auto stream = std::make_shared<WatchStream>(context_);
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(streams_, [](const auto& other) { return other.expired(); });
    streams_.push_back(stream);
  }
  stream->begin();
  return stream.get();
}

void WatchService::tick() {
  std::vector<std::weak_ptr<WatchStream>> streams;
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) return;
    streams = streams_;
    timer_ = context_.clock.call_at(context_.clock.now() + context_.config.progress_interval, [this] { tick(); });
  }
  for (const auto& stream : streams) {
    if (const auto alive = stream.lock()) alive->progress_due();
  }
}

void WatchService::stop() {
  std::unique_ptr<Subscription> last;
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  last = std::move(timer_);
}

}  // namespace kubernel::etcd_server
