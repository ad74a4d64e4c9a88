// SPDX-License-Identifier: Apache-2.0
#include "net/grpc_stream.h"

#include <utility>

namespace kubernel::net {

bool GrpcStream::send(std::string_view message) {
  {
    const std::lock_guard lock(mutex_);
    if (status_) return false;
    sent_any_ = true;
  }
  return write(grpc_frame(message));
}

void GrpcStream::pause(bool paused) {
  if (paused_.exchange(paused) == paused || paused) return;
  channel_->post([self = self()] {
    if (self->link_ != nullptr) self->link_->deliver(*self);
  });
}

void GrpcStream::finish(const GrpcStatus& status) {
  std::shared_ptr<Gate::Pass> pass;
  {
    const std::lock_guard lock(mutex_);
    if (!status_) status_ = status;
    std::swap(pass, pass_);  // Released after the lock, as the last thing done.
  }
  StreamCore::finish();
}

std::optional<GrpcStatus> GrpcStream::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

bool GrpcStream::sent_any() const {
  const std::lock_guard lock(mutex_);
  return sent_any_;
}

void GrpcStream::begin(const GrpcMethods::Method& chosen, std::shared_ptr<Gate::Pass> pass) {
  {
    const std::lock_guard lock(mutex_);
    pass_ = std::move(pass);
  }
  if (const auto* streaming = std::get_if<GrpcMethods::Streaming>(&chosen)) {
    receiver_ = (*streaming)(self());
  } else {
    one_message_ = &std::get<GrpcMethods::OneMessage>(chosen);
  }
}

void GrpcStream::deliver(std::size_t max_message_bytes) {
  while (!paused_ && !closed()) {
    const auto message = input.next(max_message_bytes);
    if (!message) break;
    take(*message);
  }
  if (input.refusal()) finish(*input.refusal());
  input.compact();
  if (client_ended && !paused_ && !std::exchange(end_told_, true)) end();
}

void GrpcStream::take(std::string_view message) {
  if (receiver_) return receiver_->on_message(message);
  if (request_) return finish({GrpcCode::Internal, "grpc: the request is more than one message"});
  request_ = message;
}

void GrpcStream::end() {
  if (status()) return;  // Refused already.
  if (input.unread() != 0) return finish({GrpcCode::Internal, "grpc: the request ends within a message"});
  if (receiver_) return receiver_->on_end();
  if (!request_) return finish({GrpcCode::Internal, "grpc: the request is no message"});
  if (one_message_ != nullptr) (*one_message_)(self(), *request_);
}

void GrpcStream::pump() {
  if (link_ != nullptr) link_->pump(*this);
}

void GrpcStream::ended() {
  link_ = nullptr;
  if (const auto receiver = std::exchange(receiver_, nullptr)) receiver->on_closed();
  // A handler that never ran has nothing to finish.
  if (one_message_ != nullptr && !end_told_) finish({GrpcCode::Cancelled, ""});
}

}  // namespace kubernel::net
