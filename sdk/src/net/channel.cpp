// SPDX-License-Identifier: Apache-2.0
#include "net/channel.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace kubernel::net {
namespace {

// How much one connection may read before others get their turn.
constexpr std::size_t kReadBudget = 256 * 1024;
constexpr std::chrono::milliseconds kLingerTime{2'000};
constexpr std::size_t kLingerBytes = 1024 * 1024;
constexpr std::chrono::milliseconds kFlushStallLimit{30'000};

}  // namespace

Channel::Channel(IoLoop& loop, Clock& clock, UniqueFd fd, std::unique_ptr<TlsSession> tls)
    : loop_(loop), clock_(clock), fd_(std::move(fd)), tls_(std::move(tls)) {}

Channel::~Channel() = default;

template <class F>
void Channel::enter(F&& work) {
  if (state_ == State::Closed) return;
  const auto self = shared_from_this();
  ++depth_;
  work();
  if (--depth_ == 0) leave();
}

// The end of an outermost entry: swaps protocols, sends what was queued, closes if asked to.
void Channel::leave() {
  ++depth_;
  while (!abort_requested_ && next_protocol_) {
    protocol_ = std::move(next_protocol_);
    const std::string unused = std::exchange(unused_, {});
    protocol_->on_open();
    if (!unused.empty() && !abort_requested_) protocol_->on_input(unused);
  }
  if (!abort_requested_) flush();
  // on_sent() may have asked for another protocol, or queued more: the next entry goes on. It is never far: both
  // only happen while data moves.
  --depth_;
  if (abort_requested_) {
    close_now();
  } else if (next_protocol_) {
    enter([] {});
  } else if (close_requested_ && unsent_ == 0 && state_ <= State::Flushing) {
    begin_linger();
  } else {
    arm_timer();
  }
}

void Channel::start(std::unique_ptr<Protocol> protocol, std::function<void()> released) {
  protocol_ = std::move(protocol);
  released_ = std::move(released);
  state_ = State::Connecting;
  auto added = loop_.add(fd_.get(), shared_from_this());
  enter([&] {
    if (!added) abort(std::move(added).error());
  });
}

void Channel::replace_protocol(std::unique_ptr<Protocol> protocol, std::string unused) {
  next_protocol_ = std::move(protocol);
  unused_ = std::move(unused);
  if (depth_ == 0) enter([] {});
}

void Channel::post(std::function<void()> task) {
  loop_.post([self = shared_from_this(), task = std::move(task)] {
    // Also after the channel was closed: the task sees closed() and tells its stream.
    if (self->closed()) {
      task();
    } else {
      self->enter(task);
    }
  });
}

void Channel::after_posted(std::function<void()> task) {
  loop_.after_posted([self = shared_from_this(), task = std::move(task)] { self->enter(task); });
}

void Channel::send(Bytes bytes) {
  if (closed() || abort_requested_ || !bytes || bytes->empty()) return;
  unsent_ += bytes->size();
  out_.push_back(std::move(bytes));
  if (depth_ == 0) enter([] {});
}

void Channel::pause_reading(bool paused) {
  if (paused_ == paused) return;
  paused_ = paused;
  if (paused || read_again_posted_) return;
  // Not from here: the caller is in the middle of using what came before.
  read_again_posted_ = true;
  post([this] {
    read_again_posted_ = false;
    readable_ = true;
    read_input();
  });
}

void Channel::set_deadline(std::optional<Clock::TimePoint> deadline) {
  deadline_ = deadline;
  if (depth_ == 0 && !closed()) arm_timer();
}

void Channel::close_after_sending() {
  close_requested_ = true;
  if (stall_limit_.count() == 0) stall_limit_ = kFlushStallLimit;
  if (state_ == State::Open) state_ = State::Flushing;
  if (depth_ == 0) enter([] {});
}

void Channel::close_while_peer_sends() {
  linger_ = true;
  close_after_sending();
}

void Channel::drain() {
  enter([this] { protocol_->on_drain(); });
}

void Channel::abort(std::optional<Error> why) {
  if (closed() || abort_requested_) return;
  abort_requested_ = true;
  failure_ = std::move(why);
  if (depth_ == 0) enter([] {});
}

std::optional<PeerCertificate> Channel::verified_peer() const {
  return tls_ ? tls_->verified_peer() : std::nullopt;
}

void Channel::on_ready(std::uint32_t events) {
  enter([&] {
    if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) writable_ = true;
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP)) != 0) readable_ = true;
    if (state_ == State::Connecting) connected();
    if (state_ == State::Handshaking) advance_handshake();
    if (state_ == State::Lingering) return read_lingering();
    read_input();
    const bool ended = (events & (EPOLLRDHUP | EPOLLHUP)) != 0;
    // While reading is paused the end would go unseen, and with it that nobody waits for the answer any more.
    if (ended && paused_ && !peer_leaving_told_ && !abort_requested_ && state_ >= State::Open) {
      peer_leaving_told_ = true;
      protocol_->on_peer_leaving();
    }
  });
}

