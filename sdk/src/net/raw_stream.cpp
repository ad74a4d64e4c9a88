// SPDX-License-Identifier: Apache-2.0
#include "net/raw_stream.h"

namespace kubernel::net {
namespace {

// What may wait for a user that has not said on_data() yet.
constexpr std::size_t kMaxKept = 64 * 1024;
constexpr std::chrono::milliseconds kCloseSoon{5'000};

class RawHandle final : public ByteStream {
 public:
  explicit RawHandle(std::shared_ptr<RawStream> stream) : stream_(std::move(stream)) {}
  ~RawHandle() override {
    stream_->on_data(nullptr);
    stream_->finish();
  }

  bool write(Bytes bytes) override { return stream_->write(std::move(bytes)); }
  std::size_t backlog() const override { return stream_->backlog(); }
  void on_drained(std::function<void()> drained) override { stream_->on_drained(std::move(drained)); }
  void on_data(std::function<void(std::string_view)> data) override { stream_->on_data(std::move(data)); }
  void pause(bool paused) override { stream_->pause(paused); }
  void on_closed(std::function<void()> closed) override { stream_->on_closed(std::move(closed)); }
  void close() override { stream_->finish(); }

 private:
  std::shared_ptr<RawStream> stream_;
};

}  // namespace

class RawProtocol final : public Protocol {
 public:
  explicit RawProtocol(std::shared_ptr<RawStream> stream) : stream_(std::move(stream)) {}

  void on_open() override {
    stream_->channel_->set_deadline(std::nullopt);
    stream_->channel_->set_stall_limit(std::chrono::milliseconds(0));
    stream_->channel_->pause_reading(false);
    stream_->attached_ = true;
    stream_->pump();
    stream_->deliver();
  }
  void on_input(std::string_view bytes) override { stream_->input(bytes); }
  void on_peer_closed() override { stream_->input_ended(); }
  void on_sent() override { stream_->set_in_transit(stream_->channel_->unsent()); }
  void on_timeout() override { stream_->channel_->close_while_peer_sends(); }
  void on_closed(const Error*) override {
    stream_->input_ended();
    stream_->mark_closed();
  }

 private:
  std::shared_ptr<RawStream> stream_;
};

std::shared_ptr<RawStream> RawStream::self() {
  return std::static_pointer_cast<RawStream>(shared_from_this());
}

std::unique_ptr<Protocol> RawStream::make_protocol() {
  return std::make_unique<RawProtocol>(self());
}

std::shared_ptr<ByteStream> RawStream::make_handle() {
  return std::make_shared<RawHandle>(self());
}

void RawStream::on_data(std::function<void(std::string_view)> data) {
  {
    const std::lock_guard lock(mutex_);
    if (end_told_) return;
    std::swap(data_, data);
  }
  post_deliver();
}

void RawStream::pause(bool paused) {
  {
    const std::lock_guard lock(mutex_);
    if (paused_ == paused) return;
    paused_ = paused;
  }
  post_deliver();
}

void RawStream::close_soon() {
  channel_->post([self = self()] {
    if (!self->channel_->closed()) self->channel_->set_deadline(self->channel_->clock().now() + kCloseSoon);
  });
}

void RawStream::post_deliver() {
  channel_->post([self = self()] { self->deliver(); });
}

void RawStream::pump() {
  if (!attached_ || channel_->closed()) return;
  const Output output = take_output();
  if (output.aborted) return channel_->abort(std::nullopt);
  for (const Bytes& piece : output.pieces) channel_->send(piece);
  set_in_transit(channel_->unsent());
  if (output.finished) channel_->close_while_peer_sends();
}

void RawStream::input(std::string_view bytes) {
  if (kept_.empty() && !delivering_) {
    std::function<void(std::string_view)> callback;
    {
      const std::lock_guard lock(mutex_);
      if (!paused_) callback = data_;
    }
    if (callback) return callback(bytes);
  }
  kept_.append(bytes);
  deliver();
}

void RawStream::input_ended() {
  input_ended_ = true;
  deliver();
}

// True when a piece, or the end, was handed to the user.
bool RawStream::deliver_once() {
  std::function<void(std::string_view)> callback;
  std::function<void(std::string_view)> dropped;
  {
    const std::lock_guard lock(mutex_);
    // Once the connection is gone pausing has no meaning: what the peer sent is still delivered.
    const bool wanted = !paused_ || channel_->closed();
    if (!wanted || !data_ || end_told_ || (kept_.empty() && !input_ended_)) return false;
    callback = data_;
    if (kept_.empty()) {
      end_told_ = true;
      std::swap(dropped, data_);
    }
  }
  const std::string bytes = std::exchange(kept_, {});
  callback(bytes);
  return true;
}

void RawStream::deliver() {
  if (delivering_) return;  // From inside a callback: the loop below goes on.
  delivering_ = true;
  while (deliver_once()) {
  }
  delivering_ = false;
  bool pause = false;
  {
    const std::lock_guard lock(mutex_);
    pause = paused_ || kept_.size() >= kMaxKept;
  }
  if (attached_ && !channel_->closed()) channel_->pause_reading(pause);
}

void RawStream::ended() {
  std::function<void(std::string_view)> dropped;
  const std::lock_guard lock(mutex_);
  std::swap(dropped, data_);
}

}  // namespace kubernel::net
