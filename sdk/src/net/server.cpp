// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <openssl/crypto.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <future>
#include <map>

#include "net/address.h"
#include "net/grpc_stream.h"
#include "net/http2_session.h"
#include "net/http_text.h"
#include "net/server_stream.h"

namespace kubernel::net {
namespace {

// How a TLS record with a handshake begins.
constexpr std::string_view kTlsHandshake = "\x16\x03";

// The first protocol of a connection: finds out which HTTP the client speaks.
class Greeter final : public Protocol {
 public:
  Greeter(std::shared_ptr<ServerCore> core, std::shared_ptr<Channel> channel, std::string peer)
      : core_(std::move(core)), channel_(std::move(channel)), peer_(std::move(peer)) {}

  void on_open() override {
    if (channel_->alpn() == "h2") return choose(true);
    if (channel_->alpn() == "http/1.1") return choose(false);
  }
  void on_input(std::string_view bytes) override {
    begun_.append(bytes);
    if (!channel_->secure() && begun_.starts_with(kTlsHandshake)) return refuse_tls();
    const std::size_t known = std::min(begun_.size(), kHttp2Preface.size());
    if (std::string_view(begun_).substr(0, known) != kHttp2Preface.substr(0, known)) return choose(false);
    if (known == kHttp2Preface.size()) choose(true);
  }
  void on_peer_closed() override { channel_->close_after_sending(); }
  void on_drain() override { channel_->close_after_sending(); }
  void on_timeout() override { channel_->abort(Error(Reason::Timeout, "slow client")); }
  void on_closed(const Error* why) override {
    if (why != nullptr) log_debug(core_->context.log, "connection failed", {{"peer", peer_}, {"error", *why}});
  }

 private:
  // Without an answer the client would wait for one until the head's time is up.
  void refuse_tls() {
    channel_->send("HTTP/1.0 400 Bad Request\r\n\r\nClient sent a TLS handshake to a server that speaks plain HTTP.\n");
    channel_->close_while_peer_sends();
  }

  void choose(bool http2) {
    Peer peer{peer_, channel_->verified_peer()};
    auto protocol = !http2        ? make_http1_server(core_, channel_, std::move(peer))
                    : core_->grpc ? make_grpc_server(core_, channel_)
                                  : make_http2_server(core_, channel_, std::move(peer));
    channel_->replace_protocol(std::move(protocol), std::move(begun_));
  }

  const std::shared_ptr<ServerCore> core_;
  const std::shared_ptr<Channel> channel_;
  const std::string peer_;
  std::string begun_;
};

struct Series {
  explicit Series(Metrics& metrics)
      : accepted(metrics.counter("net_server_connections_accepted_total", "Connections accepted.", {})),
        refused(
            metrics.counter("net_server_connections_refused_total", "Connections closed because of the limit.", {})),
        open(metrics.gauge("net_server_connections_open", "Connections open.", {})) {}
  Counter& accepted;
  Counter& refused;
  Gauge& open;
};

// The connections of one server, so that shutdown can speak to them.
class Connections {
 public:
  void add(const std::shared_ptr<Channel>& channel) {
    const std::lock_guard lock(mutex_);
    channels_.emplace(channel.get(), channel);
  }
  void remove(const Channel* channel) {
    const std::lock_guard lock(mutex_);
    channels_.erase(channel);
  }
  std::size_t count() const {
    const std::lock_guard lock(mutex_);
    return channels_.size();
  }
  void each(const std::function<void(const std::shared_ptr<Channel>&)>& visit) const {
    std::vector<std::shared_ptr<Channel>> channels;
    {
      const std::lock_guard lock(mutex_);
      for (const auto& [key, weak] : channels_) {
        if (auto channel = weak.lock()) channels.push_back(std::move(channel));
      }
    }
    for (const auto& channel : channels) visit(channel);
  }

