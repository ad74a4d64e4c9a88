// SPDX-License-Identifier: Apache-2.0
#include "service_context.h"

#include <string_view>

namespace kubernel::etcd_server {

namespace {

// FNV-1a: the same name is the same id after a restart.
std::uint64_t id_of(std::string_view text) {
  std::uint64_t hash = 14695981039346656037U;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211U;
  return hash;
}

}  // namespace

ServiceContext::ServiceContext(const Config& c, storage::Backend& s, Clock& k, Executor& b, Logger& l, Metrics& m)
    : config(c),
      store(s),
      clock(k),
      blocking(b),
      log(l),
      metrics(m),
      identity{id_of("cluster " + c.name), id_of("member " + c.name)},
      watchers(m.gauge("kubernel_etcd_server_watchers", "Watches on those streams.", {})),
      events(m.counter("kubernel_etcd_server_watch_events_total", "Events sent to watches.", {})),
      streams_(m.gauge("kubernel_etcd_server_streams", "Open watch and keep-alive streams.", {})) {
  if (auto* many = dynamic_cast<storage::BatchWriter*>(&store)) {
    collector_.emplace(*many, blocking, CallContext{.stop = stop_.get_token()});
  }
}

void ServiceContext::count(const char* method, const GrpcStatus& status) {
  Counter* counter = nullptr;
  {
    const std::lock_guard lock(handled_mutex_);
    Counter*& known = handled_[{method, status.code}];
    if (known == nullptr) {
      known = &metrics.counter("grpc_server_handled_total", "RPCs completed by the server, with their outcome.",
                               {{"grpc_method", method}, {"grpc_code", std::string(to_string(status.code))}});
    }
    counter = known;
  }
  counter->add(1);
}

GrpcStatus ServiceContext::still_wanted(const GrpcCall& call) const {
  const CallContext& ctx = call.context();
  if (ctx.stop.stop_requested()) return {GrpcCode::Cancelled, ""};
  if (ctx.deadline == CallContext::Clock::time_point::max() || clock.now() < ctx.deadline) return {};
  return status_of(Error(Reason::Timeout, "the deadline has passed"));
}

void ServiceContext::opened(const std::shared_ptr<Stream>& stream) {
  streams_.add(1);
  bool close = false;
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(open_, [](const auto& other) { return other.expired(); });
    open_.push_back(stream);
    ++open_count_;
    close = closing_;
  }
  if (close) stream->close();
}

void ServiceContext::over() {
  streams_.add(-1);
  const std::lock_guard lock(mutex_);
  if (--open_count_ == 0) none_left_.notify_all();
}

void ServiceContext::close_streams() {
  std::vector<std::weak_ptr<Stream>> open;
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    open.swap(open_);
  }
  for (const auto& stream : open) {
    if (const auto alive = stream.lock()) alive->close();
  }
}

void ServiceContext::wait_for_streams() {
  std::unique_lock lock(mutex_);
  none_left_.wait(lock, [this] { return open_count_ == 0; });
}

Result<storage::Revision> ServiceContext::revision(const CallContext& ctx) const {
  KUBERNEL_TRY(const auto stats, store.stats(ctx));
  return stats.revision;
}

}  // namespace kubernel::etcd_server
