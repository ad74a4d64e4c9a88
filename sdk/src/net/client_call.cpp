// SPDX-License-Identifier: Apache-2.0
#include "net/client_call.h"

#include <algorithm>

#include "net/http_text.h"

namespace kubernel::net {

Result<void> Waitable::wait(const CallContext& ctx, Clock& clock, const std::string& what) {
  {
    const std::lock_guard lock(mutex_);
    expired_ = false;
  }
  const auto wake = [weak = weak_from_this()](bool expired) {
    const auto self = weak.lock();
    if (!self) return;
    const std::lock_guard lock(self->mutex_);
    self->expired_ = self->expired_ || expired;
    self->changed_.notify_all();
  };
  // Both are made and destroyed without the lock: they may call back at once, and wait for a callback that runs.
  const std::stop_callback on_stop(ctx.stop, [&] { wake(false); });
  std::unique_ptr<Subscription> timer;
  if (ctx.deadline != CallContext::Clock::time_point::max()) {
    if (ctx.deadline <= clock.now()) wake(true);
    timer = clock.call_at(ctx.deadline, [wake] { wake(true); });
  }
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return ready() || ctx.stopping() || expired_; });
  const bool done = ready();
  lock.unlock();
  if (done) return {};
  if (ctx.stopping()) return Error(Reason::Cancelled, "stopped while waiting for " + what);
  return Error(Reason::Timeout, "timed out waiting for " + what);
}

Result<Target> parse_url(const std::string& url) {
  const Error malformed(Reason::BadRequest, "\"" + url + "\" is not a URL like https://host:port/path");
  Target target;
  std::string_view rest = url;
  if (rest.starts_with("unix://")) {
    rest.remove_prefix(7);
    const std::size_t colon = rest.find(":/");
    target.unix_socket = true;
    target.host = rest.substr(0, colon);
    target.path = colon == std::string_view::npos ? "/" : std::string(rest.substr(colon + 1));
    target.authority = "localhost";
    if (!target.host.starts_with('/')) return malformed;
  } else {
    target.secure = rest.starts_with("https://");
    if (!target.secure && !rest.starts_with("http://")) return malformed;
    rest.remove_prefix(target.secure ? 8 : 7);
    const std::size_t slash = std::min(rest.find_first_of("/?#"), rest.size());
    target.authority = rest.substr(0, slash);
    target.path = rest.substr(slash);
    if (!target.path.starts_with('/')) target.path.insert(0, "/");
    std::string_view host = target.authority;
    const std::size_t bracket = host.rfind(']');
    const std::size_t colon = host.rfind(':');
    const bool with_port = colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket);
    target.port = with_port ? std::string(host.substr(colon + 1)) : (target.secure ? "443" : "80");
    if (with_port) host = host.substr(0, colon);
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    target.host = host;
    const auto port = parse_decimal(target.port);
    if (host.empty() || !port || *port > 65535 || host.find('@') != std::string_view::npos) return malformed;
  }
  target.path = target.path.substr(0, target.path.find('#'));
  const auto printable = [](char c) { return static_cast<unsigned char>(c) > 0x20 && c != 0x7f; };
  if (!std::ranges::all_of(target.path, printable) || !std::ranges::all_of(target.authority, printable))
    return malformed;
  return target;
}

void ClientCall::post(std::function<void(ClientCall&)> work) {
  std::shared_ptr<Channel> channel;
  {
    const std::lock_guard lock(mutex_);
    channel = channel_;
  }
  if (channel) channel->post([self = self(), work = std::move(work)] { work(*self); });
}

void ClientCall::on_data(DataCallback data) {
  {
    const std::lock_guard lock(mutex_);
    std::swap(data_, data);
  }
  post([](ClientCall& call) { call.deliver(); });
}

void ClientCall::pause(bool paused) {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(paused_, paused) == paused) return;
  }
  if (!paused) post([](ClientCall& call) { call.deliver(); });
}

void ClientCall::cancel() {
  DataCallback dropped;
  {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
    std::swap(dropped, data_);
  }
  post([](ClientCall& call) {
    if (call.link_ != nullptr) call.link_->cancel(call);
  });
}

bool ClientCall::cancelled() const {
  const std::lock_guard lock(mutex_);
  return cancelled_;
}

std::optional<Error> ClientCall::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

Retry ClientCall::retry() const {
  const std::lock_guard lock(mutex_);
  return retry_;
}

int ClientCall::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

std::shared_ptr<RawStream> ClientCall::take_upgraded() {
  const std::lock_guard lock(mutex_);
  return std::move(upgraded_);
}

void ClientCall::attach(ClientLink* link, std::shared_ptr<Channel> channel) {
  link_ = link;
  const std::lock_guard lock(mutex_);
  channel_ = std::move(channel);
}

