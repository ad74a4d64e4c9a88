// SPDX-License-Identifier: Apache-2.0
#include "session_pool.h"

#include <algorithm>
#include <array>
#include <stop_token>
#include <utility>

namespace kubernel::storage_server {
namespace {

constexpr std::chrono::milliseconds kFirstBackOff{50};
constexpr std::chrono::milliseconds kLongestBackOff{5'000};

// Ends the statement that runs while this lives, when the caller is told to stop. The order to end it goes out from a
// pool thread: it needs a connection of its own.
class Interruption {
 public:
  Interruption(const CallContext& ctx, Session& session, Executor& executor) : state_(std::make_shared<State>()) {
    if (!ctx.stop.stop_possible()) return;
    state_->interrupt = session.interrupter();
    callback_.emplace(ctx.stop, Submit{state_, executor});
  }
  ~Interruption() { end(); }
  Interruption(const Interruption&) = delete;
  Interruption& operator=(const Interruption&) = delete;

  /// From now on nothing is interrupted. True when something was, maybe only just: the order may still be on its way
  /// to the server, and would hit what runs on the session next.
  bool end() {
    callback_.reset();
    const std::lock_guard lock(state_->mutex);
    state_->interrupt = nullptr;
    return state_->done;
  }

 private:
  struct State {
    std::mutex mutex;
    std::function<void()> interrupt;
    bool done = false;
  };
  struct Submit {
    std::shared_ptr<State> state;
    Executor& executor;
    void operator()() const {
      // A full pool refuses it; then the statement's time-out has to do.
      (void)executor.submit([held = state] {
        const std::lock_guard lock(held->mutex);
        if (!held->interrupt) return;
        held->done = true;
        held->interrupt();
      });
    }
  };

  std::shared_ptr<State> state_;
  std::optional<std::stop_callback<Submit>> callback_;
};

Error cancelled() {
  return {Reason::Cancelled, "storage: the call was cancelled"};
}

Error too_late() {
  return {Reason::Timeout, "storage: the deadline has passed"};
}

}  // namespace

Result<std::unique_ptr<Session>> Dialer::connect() {
  {
    const std::lock_guard lock(mutex_);
    if (clock_.now() < next_attempt_) {
      const auto wait = std::chrono::ceil<std::chrono::milliseconds>(next_attempt_ - clock_.now());
      return Error(Reason::ServiceUnavailable, server_.name() + ": " + last_error_ + "; connecting again in " +
                                                   std::to_string(wait.count()) + " ms");
    }
  }
  auto session = server_.connect();
  const std::lock_guard lock(mutex_);
  if (session) {
    failures_ = 0;
    next_attempt_ = Clock::TimePoint::min();
    return session;
  }
  last_error_ = session.error().message();
  const auto back_off = std::min(kFirstBackOff * (1 << std::min(failures_, 7)), kLongestBackOff);
  ++failures_;
  next_attempt_ = std::max(next_attempt_, clock_.now() + back_off);
  return std::move(session).error().wrap(server_.name());
}

Clock::TimePoint Dialer::next_attempt() const {
  const std::lock_guard lock(mutex_);
  return next_attempt_;
}

Result<void> SessionPool::run(const CallContext& ctx, const std::function<Result<void>(Session&)>& read) {
  for (bool again = false;; again = true) {
    KUBERNEL_TRY(auto session, take(again));
    bool discard = false;
    auto result = run_on(*session, ctx, read, discard);
    const bool lost = session->broken();
    if (discard || lost) session.reset();
    put_back(std::move(session));
    if (result) return result;
    if (ctx.stopping()) return cancelled();
    if (lost && !again) continue;
    if (result.error().reason() == Reason::Timeout && clock_.now() >= ctx.deadline) return too_late();
    // An error of the store itself says all there is to say.
    if (result.error().reason() != Reason::ServiceUnavailable && result.error().reason() != Reason::Timeout) {
      return result;
    }
    return std::move(result).error().wrap(dialer_.server().name());
  }
}

Result<void> SessionPool::run_on(Session& session, const CallContext& ctx,
                                 const std::function<Result<void>(Session&)>& read, bool& discard) {
  Interruption interruption(ctx, session, executor_);
  Result<void> result = limit(session, ctx);
  if (result) result = read(session);
  discard = interruption.end();
  return result;
}

Result<void> SessionPool::limit(Session& session, const CallContext& ctx) {
  if (ctx.stopping()) return cancelled();
  auto timeout = timeout_;
  if (ctx.deadline != CallContext::Clock::time_point::max()) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(ctx.deadline - clock_.now());
    if (left <= std::chrono::milliseconds(0)) return too_late();
    timeout = std::min(timeout, left);
  }
  if (timeout == session.timeout) return {};
  const std::array statement = {dialer_.server().dialect().set_timeout(timeout)};
  KUBERNEL_CHECK_OK(session.script(statement));
  session.timeout = timeout;
  return {};
}

Result<std::unique_ptr<Session>> SessionPool::take(bool fresh) {
  {
    std::unique_lock lock(mutex_);
    // Whoever holds a session gives it back within a statement's time-out.
    returned_.wait(lock, [this] { return used_ < most_; });
    ++used_;
    if (fresh) idle_.clear();  // One was lost: the others were lost with it, or soon find out.
    if (!idle_.empty()) {
      auto session = std::move(idle_.back());
      idle_.pop_back();
      return session;
    }
  }
  auto session = dialer_.connect();
  if (!session) put_back(nullptr);
  return session;
}

void SessionPool::put_back(std::unique_ptr<Session> session) {
  {
    const std::lock_guard lock(mutex_);
    --used_;
    if (session) idle_.push_back(std::move(session));
  }
  returned_.notify_one();
}

}  // namespace kubernel::storage_server
