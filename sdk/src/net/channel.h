// SPDX-License-Identifier: Apache-2.0
//
// Channel: one connection (plain or TLS) on its loop, and the Protocol that speaks on it.

#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <kubernel/base/clock.h>
#include <kubernel/net/http.h>

#include "net/io_loop.h"
#include "net/tls.h"

namespace kubernel::net {

class Channel;

/// What is spoken on a channel. All calls come on the channel's loop thread.
class Protocol {
 public:
  virtual ~Protocol() = default;
  /// The connection is there and the TLS handshake done; also called on a protocol that replaces another.
  virtual void on_open() {}
  /// Takes all of `bytes`: what it cannot use yet it keeps, and pauses reading.
  virtual void on_input(std::string_view bytes) = 0;
  /// The peer will send nothing more; comes after all its data.
  virtual void on_peer_closed() = 0;
  /// The same, seen early: data is still unread because reading is paused.
  virtual void on_peer_leaving() {}
  /// The server shuts down: finish what was begun, then close.
  virtual void on_drain() {}
  /// The kernel took some of what was queued.
  virtual void on_sent() {}
  virtual void on_timeout() = 0;
  /// The last call: the connection is gone. Null: closed by our own side after everything was sent, or by the peer.
  virtual void on_closed(const Error* why) = 0;
};

/// Threads: post() any; all else on the loop's thread.
/// Lifetime: the loop holds an open channel; after on_closed() it is an empty shell that others may still hold.
class Channel final : public IoHandler, public std::enable_shared_from_this<Channel> {
 public:
  Channel(IoLoop& loop, Clock& clock, UniqueFd fd, std::unique_ptr<TlsSession> tls);
  ~Channel() override;

  /// Begins: waits for the connection (a connecting socket), shakes hands, calls on_open(). `released` is called
  /// at the very end, when the clock is no longer used.
  void start(std::unique_ptr<Protocol> protocol, std::function<void()> released);
  /// Hands the connection to another protocol, with bytes the old one received but did not use.
  void replace_protocol(std::unique_ptr<Protocol> protocol, std::string unused);

  /// Runs `task` on the loop, followed by whatever it caused to be sent. Threads: any.
  void post(std::function<void()> task);

  /// Runs `task` once, unless the channel is closed by then, when what has been posted to the loop has run. Loop
  /// thread.
  void after_posted(std::function<void()> task);

  void send(Bytes bytes);
  void send(std::string bytes) { send(std::make_shared<const std::string>(std::move(bytes))); }
  std::size_t unsent() const { return unsent_; }

  void pause_reading(bool paused);
  /// Calls on_timeout() once at that time; replaces the one before.
  void set_deadline(std::optional<Clock::TimePoint> deadline);
  /// Breaks the connection when nothing of what is queued could be sent for so long. Zero: never.
  void set_stall_limit(std::chrono::milliseconds limit) { stall_limit_ = limit; }

  /// Sends what is queued, says goodbye and closes.
  void close_after_sending();
  /// The same for a peer that may still be sending: reads on for a moment, because closing with unread input resets the
  /// connection and loses our last words.
  void close_while_peer_sends();
  void drain();
  bool closing() const { return state_ >= State::Flushing; }
  bool closed() const { return state_ == State::Closed; }
  /// Closes now. Without a reason, as a decision of our own side, the peer sees a reset.
  void abort(std::optional<Error> why);

  Clock& clock() { return clock_; }
  std::string_view alpn() const { return tls_ ? tls_->alpn() : std::string_view(); }
  bool secure() const { return tls_ != nullptr; }
  std::optional<PeerCertificate> verified_peer() const;

  void on_ready(std::uint32_t events) override;

 private:
  enum class State : std::uint8_t { Idle, Connecting, Handshaking, Open, Flushing, Lingering, Closed };

  // Every entry from the loop goes through enter(): closing and protocol changes take effect when the outermost ends,
  // so a protocol is never destroyed under its own feet.
  template <class F>
  void enter(F&& work);
  void leave();

  void advance_handshake();
  void connected();
  void read_input();
  void read_lingering();
  IoResult read_some(char* data, std::size_t size);
  void flush();
  IoResult write_some();
  void sent(std::size_t size);
  void begin_linger();
  void close_now();

  void arm_timer();
  void on_timer();
  std::optional<Clock::TimePoint> next_due() const;

  IoLoop& loop_;
  Clock& clock_;
  UniqueFd fd_;
  std::unique_ptr<TlsSession> tls_;
  std::unique_ptr<Protocol> protocol_;
  std::unique_ptr<Protocol> next_protocol_;
  std::string unused_;
  std::function<void()> released_;

  std::deque<Bytes> out_;
  std::size_t out_offset_ = 0;  // Into out_.front().
  std::size_t unsent_ = 0;

  std::unique_ptr<Subscription> timer_;
  Clock::TimePoint timer_due_{};
  std::optional<Clock::TimePoint> deadline_;
  std::optional<Clock::TimePoint> stalled_at_;
  std::chrono::milliseconds stall_limit_{0};

  std::optional<Error> failure_;
  std::size_t lingered_ = 0;
  int depth_ = 0;
  State state_ = State::Idle;
  bool readable_ = false;
  bool writable_ = false;
  bool paused_ = false;
  bool peer_closed_ = false;
  bool peer_leaving_told_ = false;
  bool close_requested_ = false;
  bool linger_ = false;
  bool abort_requested_ = false;
  bool read_again_posted_ = false;
};

}  // namespace kubernel::net
