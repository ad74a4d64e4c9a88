// SPDX-License-Identifier: Apache-2.0
#include "server/spdy_transport.h"

#include <map>
#include <mutex>

namespace kubernel::kubelet {

namespace {

constexpr std::chrono::seconds kStreamsDue{30};
constexpr std::size_t kMaxResizeText = 4096;

using StreamMap = std::map<Channel, std::shared_ptr<net::SpdyStream>>;

std::optional<Channel> channel_of(std::string_view stream_type) {
  if (stream_type == "stdin") return Channel::Stdin;
  if (stream_type == "stdout") return Channel::Stdout;
  if (stream_type == "stderr") return Channel::Stderr;
  if (stream_type == "error") return Channel::Error;
  if (stream_type == "resize") return Channel::Resize;
  return std::nullopt;
}

class SpdyTransport final : public CommandTransport {
 public:
  SpdyTransport(std::shared_ptr<net::SpdyConnection> connection, StreamMap streams, bool has_status)
      : connection_(std::move(connection)), streams_(std::move(streams)), has_status_(has_status) {}

  ~SpdyTransport() override { connection_->close(); }

  bool send(Channel channel, std::string_view data) override {
    const auto at = streams_.find(channel);
    return at != streams_.end() && at->second->write(data);
  }
  std::size_t backlog() const override { return connection_->backlog(); }
  void on_drained(std::function<void()> drained) override { connection_->on_drained(std::move(drained)); }
  void pause(bool paused) override { connection_->pause(paused); }
  void on_closed(std::function<void()> closed) override { connection_->on_closed(std::move(closed)); }
  bool has_status() const override { return has_status_; }

  void on_receive(std::function<void(Channel, std::optional<std::string_view>)> receive) override {
    if (const auto at = streams_.find(Channel::Stdin); at != streams_.end()) {
      at->second->on_data([receive](std::string_view data) {
        if (data.empty()) {
          receive(Channel::Stdin, std::nullopt);
        } else {
          receive(Channel::Stdin, data);
        }
      });
    }
    if (const auto at = streams_.find(Channel::Resize); at != streams_.end()) {
      // One JSON object after the other, cut anywhere.
      at->second->on_data([receive, text = std::make_shared<std::string>()](std::string_view data) {
        text->append(data);
        for (std::size_t end = 0; (end = text->find('}')) != std::string::npos; text->erase(0, end + 1)) {
          receive(Channel::Resize, std::string_view(*text).substr(0, end + 1));
        }
        if (text->size() > kMaxResizeText) text->clear();
      });
    }
  }

  void close() override {
    for (const auto& [channel, stream] : streams_) stream->close_half();
    connection_->close();
  }

 private:
  std::shared_ptr<net::SpdyConnection> connection_;
  const StreamMap streams_;
  const bool has_status_;
};

// The streams that have come so far. Kept alive by the timer and the connection's callbacks.
class Collector : public std::enable_shared_from_this<Collector> {
 public:
  Collector(std::shared_ptr<net::SpdyConnection> connection, std::size_t expected, bool has_status, Tasks& tasks,
            std::function<void(std::unique_ptr<CommandTransport>)> ready)
      : connection_(std::move(connection)),
        expected_(expected),
        has_status_(has_status),
        tasks_(tasks),
        ready_(std::move(ready)) {}

  void start() {
    const auto self = shared_from_this();
    {
      const std::lock_guard lock(mutex_);
      timer_ = tasks_.run_after(kStreamsDue, [self] { self->give_up(); });
    }
    // The connection holds this until every stream has come: then it is let go.
    connection_->on_stream([self](std::shared_ptr<net::SpdyStream> stream) { self->add(std::move(stream)); });
  }

 private:
  void add(std::shared_ptr<net::SpdyStream> stream) {
    const auto channel = channel_of(stream->headers().get("streamtype"));
    bool complete = false;
    {
      const std::lock_guard lock(mutex_);
      if (!channel || done_ || streams_.contains(*channel)) {
        stream->reset();
        return;
      }
      streams_.emplace(*channel, std::move(stream));
      complete = streams_.size() == expected_;
      done_ = complete;
    }
    if (!complete) return;
    tasks_.run([self = shared_from_this()] {
      std::unique_ptr<Subscription> timer;
      std::shared_ptr<net::SpdyConnection> connection;
      StreamMap streams;
      {
        const std::lock_guard lock(self->mutex_);
        timer = std::move(self->timer_);
        connection = std::move(self->connection_);
        streams = std::move(self->streams_);
      }
      connection->on_stream([](const std::shared_ptr<net::SpdyStream>& late) { late->reset(); });
      self->ready_(std::make_unique<SpdyTransport>(std::move(connection), std::move(streams), self->has_status_));
    });
  }