 private:
  mutable std::mutex mutex_;
  std::map<const Channel*, std::weak_ptr<Channel>> channels_;
};

// What listeners and connections share with the Server object, whichever lives longer.
struct Shared {
  Shared(std::shared_ptr<ServerCore> made, TlsContext context)
      : core(std::move(made)), series(core->context.metrics), tls(std::move(context)) {}

  TlsContext current_tls() {
    const std::lock_guard lock(mutex);
    return tls;
  }

  const std::shared_ptr<ServerCore> core;
  Series series;
  Connections connections;
  std::mutex mutex;
  TlsContext tls;
};

void begin_connection(const std::shared_ptr<Shared>& shared, IoLoop& loop, UniqueFd fd, std::string peer) {
  tune_connection(fd.get());
  std::unique_ptr<TlsSession> tls;
  if (auto context = shared->current_tls()) tls = std::make_unique<TlsSession>(std::move(context), fd.get(), true);
  ServerCore& core = *shared->core;
  auto channel = std::make_shared<Channel>(loop, core.context.clock, std::move(fd), std::move(tls));
  channel->set_stall_limit(core.limits.idle_timeout);
  shared->connections.add(channel);
  shared->series.accepted.add(1);
  shared->series.open.add(1);
  auto released = [shared, key = channel.get(), pass = Gate::enter(core.connections)] {
    shared->series.open.add(-1);
    shared->connections.remove(key);
  };
  loop.post([shared, channel, peer = std::move(peer), released = std::move(released)]() mutable {
    auto greeter = std::make_unique<Greeter>(shared->core, channel, std::move(peer));
    channel->set_deadline(channel->clock().now() + shared->core->limits.header_timeout);
    channel->start(std::move(greeter), std::move(released));
    if (shared->core->draining) channel->drain();
  });
}

class Listener final : public IoHandler {
 public:
  Listener(std::shared_ptr<Shared> shared, UniqueFd fd)
      : shared_(std::move(shared)), fd_(std::move(fd)), spare_(::open("/dev/null", O_RDONLY | O_CLOEXEC)) {}

  int fd() const { return fd_.get(); }
  void close() { fd_.reset(); }