void Channel::connected() {
  int code = 0;
  socklen_t size = sizeof code;
  if (::getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &code, &size) != 0) code = errno;
  if (code != 0) return abort(errno_error(Reason::ServiceUnavailable, "connect", code));
  if (!writable_) return;
  if (tls_) {
    state_ = State::Handshaking;
  } else {
    state_ = close_requested_ ? State::Flushing : State::Open;
    protocol_->on_open();
  }
}

void Channel::advance_handshake() {
  switch (tls_->handshake()) {
    case IoStatus::Again: return;
    case IoStatus::Ok: state_ = close_requested_ ? State::Flushing : State::Open; return protocol_->on_open();
    default:
      if (tls_->plain_http()) {
        static constexpr std::string_view kAnswer =
            "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
        [[maybe_unused]] const ssize_t told = ::send(fd_.get(), kAnswer.data(), kAnswer.size(), MSG_NOSIGNAL);
      }
      abort(tls_->error());
  }
}

IoResult Channel::read_some(char* data, std::size_t size) {
  if (tls_) return tls_->read(data, size);
  const ssize_t got = ::recv(fd_.get(), data, size, 0);
  if (got > 0) return {IoStatus::Ok, static_cast<std::size_t>(got)};
  if (got == 0) return {IoStatus::Eof, 0};
  return {errno == EAGAIN || errno == EINTR ? IoStatus::Again : IoStatus::Failed, 0};
}

void Channel::read_input() {
  auto& buffer = loop_.input_scratch();
  std::size_t budget = kReadBudget;
  while (readable_ && !paused_ && !peer_closed_ && !abort_requested_ && !next_protocol_ && state_ == State::Open) {
    if (budget == 0) {
      if (!read_again_posted_) {
        read_again_posted_ = true;
        post([this] {
          read_again_posted_ = false;
          read_input();
        });
      }
      return;
    }
    const IoResult got = read_some(buffer.data(), std::min(buffer.size(), budget));
    switch (got.status) {
      case IoStatus::Again: readable_ = false; return;
      case IoStatus::Eof: peer_closed_ = true; return protocol_->on_peer_closed();
      case IoStatus::Failed:
        return abort(tls_ ? tls_->error() : errno_error(Reason::ServiceUnavailable, "read", errno));
      case IoStatus::Ok: break;
    }
    budget -= got.size;
    protocol_->on_input({buffer.data(), got.size});
  }
  if (next_protocol_ && readable_ && !read_again_posted_) {
    // The new protocol reads on after it has been told what is left over.
    read_again_posted_ = true;
    post([this] {
      read_again_posted_ = false;
      read_input();
    });
  }
}

IoResult Channel::write_some() {
  if (!tls_) {
    std::array<iovec, 16> parts{};
    std::size_t count = 0;
    for (const Bytes& bytes : out_) {
      if (count == parts.size()) break;
      const std::size_t offset = count == 0 ? out_offset_ : 0;
      parts[count++] = {const_cast<char*>(bytes->data()) + offset, bytes->size() - offset};
    }
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = count;
    const ssize_t size = ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL);
    if (size >= 0) return {IoStatus::Ok, static_cast<std::size_t>(size)};
    return {errno == EAGAIN || errno == EINTR ? IoStatus::Again : IoStatus::Failed, 0};
  }
  const std::string& first = *out_.front();
  auto& joined = loop_.output_scratch();
  if (out_.size() == 1 || first.size() - out_offset_ >= joined.size()) {
    return tls_->write(first.data() + out_offset_, first.size() - out_offset_);
  }
  // Small pieces share a record. A write that must be repeated is repeated with the same first bytes, as TLS requires.
  std::size_t filled = 0;
  for (const Bytes& bytes : out_) {
    const std::size_t offset = filled == 0 ? out_offset_ : 0;
    const std::size_t size = std::min(bytes->size() - offset, joined.size() - filled);
    std::memcpy(joined.data() + filled, bytes->data() + offset, size);
    filled += size;
    if (filled == joined.size()) break;
  }
  return tls_->write(joined.data(), filled);
}

