// SPDX-License-Identifier: Apache-2.0
#include <kubernel/net/spdy.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <vector>

#include "net/spdy_headers.h"

namespace kubernel::net {
namespace {

constexpr std::uint16_t kVersion = 3;
constexpr std::size_t kFrameHead = 8;
constexpr std::size_t kMaxDataFrame = 0xffffff;
constexpr std::size_t kMaxControlFrame = 128 * 1024;
constexpr std::uint8_t kFin = 1;

enum ControlType : std::uint16_t {
  kSynStream = 1,
  kSynReply = 2,
  kRstStream = 3,
  kPing = 6,
  kGoAway = 7,
  kHeaders = 8
};
enum ResetStatus : std::uint32_t { kProtocolError = 1, kInvalidStream = 2, kRefusedStream = 3, kCancel = 5 };

std::uint32_t number_at(std::string_view bytes, std::size_t at, std::size_t width) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < width; ++i) value = value << 8U | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

void put(std::string& out, std::uint32_t value, int width) {
  for (int shift = 8 * (width - 1); shift >= 0; shift -= 8) {
    out += static_cast<char>(value >> static_cast<unsigned>(shift) & 0xffU);
  }
}

Bytes control_frame(std::uint16_t type, std::string_view payload) {
  std::string frame;
  put(frame, 0x8000U | kVersion, 2);
  put(frame, type, 2);
  put(frame, static_cast<std::uint32_t>(payload.size()), 4);  // No flags.
  return std::make_shared<const std::string>(frame.append(payload));
}

class Session;

class Stream final : public SpdyStream, public std::enable_shared_from_this<Stream> {
 public:
  Stream(std::shared_ptr<Session> session, std::uint32_t id, Headers headers, bool ended)
      : session_(std::move(session)), id_(id), headers_(std::move(headers)), input_ended_(ended) {}

  std::uint32_t id() const override { return id_; }
  const Headers& headers() const override { return headers_; }
  bool write(std::string_view data) override;
  void close_half() override;
  void on_data(std::function<void(std::string_view)> data) override;
  void on_closed(std::function<void()> closed) override;
  void reset() override;

  void input(std::string_view data);
  void input_ended();
  void mark_closed();

 private:
  bool send_data(std::string_view data, bool end);
  void deliver();
  void close_if_both_ended();

  const std::shared_ptr<Session> session_;
  const std::uint32_t id_;
  const Headers headers_;

  std::mutex mutex_;
  std::function<void(std::string_view)> data_;
  std::function<void()> closed_callback_;
  std::string kept_;
  bool input_ended_ = false;
  bool end_told_ = false;
  bool output_ended_ = false;
  bool delivering_ = false;
  bool closed_ = false;
};

// The connection's state; streams share it, so it lives as long as the last of them.
class Session final : public std::enable_shared_from_this<Session> {
 public:
  Session(std::shared_ptr<ByteStream> connection, SpdyLimits limits)
      : connection_(std::move(connection)), limits_(limits) {}

  void start();
  void on_stream(std::function<void(std::shared_ptr<SpdyStream>)> callback);
  void on_closed(std::function<void()> closed);
  void pause(bool paused);
  void close();

  bool send(Bytes frame) { return connection_->write(std::move(frame)); }
  void reset_stream(std::uint32_t id, std::uint32_t status);
  void forget(std::uint32_t id);
  void count_kept(std::ptrdiff_t change);
  ByteStream& connection() { return *connection_; }

 private:
  void input(std::string_view bytes);
  bool take_head(std::string_view& bytes);
  void take_data(std::string_view& bytes);
  bool take_control(std::string_view& bytes);
  void control(std::uint16_t type, std::uint8_t flags, std::string_view payload);
  void syn_stream(std::uint8_t flags, std::string_view payload);
  void fail();
  void closed();
  void offer(std::vector<std::shared_ptr<Stream>> streams);
  std::shared_ptr<Stream> find(std::uint32_t id);

  const std::shared_ptr<ByteStream> connection_;
  const SpdyLimits limits_;

  // The I/O thread's only.
  SpdyInflater inflater_;
  SpdyDeflater deflater_;
  std::string head_;
  std::string control_;
  std::size_t left_ = 0;  // Of the frame's payload.
  bool is_control_ = false;
  bool in_frame_ = false;
  bool over_ = false;
  std::uint32_t last_id_ = 0;