  void on_ready(std::uint32_t) override {
    while (fd_) {
      Address peer;
      peer.size = sizeof peer.storage;
      UniqueFd fd(::accept4(fd_.get(), peer.get(), &peer.size, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!fd) {
        if (errno == EMFILE || errno == ENFILE) {
          if (refuse_without_descriptors()) continue;
        } else if (errno == ECONNABORTED || errno == EINTR) {
          continue;
        }
        return;
      }
      if (shared_->connections.count() >= shared_->core->limits.max_connections) {
        shared_->series.refused.add(1);
        continue;  // Closing it at once is all that can be afforded.
      }
      begin_connection(shared_, next_io_loop(), std::move(fd), to_text(peer));
    }
  }

 private:
  // With no descriptor left, a waiting connection cannot even be closed: one is kept in reserve for that.
  bool refuse_without_descriptors() {
    log_warning(shared_->core->context.log, "out of file descriptors, connection refused");
    shared_->series.refused.add(1);
    spare_.reset();
    UniqueFd refused(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    const bool went_on = static_cast<bool>(refused);
    refused.reset();
    spare_.reset(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    return went_on;
  }

  const std::shared_ptr<Shared> shared_;
  UniqueFd fd_;
  UniqueFd spare_;
};

class HttpServer final : public Server {
 public:
  HttpServer(std::shared_ptr<Shared> shared, std::unique_ptr<ServerTls> tls)
      : shared_(std::move(shared)), tls_(std::move(tls)) {
    if (tls_) tls_->identity = {};  // The key has done its work.
  }

  ~HttpServer() override {
    CallContext now;
    now.deadline = CallContext::Clock::time_point::min();
    shutdown(now);
  }

  void listen(UniqueFd fd) {
    addresses_.push_back(to_text(local_address(fd.get())));
    auto listener = std::make_shared<Listener>(shared_, std::move(fd));
    listeners_.push_back(listener);
    loop_.post([listener, &loop = loop_, &log = shared_->core->context.log] {
      if (auto added = loop.add(listener->fd(), listener); !added)
        log_error(log, "cannot listen", {{"error", added.error()}});
    });
  }

  std::vector<std::string> addresses() const override { return addresses_; }

  Result<void> replace_identity(const TlsIdentity& identity) override {
    if (!tls_) return Error(Reason::Invalid, "the server speaks no TLS");
    ServerTls changed = *tls_;
    changed.identity = identity;
    KUBERNEL_TRY(TlsContext context, make_server_context(changed));
    const std::lock_guard lock(shared_->mutex);
    shared_->tls.swap(context);
    return {};
  }

  void shutdown(const CallContext& ctx) override;

 private:
  void stop_listening();

  const std::shared_ptr<Shared> shared_;
  const std::unique_ptr<ServerTls> tls_;  // Without an identity. Null: plain text.
  IoLoop& loop_ = next_io_loop();
  std::vector<std::shared_ptr<Listener>> listeners_;
  std::vector<std::string> addresses_;
  std::mutex shutdown_mutex_;
};

void HttpServer::stop_listening() {
  std::promise<void> stopped;
  loop_.post([&] {
    for (const auto& listener : listeners_) {
      loop_.remove(listener->fd());
      listener->close();
    }
    stopped.set_value();
  });
  stopped.get_future().wait();
  listeners_.clear();
}

void HttpServer::shutdown(const CallContext& ctx) {
  const std::lock_guard one_at_a_time(shutdown_mutex_);
  ServerCore& core = *shared_->core;
  stop_listening();
  core.draining = true;
  shared_->connections.each([](const auto& channel) { channel->post([channel] { channel->drain(); }); });

  const auto break_all = [shared = shared_] {
    shared->connections.each([](const auto& channel) { channel->post([channel] { channel->abort(std::nullopt); }); });
  };
  const std::stop_callback on_stop(ctx.stop, break_all);
  std::unique_ptr<Subscription> timer;
  if (ctx.deadline <= core.context.clock.now()) {
    break_all();
  } else if (ctx.deadline != CallContext::Clock::time_point::max()) {
    timer = core.context.clock.call_at(ctx.deadline, break_all);
  }
  core.connections->wait_empty();
  core.handlers->wait_empty();
}

Result<UniqueFd> take_over(int fd) {
  UniqueFd owned(fd);
  int listening = 0;
  socklen_t size = sizeof listening;
  if (::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0 || listening == 0) {
    return Error(Reason::Invalid, "inherited descriptor " + std::to_string(fd) + " is not a listening socket");
  }
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 || ::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
    return errno_error(Reason::Internal, "cannot use inherited descriptor " + std::to_string(fd), errno);
  }
  return owned;
}

}  // namespace

Result<std::unique_ptr<Server>> open_server(const NetContext& context, ServerOptions options, Handler handler) {
  // Here rather than at the first use: OpenSSL 3.0 never frees what it keeps of a worker thread that happens to
  // initialize it.
  OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG, nullptr);
  TlsContext tls;
  if (options.tls) {
    KUBERNEL_TRY(tls, make_server_context(*options.tls));
  }
  std::vector<UniqueFd> sockets;
  for (const std::string& text : options.listen) {
    KUBERNEL_TRY(UniqueFd fd, listen_on(text));
    sockets.push_back(std::move(fd));
  }
  for (const int fd : options.inherited_fds) {
    KUBERNEL_TRY(UniqueFd owned, take_over(fd));
    sockets.push_back(std::move(owned));
  }
  if (sockets.empty()) return Error(Reason::Invalid, "a server needs an address to listen on");
  auto core = std::make_shared<ServerCore>(context, options.limits, std::move(handler), std::move(options.grpc));
  auto server =
      std::make_unique<HttpServer>(std::make_shared<Shared>(std::move(core), std::move(tls)), std::move(options.tls));
  for (UniqueFd& fd : sockets) server->listen(std::move(fd));
  return std::unique_ptr<Server>(std::move(server));
}

}  // namespace kubernel::net
