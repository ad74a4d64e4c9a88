// SPDX-License-Identifier: Apache-2.0
//
// StreamCore: the output side of a response or of a raw connection, written by any thread and sent by the loop.

#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include <kubernel/net/http.h>

#include "net/channel.h"

namespace kubernel::net {

/// Callbacks run without a lock held, on the loop's thread, or on the caller's when what they wait for has happened.
/// They are dropped when the stream is closed, so a callback may own its stream.
class StreamCore : public std::enable_shared_from_this<StreamCore> {
 public:
  explicit StreamCore(std::shared_ptr<Channel> channel) : channel_(std::move(channel)) {}
  virtual ~StreamCore() = default;

  // Any thread.
  bool write(Bytes bytes);
  void finish();
  void abort();
  std::size_t backlog() const;
  void on_drained(std::function<void()> drained);
  void on_closed(std::function<void()> closed);
  bool closed() const;

  // Loop thread.
  struct Output {
    std::vector<Bytes> pieces;
    bool finished = false;
    bool aborted = false;
  };
  /// Everything queued so far.
  Output take_output();
  /// Copies up to `size` queued bytes out; `end`: nothing follows them.
  std::size_t read_output(char* buffer, std::size_t size, bool& end);
  bool output_waiting() const;
  bool abort_wanted() const;
  /// How much of what was taken the kernel has not accepted yet.
  void set_in_transit(std::size_t size);
  void mark_closed();

 protected:
  /// Sends what is queued. Loop thread.
  virtual void pump() = 0;
  /// Calls pump() soon. Any thread.
  void wake();
  /// Called once by mark_closed(), before the user's callback.
  virtual void ended() {}

  mutable std::mutex mutex_;
  const std::shared_ptr<Channel> channel_;

 private:
  bool request_wake();  // With the lock held; true: call post_pump() after it.
  void post_pump();
  void tell_drained(std::unique_lock<std::mutex>& lock);

  std::deque<Bytes> pending_;
  std::size_t front_offset_ = 0;
  std::size_t pending_bytes_ = 0;
  std::size_t in_transit_ = 0;
  std::function<void()> drained_;
  std::function<void()> closed_callback_;
  bool wake_posted_ = false;
  bool drained_wanted_ = false;  // Something was written since drained_ was last called.
  bool finished_ = false;
  bool aborted_ = false;
  bool closed_ = false;
};

}  // namespace kubernel::net