  std::mutex mutex_;
  std::map<std::uint32_t, std::shared_ptr<Stream>> streams_;
  std::vector<std::shared_ptr<Stream>> unclaimed_;
  std::function<void(std::shared_ptr<SpdyStream>)> on_stream_;
  std::function<void()> on_closed_;
  std::ptrdiff_t kept_bytes_ = 0;
  bool user_paused_ = false;
  bool closed_ = false;
};

bool Stream::send_data(std::string_view data, bool end) {
  std::string frame;
  frame.reserve(kFrameHead + data.size());
  put(frame, id_, 4);
  put(frame, end ? kFin : 0U, 1);
  put(frame, static_cast<std::uint32_t>(data.size()), 3);
  return session_->send(std::make_shared<const std::string>(frame.append(data)));
}

bool Stream::write(std::string_view data) {
  const std::lock_guard lock(mutex_);
  if (closed_ || output_ended_) return false;
  while (!data.empty()) {
    const std::string_view part = data.substr(0, kMaxDataFrame);
    if (!send_data(part, false)) return false;
    data.remove_prefix(part.size());
  }
  return true;
}

void Stream::close_half() {
  {
    const std::lock_guard lock(mutex_);
    if (closed_ || std::exchange(output_ended_, true)) return;
    send_data({}, true);
  }
  close_if_both_ended();
}

void Stream::close_if_both_ended() {
  {
    const std::lock_guard lock(mutex_);
    if (!output_ended_ || !input_ended_) return;
  }
  session_->forget(id_);
  mark_closed();
}

void Stream::reset() {
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
  }
  session_->reset_stream(id_, kCancel);
  session_->forget(id_);
  mark_closed();
}

void Stream::on_data(std::function<void(std::string_view)> data) {
  {
    const std::lock_guard lock(mutex_);
    if (end_told_) return;
    std::swap(data_, data);
  }
  deliver();
}

void Stream::on_closed(std::function<void()> closed) {
  {
    const std::lock_guard lock(mutex_);
    if (!closed_) {
      std::swap(closed_callback_, closed);
      return;
    }
  }
  if (closed) closed();
}

void Stream::input(std::string_view data) {
  {
    const std::lock_guard lock(mutex_);
    if (closed_ || input_ended_) return;
    kept_.append(data);
    session_->count_kept(static_cast<std::ptrdiff_t>(data.size()));
  }
  deliver();
}

void Stream::input_ended() {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(input_ended_, true)) return;
  }
  deliver();
  close_if_both_ended();
}

// Whoever comes first delivers for all, so callbacks never overlap.
void Stream::deliver() {
  std::unique_lock lock(mutex_);
  if (delivering_) return;
  delivering_ = true;
  while (data_ && !end_told_ && (!kept_.empty() || input_ended_)) {
    const std::string bytes = std::exchange(kept_, {});
    const auto callback = data_;
    std::function<void(std::string_view)> dropped;
    if (bytes.empty()) {
      end_told_ = true;
      std::swap(dropped, data_);
    }
    if (!closed_) session_->count_kept(-static_cast<std::ptrdiff_t>(bytes.size()));
    lock.unlock();
    callback(bytes);
    dropped = nullptr;
    lock.lock();
  }
  delivering_ = false;
}

void Stream::mark_closed() {
  std::function<void()> callback;
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(closed_, true)) return;
    input_ended_ = true;
    // What nobody took yet can still be had, but holds the other streams back no longer.
    session_->count_kept(-static_cast<std::ptrdiff_t>(kept_.size()));
    std::swap(callback, closed_callback_);
  }
  deliver();
  if (callback) callback();
}

void Session::start() {
  connection_->on_data([weak = weak_from_this()](std::string_view bytes) {
    if (const auto self = weak.lock()) self->input(bytes);
  });
  connection_->on_closed([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->closed();
  });
}

void Session::on_stream(std::function<void(std::shared_ptr<SpdyStream>)> callback) {
  std::vector<std::shared_ptr<Stream>> waiting;
  {
    const std::lock_guard lock(mutex_);
    std::swap(on_stream_, callback);  // The old one is destroyed after the lock is released.
    if (on_stream_) std::swap(waiting, unclaimed_);
  }
  offer(std::move(waiting));
}