void Channel::sent(std::size_t size) {
  unsent_ -= size;
  while (size > 0) {
    const std::size_t left = out_.front()->size() - out_offset_;
    if (size < left) {
      out_offset_ += size;
      return;
    }
    size -= left;
    out_offset_ = 0;
    out_.pop_front();
  }
}

void Channel::flush() {
  while (writable_ && !out_.empty() && !abort_requested_ && (state_ == State::Open || state_ == State::Flushing)) {
    const IoResult result = write_some();
    if (result.status == IoStatus::Again) {
      writable_ = false;
    } else if (result.status == IoStatus::Ok) {
      sent(result.size);
      stalled_at_.reset();
      protocol_->on_sent();
    } else {
      abort(tls_ ? tls_->error() : errno_error(Reason::ServiceUnavailable, "write", errno));
    }
  }
  if (out_.empty()) {
    stalled_at_.reset();
  } else if (!stalled_at_ && stall_limit_.count() > 0) {
    stalled_at_ = clock_.now();
  }
}

void Channel::begin_linger() {
  if (tls_ && state_ >= State::Open) tls_->close();
  ::shutdown(fd_.get(), SHUT_WR);
  const bool over = !linger_ || peer_closed_ || state_ < State::Open;
  state_ = State::Lingering;
  if (over) return close_now();
  deadline_ = clock_.now() + kLingerTime;
  arm_timer();
  enter([this] { read_lingering(); });
}

// Reads and drops until the peer has closed, too.
void Channel::read_lingering() {
  auto& buffer = loop_.input_scratch();
  for (;;) {
    // The raw socket: what would come decrypted is not wanted.
    const ssize_t got = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    lingered_ += got > 0 ? static_cast<std::size_t>(got) : 0;
    if (got > 0 && lingered_ < kLingerBytes) continue;
    abort_requested_ = true;
    return;
  }
}

void Channel::close_now() {
  if (state_ == State::Closed) return;
  const auto self = shared_from_this();
  const bool graceful = state_ == State::Lingering;
  state_ = State::Closed;
  timer_.reset();
  deadline_.reset();
  loop_.remove(fd_.get());
  if (!graceful && !failure_) {
    // Broken off by our own side: the peer must see a reset and not an end.
    const linger hard{1, 0};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  }
  tls_.reset();
  fd_.reset();
  out_.clear();
  unsent_ = 0;
  next_protocol_.reset();
  const std::unique_ptr<Protocol> protocol = std::move(protocol_);
  if (protocol) protocol->on_closed(failure_ ? &*failure_ : nullptr);
  if (const auto released = std::exchange(released_, nullptr)) released();
}

std::optional<Clock::TimePoint> Channel::next_due() const {
  std::optional<Clock::TimePoint> due = deadline_;
  if (stalled_at_ && (!due || *stalled_at_ + stall_limit_ < *due)) due = *stalled_at_ + stall_limit_;
  return due;
}

// A timer that fires early looks again, so a deadline that only moves back costs nothing.
void Channel::arm_timer() {
  const auto due = next_due();
  if (!due || (timer_ && timer_due_ <= *due)) return;
  timer_due_ = *due;
  timer_ = clock_.call_at(*due, [weak = weak_from_this(), &loop = loop_] {
    loop.post([weak] {
      if (const auto self = weak.lock()) self->enter([&] { self->on_timer(); });
    });
  });
}

void Channel::on_timer() {
  timer_.reset();
  const Clock::TimePoint now = clock_.now();
  if (stalled_at_ && now >= *stalled_at_ + stall_limit_) {
    return abort(Error(Reason::Timeout, "the peer takes no data"));
  }
  if (!deadline_ || now < *deadline_) return;
  deadline_.reset();
  if (state_ == State::Lingering) {
    abort_requested_ = true;
  } else {
    protocol_->on_timeout();
  }
}

}  // namespace kubernel::net