  void give_up() {
    std::shared_ptr<net::SpdyConnection> connection;
    {
      const std::lock_guard lock(mutex_);
      if (done_) return;
      done_ = true;
      connection = std::move(connection_);
    }
    connection->on_stream([](const std::shared_ptr<net::SpdyStream>& late) { late->reset(); });
    connection->close();
  }

  std::mutex mutex_;
  std::shared_ptr<net::SpdyConnection> connection_;
  StreamMap streams_;
  const std::size_t expected_;
  const bool has_status_;
  bool done_ = false;
  Tasks& tasks_;
  std::function<void(std::unique_ptr<CommandTransport>)> ready_;
  std::unique_ptr<Subscription> timer_;
};

class SocketBytes final : public net::ByteStream {
 public:
  explicit SocketBytes(std::shared_ptr<net::WebSocket> socket) : socket_(std::move(socket)) {}
  bool write(net::Bytes bytes) override { return socket_->send(net::MessageKind::Binary, *bytes); }
  std::size_t backlog() const override { return socket_->backlog(); }
  void on_drained(std::function<void()> drained) override { socket_->on_drained(std::move(drained)); }
  void on_data(std::function<void(std::string_view)> data) override {
    socket_->on_message([data = std::move(data)](net::MessageKind, std::string_view message) {
      if (!message.empty()) data(message);  // An empty view would be the end.
    });
  }
  void pause(bool paused) override { socket_->pause(paused); }
  void on_closed(std::function<void()> closed) override {
    socket_->on_closed([closed = std::move(closed)](int, std::string_view) { closed(); });
  }
  void close() override { socket_->close(1000, {}); }

 private:
  std::shared_ptr<net::WebSocket> socket_;
};

}  // namespace

std::optional<std::string> negotiate(const net::Request& request, const std::vector<std::string>& supported,
                                     const std::string& fallback) {
  std::vector<std::string> offered;
  for (const std::string_view header : request.headers.all("x-stream-protocol-version")) {
    for (std::size_t from = 0; from < header.size();) {
      const auto comma = std::min(header.find(',', from), header.size());
      std::string_view one = header.substr(from, comma - from);
      while (one.starts_with(' ')) one.remove_prefix(1);
      if (!one.empty()) offered.emplace_back(one);
      from = comma + 1;
    }
  }
  if (offered.empty()) return fallback;
  for (const auto& protocol : supported) {
    if (std::find(offered.begin(), offered.end(), protocol) != offered.end()) return protocol;
  }
  return std::nullopt;
}

Result<std::shared_ptr<net::SpdyConnection>> accept_spdy(net::Exchange& exchange, const std::string& protocol) {
  net::Headers headers;
  headers.set("connection", "Upgrade");
  headers.set("upgrade", "SPDY/3.1");
  headers.set("x-stream-protocol-version", protocol);
  KUBERNEL_TRY(auto stream, exchange.upgrade(std::move(headers)));
  return net::make_spdy_server(std::move(stream));
}

std::shared_ptr<net::ByteStream> bytes_of(std::shared_ptr<net::WebSocket> socket) {
  return std::make_shared<SocketBytes>(std::move(socket));
}

void collect_command_streams(std::shared_ptr<net::SpdyConnection> connection, const std::string& protocol,
                             RemoteCommand::Streams streams, bool tty, Tasks& tasks,
                             std::function<void(std::unique_ptr<CommandTransport>)> ready) {
  // Terminals are resized over a stream of their own since v3.
  const bool resizable = protocol.starts_with("v3.") || protocol.starts_with("v4.");
  const std::size_t expected =
      1U + (streams.in ? 1U : 0U) + (streams.out ? 1U : 0U) + (streams.err ? 1U : 0U) + (tty && resizable ? 1U : 0U);
  std::make_shared<Collector>(std::move(connection), expected, protocol.starts_with("v4."), tasks, std::move(ready))
      ->start();
}

}  // namespace kubernel::kubelet