void Session::offer(std::vector<std::shared_ptr<Stream>> streams) {
  std::function<void(std::shared_ptr<SpdyStream>)> callback;
  {
    const std::lock_guard lock(mutex_);
    callback = on_stream_;
    if (!callback) unclaimed_.insert(unclaimed_.end(), streams.begin(), streams.end());
  }
  if (!callback) return;
  for (auto& stream : streams) callback(std::move(stream));
}

void Session::on_closed(std::function<void()> closed) {
  {
    const std::lock_guard lock(mutex_);
    if (!closed_) {
      std::swap(on_closed_, closed);
      return;
    }
  }
  if (closed) closed();
}

void Session::pause(bool paused) {
  const std::lock_guard lock(mutex_);
  user_paused_ = paused;
  connection_->pause(paused || kept_bytes_ > static_cast<std::ptrdiff_t>(limits_.max_kept_bytes));
}

void Session::count_kept(std::ptrdiff_t change) {
  const std::lock_guard lock(mutex_);
  const auto limit = static_cast<std::ptrdiff_t>(limits_.max_kept_bytes);
  const bool before = kept_bytes_ > limit;
  kept_bytes_ += change;
  const bool after = kept_bytes_ > limit;
  if (before != after && !user_paused_) connection_->pause(after);
}

void Session::close() {
  std::string payload;
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
  }
  put(payload, 0, 4);
  put(payload, 0, 4);
  send(control_frame(kGoAway, payload));
  connection_->close();
}

void Session::fail() {
  over_ = true;
  std::string payload;
  put(payload, last_id_, 4);
  put(payload, kProtocolError, 4);
  send(control_frame(kGoAway, payload));
  connection_->close();
}

void Session::closed() {
  over_ = true;
  std::map<std::uint32_t, std::shared_ptr<Stream>> streams;
  std::function<void()> callback;
  std::function<void(std::shared_ptr<SpdyStream>)> dropped;
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(closed_, true)) return;
    std::swap(streams, streams_);
    std::swap(callback, on_closed_);
    std::swap(dropped, on_stream_);
    unclaimed_.clear();
  }
  for (const auto& [id, stream] : streams) stream->mark_closed();
  if (callback) callback();
}

std::shared_ptr<Stream> Session::find(std::uint32_t id) {
  const std::lock_guard lock(mutex_);
  const auto found = streams_.find(id);
  return found == streams_.end() ? nullptr : found->second;
}

void Session::forget(std::uint32_t id) {
  const std::lock_guard lock(mutex_);
  streams_.erase(id);
}

void Session::reset_stream(std::uint32_t id, std::uint32_t status) {
  std::string payload;
  put(payload, id, 4);
  put(payload, status, 4);
  send(control_frame(kRstStream, payload));
}

void Session::input(std::string_view bytes) {
  if (bytes.empty()) {
    over_ = true;
    connection_->close();
    return;
  }
  while (!over_ && (!bytes.empty() || (in_frame_ && left_ == 0))) {
    if (!in_frame_) {
      if (!take_head(bytes)) return;
    } else if (is_control_) {
      if (!take_control(bytes)) return;
    } else {
      take_data(bytes);
    }
  }
}

// False: more is needed, or the connection is over.
bool Session::take_head(std::string_view& bytes) {
  const std::size_t part = std::min(kFrameHead - head_.size(), bytes.size());
  head_.append(bytes.substr(0, part));
  bytes.remove_prefix(part);
  if (head_.size() < kFrameHead) return false;
  is_control_ = (static_cast<unsigned char>(head_[0]) & 0x80U) != 0;
  left_ = number_at(head_, 5, 3);
  in_frame_ = true;
  if (!is_control_) return true;
  if ((number_at(head_, 0, 2) & 0x7fffU) != kVersion || left_ > kMaxControlFrame) {
    fail();
    return false;
  }
  return true;
}

