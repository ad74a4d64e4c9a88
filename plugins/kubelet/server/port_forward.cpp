// SPDX-License-Identifier: Apache-2.0
#include "server/port_forward.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <deque>

namespace kubernel::kubelet {

namespace {

constexpr std::size_t kBlock = 32 * 1024;
constexpr std::size_t kMaxBacklog = 1 << 20;
constexpr std::size_t kMaxInput = 1 << 20;
constexpr int kWriteWaitMs = 200;

Error system_error(const std::string& what) {
  return Error(Reason::ServiceUnavailable, what + ": " + std::strerror(errno));
}

// A socket made in another network namespace. Sockets stay where they were made, so the thread goes there and comes
// back.
Result<int> socket_in(const std::string& path, int family) {
  if (path.empty()) {
    const int fd = ::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return system_error("socket");
    return fd;
  }
  const int target = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (target < 0) return system_error(path);
  const int home = ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  int fd = -1;
  Error error = system_error("/proc/thread-self/ns/net");
  if (home >= 0 && ::setns(target, CLONE_NEWNET) == 0) {
    fd = ::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    error = system_error("socket");
    // A pool thread must never stay in a pod's network: everything after would run there.
    if (::setns(home, CLONE_NEWNET) != 0) std::abort();
  } else if (home >= 0) {
    error = system_error(path);
  }
  ::close(target);
  if (home >= 0) ::close(home);
  if (fd < 0) return error;
  return fd;
}

Result<void> connect_to(int fd, const sockaddr* address, socklen_t size, const Clock& clock,
                        Clock::TimePoint deadline) {
  if (::connect(fd, address, size) == 0) return {};
  if (errno != EINPROGRESS) return system_error("connect");
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - clock.now()).count();
  pollfd waiting{fd, POLLOUT, 0};
  if (left <= 0 || ::poll(&waiting, 1, static_cast<int>(left)) <= 0)
    return Error(Reason::ServiceUnavailable, "connect: i/o timeout");
  int code = 0;
  socklen_t length = sizeof code;
  if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &length) != 0) code = errno;
  if (code == 0) return {};
  errno = code;
  return system_error("connect");
}

}  // namespace

Result<int> dial_in_namespace(const std::string& path, int port, const Clock& clock, std::chrono::seconds timeout) {
  const auto deadline = clock.now() + timeout;
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(static_cast<std::uint16_t>(port));
  v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = v4.sin_port;
  v6.sin6_addr = in6addr_loopback;
  const std::pair<const sockaddr*, socklen_t> both[] = {{reinterpret_cast<const sockaddr*>(&v4), sizeof v4},
                                                        {reinterpret_cast<const sockaddr*>(&v6), sizeof v6}};
  std::optional<Error> first;
  for (const auto& [address, size] : both) {
    auto fd = socket_in(path, address->sa_family);
    Result<void> connected = fd ? connect_to(*fd, address, size, clock, deadline) : Result<void>(fd.error());
    if (connected) return *fd;
    if (fd) ::close(*fd);
    if (!first) first = connected.error();
  }
  return Error(*first).wrap("failed to connect to localhost:" + std::to_string(port) + " inside the pod");
}

// One TCP connection.
class PortForward::Relay : public std::enable_shared_from_this<Relay> {
 public:
  Relay(PortForward& owner, std::string id, int port)
      : connection_(owner.connection_),
        dial_(owner.dial_),
        poller_(owner.poller_),
        tasks_(owner.tasks_),
        id_(std::move(id)),
        port_(port) {}
  ~Relay() {
    readable_.reset();
    if (fd_ >= 0) ::close(fd_);
  }

  // Gives the stream a place; dials when both are there.
  void add(std::shared_ptr<net::SpdyStream> stream, bool error) {
    {
      const std::lock_guard lock(mutex_);
      (error ? error_ : data_) = std::move(stream);
      if (!error_ || !data_ || started_) return;
      started_ = true;
    }
    tasks_.run([self = shared_from_this()] { self->open(); });
  }

  void drained() {
    const std::lock_guard lock(mutex_);
    if (fd_ >= 0 && !readable_ && !output_ended_ && !ended_) listen();
  }

  void end() {
    std::unique_ptr<Subscription> readable;
    std::shared_ptr<net::SpdyStream> data, error;
    {
      const std::lock_guard lock(mutex_);
      if (ended_) return;
      ended_ = true;
      readable = std::move(readable_);
      data = data_;
      error = error_;
      if (fd_ >= 0) ::shutdown(fd_, SHUT_RDWR);
    }
    for (const auto& stream : {data, error}) {
      if (stream) stream->close_half();
    }
    // Not here: this may be the poller's thread, in the very callback that is ended.
    auto left = std::make_shared<std::unique_ptr<Subscription>>(std::move(readable));
    tasks_.run([left, self = shared_from_this()] { left->reset(); });
  }

 private:
  void open() {
    auto fd = dial_(port_);
    if (!fd) {
      error_->write("error forwarding port " + std::to_string(port_) + " to pod: " + fd.error().message());
      end();
      return;
    }
    std::shared_ptr<net::SpdyStream> data;
    {
      const std::lock_guard lock(mutex_);
      fd_ = *fd;
      data = data_;
      if (ended_) return;
      listen();
    }
    const std::weak_ptr<Relay> weak = weak_from_this();
    data->on_data([weak](std::string_view bytes) {
      if (const auto self = weak.lock()) self->receive(bytes);
    });
  }

