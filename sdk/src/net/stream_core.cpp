// SPDX-License-Identifier: Apache-2.0
#include "net/stream_core.h"

#include <algorithm>
#include <cstring>

namespace kubernel::net {

bool StreamCore::request_wake() {
  return !std::exchange(wake_posted_, true);
}

void StreamCore::post_pump() {
  channel_->post([self = shared_from_this()] {
    {
      const std::lock_guard lock(self->mutex_);
      self->wake_posted_ = false;
    }
    if (self->channel_->closed()) {
      self->mark_closed();
    } else if (!self->closed()) {
      self->pump();
    }
  });
}

void StreamCore::wake() {
  {
    const std::lock_guard lock(mutex_);
    if (!request_wake()) return;
  }
  post_pump();
}

bool StreamCore::write(Bytes bytes) {
  {
    const std::lock_guard lock(mutex_);
    if (closed_ || finished_ || aborted_) return false;
    if (!bytes || bytes->empty()) return true;
    pending_bytes_ += bytes->size();
    drained_wanted_ = true;
    pending_.push_back(std::move(bytes));
    if (!request_wake()) return true;
  }
  post_pump();
  return true;
}

void StreamCore::finish() {
  {
    const std::lock_guard lock(mutex_);
    if (closed_ || finished_ || aborted_) return;
    finished_ = true;
    if (!request_wake()) return;
  }
  post_pump();
}

void StreamCore::abort() {
  {
    const std::lock_guard lock(mutex_);
    if (closed_ || aborted_) return;
    aborted_ = true;
    if (!request_wake()) return;
  }
  post_pump();
}

std::size_t StreamCore::backlog() const {
  const std::lock_guard lock(mutex_);
  return pending_bytes_ + in_transit_;
}

bool StreamCore::closed() const {
  const std::lock_guard lock(mutex_);
  return closed_;
}

bool StreamCore::abort_wanted() const {
  const std::lock_guard lock(mutex_);
  return aborted_;
}

void StreamCore::on_drained(std::function<void()> drained) {
  const std::lock_guard lock(mutex_);
  if (!closed_) std::swap(drained_, drained);  // The old one is destroyed after the lock is released.
}

void StreamCore::on_closed(std::function<void()> closed) {
  {
    const std::lock_guard lock(mutex_);
    if (!closed_) {
      std::swap(closed_callback_, closed);
      return;
    }
  }
  if (closed) closed();
}

StreamCore::Output StreamCore::take_output() {
  const std::lock_guard lock(mutex_);
  Output output;
  output.finished = finished_;
  output.aborted = aborted_;
  output.pieces.assign(std::make_move_iterator(pending_.begin()), std::make_move_iterator(pending_.end()));
  pending_.clear();
  in_transit_ += std::exchange(pending_bytes_, 0);
  return output;
}

std::size_t StreamCore::read_output(char* buffer, std::size_t size, bool& end) {
  std::unique_lock lock(mutex_);
  std::size_t filled = 0;
  while (filled < size && !pending_.empty()) {
    const std::string& front = *pending_.front();
    const std::size_t part = std::min(size - filled, front.size() - front_offset_);
    std::memcpy(buffer + filled, front.data() + front_offset_, part);
    filled += part;
    front_offset_ += part;
    if (front_offset_ < front.size()) break;
    front_offset_ = 0;
    pending_.pop_front();
  }
  pending_bytes_ -= filled;
  end = finished_ && pending_.empty();
  return filled;
}

bool StreamCore::output_waiting() const {
  const std::lock_guard lock(mutex_);
  return pending_bytes_ > 0 || finished_;
}

void StreamCore::set_in_transit(std::size_t size) {
  std::unique_lock lock(mutex_);
  in_transit_ = size;
  tell_drained(lock);
}

void StreamCore::tell_drained(std::unique_lock<std::mutex>& lock) {
  if (closed_ || !drained_wanted_ || pending_bytes_ + in_transit_ > 0) return;
  drained_wanted_ = false;
  const auto callback = drained_;
  lock.unlock();
  if (callback) callback();
}

void StreamCore::mark_closed() {
  std::function<void()> drained;
  std::function<void()> callback;
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(closed_, true)) return;
    std::swap(drained, drained_);
    std::swap(callback, closed_callback_);
    pending_.clear();
    pending_bytes_ = 0;
    in_transit_ = 0;
  }
  ended();
  if (callback) callback();
}

}  // namespace kubernel::net
