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

void WatchService::add_to(GrpcMethods& methods) {
  methods.add_streaming(ServiceContext::path("Watch", "Watch"), [this](Call call) { return open(std::move(call)); });
}

std::shared_ptr<net::GrpcReceiver> WatchService::open(Call call) {
  auto stream = std::make_shared<WatchStream>(context_, std::move(call));
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(streams_, [](const auto& other) { return other.expired(); });
    streams_.push_back(stream);
  }
  stream->begin();
  return stream;
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
