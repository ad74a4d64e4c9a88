// SPDX-License-Identifier: Apache-2.0
#include "pg_listener.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <utility>

#include <pqxx/pqxx>

#include "pg_session.h"

// What libpqxx 6 has, and 7 replaces one by one.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace kubernel::storage_postgres {
namespace {

constexpr std::chrono::milliseconds kFirstBackOff{50};
constexpr std::chrono::milliseconds kLongestBackOff{5'000};

// Counts the notifications that are not our own.
class Receiver final : public pqxx::notification_receiver {
 public:
  Receiver(pqxx::connection& connection, std::string self)
      : pqxx::notification_receiver(connection, kChannel), self_(std::move(self)) {}
  void operator()(const std::string& payload, int) override {
    if (payload != self_) ++foreign_;
  }
  int take() { return std::exchange(foreign_, 0); }

 private:
  const std::string self_;
  int foreign_ = 0;
};

struct Link {
  Link(const std::string& how, const std::string& self) : connection(how), receiver(connection, self) {}
  pqxx::connection connection;
  pqxx::quiet_errorhandler quiet{connection};
  Receiver receiver;
};

// Destroyed in the order: no callback of the poller any more, then its descriptor.
struct Ear {
  std::unique_ptr<Link> link;
  std::unique_ptr<Subscription> readable;
};

struct State : std::enable_shared_from_this<State> {
  State(ListenOptions o, const storage::BackendContext& c, std::function<void()> f)
      : options(std::move(o)),
        clock(c.clock),
        executor(c.blocking),
        poller(c.poller),
        log(c.log),
        changed(std::move(f)) {}

  // On a pool thread, or the opener's. False when the process has no poller.
  bool connect() {
    const std::lock_guard connecting(connect_mutex);
    {
      const std::lock_guard lock(mutex);
      if (closed) return true;
    }
    auto made = make_link();
    if (!made) {
      if (failures == 0) {
        log_warning(log, "writes of other processes cannot be heard of, connecting again", {{"error", made.error()}});
      }
      retry();
      return true;
    }
    Ear fresh{.link = *std::move(made), .readable = nullptr};
    const std::weak_ptr<State> weak = weak_from_this();
    const int fd = fresh.link->connection.sock();
    Link* const link = fresh.link.get();
    {
      const std::lock_guard lock(mutex);
      if (closed) return true;
      ear.link = std::move(fresh.link);
    }
    auto readable = poller.when_readable(fd, [weak, link] {
      if (const auto self = weak.lock()) self->on_readable(*link);
    });
    if (!readable) return false;
    std::unique_ptr<Subscription> late = *std::move(readable);  // Destroyed without the lock, unless it is kept.
    {
      const std::lock_guard lock(mutex);
      if (!closed && !std::exchange(lost, false)) ear.readable = std::move(late);
    }
    failures = 0;
    if (std::exchange(connected_before, true)) changed();  // What was missed meanwhile.
    return true;
  }

  Result<std::unique_ptr<Link>> make_link() {
    KUBERNEL_TRY(const std::string how, options.connection_string());
    try {
      return std::make_unique<Link>(how, options.self);
    } catch (const std::exception& error) {
      return Error(Reason::ServiceUnavailable, options.name + ": " + storage_server::first_line(error.what()));
    }
  }

  // On the poller's thread. What is there is read; nothing is waited for.
  void on_readable(Link& link) {
    try {
      link.connection.get_notifs();
      if (link.receiver.take() > 0) changed();
      if (link.connection.is_open()) return;
    } catch (const std::exception&) {
      // The connection is lost.
    }
    std::unique_ptr<Subscription> own;  // A callback may end its own subscription.
    {
      const std::lock_guard lock(mutex);
      own = std::move(ear.readable);
      lost = own == nullptr;  // Not kept yet: connect() will not keep it.
    }
    again();
  }

  void again() {
    const auto submitted = executor.submit([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->connect();
    });
    if (!submitted) retry();
  }

  void retry() {
    const auto back_off = std::min(kFirstBackOff * (1 << std::min(failures++, 7)), kLongestBackOff);
    std::unique_ptr<Subscription> old;
    const std::lock_guard lock(mutex);
    if (closed) return;
    old = std::move(timer);
    timer = clock.call_at(clock.now() + back_off, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->again();
    });
  }

  void close() {
    std::unique_ptr<Subscription> readable;
    std::unique_ptr<Subscription> old;
    {
      const std::lock_guard lock(mutex);
      closed = true;
      readable = std::move(ear.readable);
      old = std::move(timer);
    }
    readable.reset();
    old.reset();
    const std::lock_guard connecting(connect_mutex);  // Waits for an attempt that is under way.
    ear.link.reset();
  }

  const ListenOptions options;
  Clock& clock;
  Executor& executor;
  Poller& poller;
  Logger& log;
  const std::function<void()> changed;

  std::mutex connect_mutex;  // Held while connecting. Taken before `mutex`.
  bool connected_before = false;
  std::atomic<int> failures = 0;
  std::mutex mutex;
  Ear ear;
  std::unique_ptr<Subscription> timer;
  bool lost = false;  // While connect() made its subscription.
  bool closed = false;
};

class Listening final : public Subscription {
 public:
  explicit Listening(std::shared_ptr<State> state) : state_(std::move(state)) {}
  ~Listening() override { state_->close(); }

 private:
  std::shared_ptr<State> state_;
};

}  // namespace

std::unique_ptr<Subscription> listen(ListenOptions options, const storage::BackendContext& context,
                                     std::function<void()> changed) {
  auto state = std::make_shared<State>(std::move(options), context, std::move(changed));
  auto listening = std::make_unique<Listening>(state);
  if (!state->connect()) return nullptr;
  return listening;
}

}  // namespace kubernel::storage_postgres