void ClientCall::head(int status, Headers headers) {
  const std::lock_guard lock(mutex_);
  status_ = status;
  headers_ = std::move(headers);
  head_ready_ = true;
  notify();
}

void ClientCall::upgraded(Headers headers, std::shared_ptr<RawStream> stream) {
  ended_ = true;
  const std::lock_guard lock(mutex_);
  status_ = 101;
  headers_ = std::move(headers);
  upgraded_ = std::move(stream);
  head_ready_ = true;
  notify();
}

void ClientCall::data(std::string_view bytes) {
  if (kept_.empty() && !delivering_) {
    DataCallback callback;
    {
      const std::lock_guard lock(mutex_);
      if (!paused_) callback = data_;
    }
    if (callback) {
      callback(bytes, nullptr);
      if (link_ != nullptr) link_->taken(*this, bytes.size());
      return;
    }
  }
  kept_.append(bytes);
}

void ClientCall::finish() {
  ended_ = true;
  link_ = nullptr;
  deliver();
}

void ClientCall::fail(Error why, Retry retry) {
  if (ended_) return;
  ended_ = true;
  link_ = nullptr;
  {
    const std::lock_guard lock(mutex_);
    failure_ = std::move(why);
    retry_ = retry;
    notify();
  }
  deliver();
}

// True when a piece, or the end, was handed to the user.
bool ClientCall::deliver_once() {
  DataCallback callback;
  DataCallback dropped;
  std::optional<Error> failure;
  {
    const std::lock_guard lock(mutex_);
    if (paused_ || !data_ || end_told_ || (kept_.empty() && !ended_)) return false;
    callback = data_;
    if (kept_.empty()) {
      end_told_ = true;
      failure = failure_;
      std::swap(dropped, data_);
    }
  }
  const std::string bytes = std::exchange(kept_, {});
  callback(bytes, failure ? &*failure : nullptr);
  if (link_ != nullptr && !bytes.empty()) link_->taken(*this, bytes.size());
  return true;
}

void ClientCall::deliver() {
  if (delivering_) return;
  delivering_ = true;
  while (deliver_once()) {
  }
  delivering_ = false;
}

std::shared_ptr<ClientConnection> ConnectionPool::find(Slot& slot) {
  // A connection may have been closed before it was put here.
  std::erase_if(slot.usable, [](const auto& one) { return one->closed.load(); });
  for (const auto& connection : slot.usable) {
    if (connection->calls >= (connection->http2 ? connection->max_calls : 1)) continue;
    ++connection->calls;
    return connection;
  }
  return nullptr;
}

Result<std::shared_ptr<ClientConnection>> ConnectionPool::acquire(const std::string& key, bool shareable,
                                                                  const CallContext& ctx, Clock& clock) {
  for (;;) {
    const auto knock = std::make_shared<Knock>();
    {
      const std::lock_guard lock(mutex_);
      Slot& slot = slots_[key];
      if (auto found = find(slot)) return found;
      if (!shareable || slot.speaks_http1 || slot.dialing == 0) {
        ++slot.dialing;
        return std::shared_ptr<ClientConnection>();
      }
      slot.waiting.push_back(knock);
    }
    KUBERNEL_CHECK_OK(knock->wait(ctx, clock, "a connection to " + key.substr(2)));
  }
}

void ConnectionPool::ended_dialing(Slot& slot) {
  --slot.dialing;
  for (const auto& knock : std::exchange(slot.waiting, {})) knock->knock();
}

void ConnectionPool::dialed(const std::shared_ptr<ClientConnection>& connection) {
  const std::lock_guard lock(mutex_);
  Slot& slot = slots_[connection->key];
  slot.speaks_http1 = !connection->http2;
  connection->calls = 1;
  slot.usable.push_back(connection);
  ended_dialing(slot);
}

void ConnectionPool::dial_failed(const std::string& key) {
  const std::lock_guard lock(mutex_);
  ended_dialing(slots_[key]);
}

void ConnectionPool::release(ClientConnection& connection) {
  const std::lock_guard lock(mutex_);
  if (connection.calls > 0) --connection.calls;
  connection.reused = true;
}

void ConnectionPool::forget(const ClientConnection& connection) {
  const std::lock_guard lock(mutex_);
  const auto found = slots_.find(connection.key);
  if (found == slots_.end()) return;
  std::erase_if(found->second.usable, [&](const auto& one) { return one.get() == &connection; });
  if (found->second.usable.empty() && found->second.dialing == 0) slots_.erase(found);
}

void ConnectionPool::set_max_calls(ClientConnection& connection, std::uint32_t max_calls) {
  const std::lock_guard lock(mutex_);
  connection.max_calls = max_calls;
}

}  // namespace kubernel::net