  // Precondition: mutex_ is held.
  void listen() {
    auto readable = poller_.when_readable(fd_, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->read_some();
    });
    if (readable) readable_ = *std::move(readable);
  }

  void read_some() {
    std::unique_ptr<Subscription> over;
    bool finished = false;
    {
      const std::lock_guard lock(mutex_);
      char buffer[kBlock];
      while (!ended_ && connection_->backlog() < kMaxBacklog) {
        const ssize_t n = ::recv(fd_, buffer, sizeof buffer, 0);
        if (n > 0) {
          data_->write(std::string_view(buffer, static_cast<std::size_t>(n)));
          continue;
        }
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
        output_ended_ = true;
        finished = true;
        break;
      }
      over = std::move(readable_);  // drained() listens again.
    }
    if (finished) end();
  }

  void receive(std::string_view bytes) {
    const std::lock_guard lock(mutex_);
    if (ended_) return;
    if (bytes.empty()) {
      input_ended_ = true;
    } else {
      input_.emplace_back(bytes);
      input_bytes_ += bytes.size();
      if (input_bytes_ > kMaxInput && !paused_) {
        paused_ = true;
        connection_->pause(true);
      }
    }
    if (writing_) return;
    writing_ = true;
    tasks_.run([self = shared_from_this()] { self->write_input(); });
  }

  void write_input() {
    for (;;) {
      std::string block;
      {
        const std::lock_guard lock(mutex_);
        if (paused_ && (ended_ || input_bytes_ <= kMaxInput)) {
          paused_ = false;
          connection_->pause(false);
        }
        if (ended_ || (input_.empty() && !input_ended_)) {
          writing_ = false;
          return;
        }
        if (input_.empty()) {
          ::shutdown(fd_, SHUT_WR);
          return;  // writing_ stays: nothing may follow.
        }
        block = std::move(input_.front());
        input_.pop_front();
        input_bytes_ -= block.size();
      }
      std::string_view rest = block;
      while (!rest.empty()) {
        const ssize_t n = ::send(fd_, rest.data(), rest.size(), MSG_NOSIGNAL);
        if (n > 0) {
          rest.remove_prefix(static_cast<std::size_t>(n));
        } else if (errno == EAGAIN) {
          pollfd waiting{fd_, POLLOUT, 0};
          ::poll(&waiting, 1, kWriteWaitMs);
          const std::lock_guard lock(mutex_);
          if (ended_) break;
        } else {
          break;
        }
      }
    }
  }

  std::shared_ptr<net::SpdyConnection> connection_;
  Dial dial_;
  Poller& poller_;
  Tasks& tasks_;
  const std::string id_;
  const int port_;
  std::mutex mutex_;
  std::shared_ptr<net::SpdyStream> data_, error_;
  int fd_ = -1;
  std::unique_ptr<Subscription> readable_;
  std::deque<std::string> input_;
  std::size_t input_bytes_ = 0;
  bool started_ = false, ended_ = false, output_ended_ = false, input_ended_ = false, writing_ = false, paused_ = false;
};

PortForward::PortForward(std::shared_ptr<net::SpdyConnection> connection, Dial dial, Poller& poller, Tasks& tasks,
                         Logger& log)
    : connection_(std::move(connection)), dial_(std::move(dial)), poller_(poller), tasks_(tasks), log_(log) {}

PortForward::~PortForward() = default;

void PortForward::start() {
  self_ = shared_from_this();
  const std::weak_ptr<PortForward> weak = self_;
  connection_->on_closed([weak] {
    if (const auto self = weak.lock()) self->tasks_.run([self] { self->end(); });
  });
  connection_->on_drained([weak] {
    const auto self = weak.lock();
    if (!self) return;
    self->tasks_.run([self] {
      std::map<std::string, std::shared_ptr<Relay>> relays;
      {
        const std::lock_guard lock(self->mutex_);
        relays = self->relays_;
      }
      for (const auto& [id, relay] : relays) relay->drained();
    });
  });
  connection_->on_stream([weak](std::shared_ptr<net::SpdyStream> stream) {
    if (const auto self = weak.lock()) self->add(std::move(stream));
  });
}

void PortForward::add(std::shared_ptr<net::SpdyStream> stream) {
  const std::string type(stream->headers().get("streamtype")), port_text(stream->headers().get("port"));
  std::string id(stream->headers().get("requestid"));
  const int port = std::atoi(port_text.c_str());
  if ((type != "data" && type != "error") || port <= 0 || port > 65535) {
    log_debug(log_, "a port-forward stream was refused", {{"type", type}, {"port", port_text}});
    stream->reset();
    return;
  }
  // Old clients number their streams instead: the error stream comes first, the data stream has the next odd number.
  if (id.empty()) id = std::to_string(type == "error" ? stream->id() : stream->id() - 2);
  std::shared_ptr<Relay> relay;
  {
    const std::lock_guard lock(mutex_);
    auto& slot = relays_[id];
    if (!slot) slot = std::make_shared<Relay>(*this, id, port);
    relay = slot;
  }
  if (type == "data") {
    stream->on_closed([weak = weak_from_this(), id] {
      const auto self = weak.lock();
      if (!self) return;
      std::shared_ptr<Relay> over;
      const std::lock_guard lock(self->mutex_);
      if (const auto at = self->relays_.find(id); at != self->relays_.end()) {
        over = std::move(at->second);
        self->relays_.erase(at);
      }
      if (over) self->tasks_.run([over] { over->end(); });
    });
  }
  relay->add(std::move(stream), type == "error");
}

void PortForward::end() {
  std::map<std::string, std::shared_ptr<Relay>> relays;
  std::shared_ptr<PortForward> self;
  {
    const std::lock_guard lock(mutex_);
    relays.swap(relays_);
    self = std::move(self_);
  }
  for (const auto& [id, relay] : relays) relay->end();
}

}  // namespace kubernel::kubelet