void Session::take_data(std::string_view& bytes) {
  const std::string_view part = bytes.substr(0, std::min(left_, bytes.size()));
  bytes.remove_prefix(part.size());
  left_ -= part.size();
  const std::uint32_t id = number_at(head_, 0, 4);
  const bool end = left_ == 0 && (static_cast<unsigned char>(head_[4]) & kFin) != 0;
  if (left_ == 0) {
    in_frame_ = false;
    head_.clear();
  }
  const auto stream = find(id);
  if (!stream) {
    // Data on its way when the stream was reset is normal; a stream that never was is not.
    if (id > last_id_ || id == 0) fail();
    return;
  }
  if (!part.empty()) stream->input(part);
  if (end) stream->input_ended();
}

bool Session::take_control(std::string_view& bytes) {
  const std::string_view part = bytes.substr(0, std::min(left_, bytes.size()));
  control_.append(part);
  bytes.remove_prefix(part.size());
  left_ -= part.size();
  if (left_ > 0) return false;
  const auto type = static_cast<std::uint16_t>(number_at(head_, 2, 2));
  const auto flags = static_cast<std::uint8_t>(head_[4]);
  in_frame_ = false;
  head_.clear();
  const std::string payload = std::exchange(control_, {});
  control(type, flags, payload);
  return true;
}

void Session::control(std::uint16_t type, std::uint8_t flags, std::string_view payload) {
  switch (type) {
    case kSynStream: return syn_stream(flags, payload);
    case kRstStream:
      if (payload.size() != 8) return fail();
      if (const auto stream = find(number_at(payload, 0, 4))) {
        forget(stream->id());
        stream->mark_closed();
      }
      return;
    case kPing:
      if (payload.size() != 4) return fail();
      // Even numbers would answer a ping of ours.
      if (number_at(payload, 0, 4) % 2 == 1) send(control_frame(kPing, payload));
      return;
    case kHeaders:
    case kSynReply: {
      // Not used by any client, but the compression's state has to follow.
      if (payload.size() < 4 || !inflater_.decompress(payload.substr(4), limits_.max_header_bytes)) return fail();
      const auto stream = find(number_at(payload, 0, 4) & 0x7fffffffU);
      if (stream && (flags & kFin) != 0) stream->input_ended();
      return;
    }
    case kGoAway: return;  // It opens no more streams; those that are there go on.
    default: return;       // SETTINGS, WINDOW_UPDATE and what is unknown are ignored.
  }
}

void Session::syn_stream(std::uint8_t flags, std::string_view payload) {
  if (payload.size() < 10) return fail();
  const std::uint32_t id = number_at(payload, 0, 4) & 0x7fffffffU;
  auto headers = inflater_.decompress(payload.substr(10), limits_.max_header_bytes);
  // A client's streams have odd numbers that grow.
  if (!headers || id % 2 == 0 || id <= last_id_) return fail();
  last_id_ = id;
  auto stream = std::make_shared<Stream>(shared_from_this(), id, *std::move(headers), (flags & kFin) != 0);
  bool refused = false;
  {
    const std::lock_guard lock(mutex_);
    refused = streams_.size() >= limits_.max_streams;
    if (!refused) streams_.emplace(id, stream);
  }
  if (refused) return reset_stream(id, kRefusedStream);
  std::string reply;
  put(reply, id, 4);
  send(control_frame(kSynReply, reply + deflater_.compress({})));
  offer({std::move(stream)});
}

// What the user holds: the session lives on with its streams, but closed.
class Connection final : public SpdyConnection {
 public:
  explicit Connection(std::shared_ptr<Session> session) : session_(std::move(session)) {}
  ~Connection() override {
    session_->on_stream(nullptr);
    session_->close();
  }

  void on_stream(std::function<void(std::shared_ptr<SpdyStream>)> stream) override {
    session_->on_stream(std::move(stream));
  }
  void on_closed(std::function<void()> closed) override { session_->on_closed(std::move(closed)); }
  std::size_t backlog() const override { return session_->connection().backlog(); }
  void on_drained(std::function<void()> drained) override { session_->connection().on_drained(std::move(drained)); }
  void pause(bool paused) override { session_->pause(paused); }
  void close() override { session_->close(); }

 private:
  const std::shared_ptr<Session> session_;
};

}  // namespace

std::shared_ptr<SpdyConnection> make_spdy_server(std::shared_ptr<ByteStream> stream, SpdyLimits limits) {
  auto session = std::make_shared<Session>(std::move(stream), limits);
  session->start();
  return std::make_shared<Connection>(std::move(session));
}

}  // namespace kubernel::net
