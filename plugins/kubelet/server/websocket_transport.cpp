// SPDX-License-Identifier: Apache-2.0
//
// Channels over WebSocket: each message begins with the channel's number, as a byte or, in the base64 protocols, as a
// digit.
#include <kubernel/crypto/pki.h>

#include "server/remote_command.h"

namespace kubernel::kubelet {

namespace {

constexpr int kNormalClosure = 1000;

class WebSocketTransport final : public CommandTransport {
 public:
  explicit WebSocketTransport(std::shared_ptr<net::WebSocket> socket)
      : socket_(std::move(socket)),
        base64_(socket_->subprotocol().find("base64") != std::string::npos),
        version_(version_of(socket_->subprotocol())) {}

  ~WebSocketTransport() override {
    socket_->on_message([](net::MessageKind, std::string_view) {});
  }

  bool send(Channel channel, std::string_view data) override {
    std::string message;
    if (base64_) {
      message = static_cast<char>('0' + static_cast<int>(channel));
      message += crypto::base64_encode(data);
      return socket_->send(net::MessageKind::Text, message);
    }
    message.reserve(data.size() + 1);
    message += static_cast<char>(channel);
    message += data;
    return socket_->send(net::MessageKind::Binary, message);
  }

  std::size_t backlog() const override { return socket_->backlog(); }
  void on_drained(std::function<void()> drained) override { socket_->on_drained(std::move(drained)); }

  void on_receive(std::function<void(Channel, std::optional<std::string_view>)> receive) override {
    // By value: a message may arrive while this is being destroyed.
    socket_->on_message([base64 = base64_, version = version_, receive = std::move(receive)](net::MessageKind,
                                                                                             std::string_view message) {
      if (message.empty()) return;
      const auto first = static_cast<unsigned char>(message.front());
      message.remove_prefix(1);
      if (base64) {
        const auto decoded = crypto::base64_decode(message);
        if (decoded && first >= '0') receive(static_cast<Channel>(first - '0'), std::string_view(*decoded));
        return;
      }
      if (static_cast<Channel>(first) == Channel::Close) {
        // v5: the client has no more for the channel that is named.
        if (version >= 5 && !message.empty() && static_cast<Channel>(message.front()) == Channel::Stdin)
          receive(Channel::Stdin, std::nullopt);
        return;
      }
      receive(static_cast<Channel>(first), message);
    });
  }

  void pause(bool paused) override { socket_->pause(paused); }
  void on_closed(std::function<void()> closed) override {
    socket_->on_closed([closed = std::move(closed)](int, std::string_view) { closed(); });
  }
  bool has_status() const override { return version_ >= 4; }
  void close() override { socket_->close(kNormalClosure, {}); }

 private:
  static int version_of(const std::string& subprotocol) {
    if (subprotocol.size() > 1 && subprotocol[0] == 'v' && subprotocol[1] >= '1' && subprotocol[1] <= '9')
      return subprotocol[1] - '0';
    return 1;
  }

  std::shared_ptr<net::WebSocket> socket_;
  const bool base64_;
  const int version_;
};

}  // namespace

const std::vector<std::string>& command_subprotocols() {
  static const std::vector<std::string> kAll = {"v5.channel.k8s.io", "v4.channel.k8s.io",    "v4.base64.channel.k8s.io",
                                                "v3.channel.k8s.io", "v2.channel.k8s.io",    "v1.channel.k8s.io",
                                                "channel.k8s.io",    "base64.channel.k8s.io"};
  return kAll;
}

std::unique_ptr<CommandTransport> make_websocket_transport(std::shared_ptr<net::WebSocket> socket) {
  return std::make_unique<WebSocketTransport>(std::move(socket));
}

}  // namespace kubernel::kubelet
