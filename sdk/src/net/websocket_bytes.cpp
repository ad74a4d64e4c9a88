// SPDX-License-Identifier: Apache-2.0
#include <mutex>
#include <utility>

#include <kubernel/net/spdy.h>

namespace kubernel::net {
namespace {

constexpr int kNormalClosure = 1000;

// What the socket's callbacks reach: it outlives the handle only while one of them runs.
class Ends {
 public:
  void on_data(std::function<void(std::string_view)> data) {
    const std::lock_guard lock(mutex_);
    if (!end_told_) std::swap(data_, data);
  }
  void on_closed(std::function<void()> closed) {
    {
      const std::lock_guard lock(mutex_);
      if (!is_closed_) {
        std::swap(closed_, closed);
        return;
      }
    }
    if (closed) closed();
  }
  void data(std::string_view bytes) {
    std::function<void(std::string_view)> callback;
    {
      const std::lock_guard lock(mutex_);
      callback = data_;
    }
    // An empty view would be the end.
    if (callback && !bytes.empty()) callback(bytes);
  }
  void closed() {
    std::function<void(std::string_view)> data;
    std::function<void()> callback;
    {
      const std::lock_guard lock(mutex_);
      is_closed_ = true;
      end_told_ = true;
      std::swap(data, data_);
      std::swap(callback, closed_);
    }
    if (data) data({});
    if (callback) callback();
  }

 private:
  std::mutex mutex_;
  std::function<void(std::string_view)> data_;
  std::function<void()> closed_;
  bool is_closed_ = false;
  bool end_told_ = false;
};

class WebSocketBytes final : public ByteStream {
 public:
  explicit WebSocketBytes(std::shared_ptr<WebSocket> socket) : socket_(std::move(socket)) {
    socket_->on_closed([ends = ends_](int, std::string_view) { ends->closed(); });
  }
  ~WebSocketBytes() override {
    ends_->on_data(nullptr);
    close();
  }

  bool write(Bytes bytes) override { return !bytes || socket_->send(MessageKind::Binary, *bytes); }
  std::size_t backlog() const override { return socket_->backlog(); }
  void on_drained(std::function<void()> drained) override { socket_->on_drained(std::move(drained)); }
  void on_data(std::function<void(std::string_view)> data) override {
    ends_->on_data(std::move(data));
    // Only now are messages read, so none is lost.
    socket_->on_message([ends = ends_](MessageKind, std::string_view bytes) { ends->data(bytes); });
  }
  void pause(bool paused) override { socket_->pause(paused); }
  void on_closed(std::function<void()> closed) override { ends_->on_closed(std::move(closed)); }
  void close() override { socket_->close(kNormalClosure, {}); }

 private:
  const std::shared_ptr<WebSocket> socket_;
  const std::shared_ptr<Ends> ends_ = std::make_shared<Ends>();
};

}  // namespace

std::shared_ptr<ByteStream> make_byte_stream(std::shared_ptr<WebSocket> socket) {
  return std::make_shared<WebSocketBytes>(std::move(socket));
}

}  // namespace kubernel::net
