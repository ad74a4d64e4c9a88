// SPDX-License-Identifier: Apache-2.0
#include <kubernel/client/events.h>

#include <cstdio>
#include <deque>
#include <mutex>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include <kubernel/api/time.h>

#include "client/lru.h"
#include "client/turns.h"

namespace kubernel::client {
namespace {

using nlohmann::json;
using std::chrono::seconds;

// client-go's event correlator and broadcaster.
constexpr std::size_t kQueueLimit = 1000;
constexpr std::size_t kRemembered = 4096;
constexpr std::size_t kSimilarAtMost = 10;
constexpr seconds kSimilarWithin{600};
constexpr double kSpamBurst = 25;
constexpr double kSpamPerSecond = 1.0 / 300;
constexpr int kTries = 12;
constexpr seconds kBetweenTries{10};
constexpr seconds kLastWords{2};

struct Event {
  json involved;
  std::string type, reason, message;
  Clock::TimePoint at;
  Clock::WallTime wall;
  int tries = 0;
};

// What one source says about one object; the parts of a key are separated by a byte no name has.
std::string about_key(const Event& event) {
  std::string out;
  for (const char* part : {"kind", "namespace", "name", "uid", "apiVersion"})
    out += event.involved.value(part, "") + '\n';
  return out;
}

struct Similar {
  Clock::TimePoint last;
  std::set<std::string> messages;
};
struct Written {
  std::string ns, name, first_timestamp;
  int count = 0;
};
struct Bucket {
  double tokens = kSpamBurst;
  Clock::TimePoint filled;
};

class Recorder final : public EventRecorder {
 public:
  Recorder(ApiClient& client, EventSource source, Logger& log, Clock& clock, Random& random, Executor& blocking)
      : client_(client),
        source_(std::move(source)),
        log_(log),
        clock_(clock),
        random_(random),
        turns_(std::make_shared<Turns>(blocking, clock)) {}

  ~Recorder() override {
    turns_->stop();
    retry_.reset();
    // What is left gets one try each; the first failure ends it.
    CallContext ctx;
    ctx.deadline = clock_.now() + kLastWords;
    for (const Event& event : queue_) {
      if (clock_.now() >= ctx.deadline || !write(ctx, event)) break;
    }
  }
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  void record(const api::Object& about, std::string_view type, std::string_view reason,
              std::string_view message) override {
    const auto& head = about.head();
    Event event;
    event.involved = {{"kind", head.gvk.kind},
                      {"apiVersion", head.gvk.api_version()},
                      {"name", head.key.name},
                      {"uid", head.uid},
                      {"resourceVersion", std::to_string(head.resource_version)}};
    if (!head.key.ns.empty()) event.involved["namespace"] = head.key.ns;
    event.type = type;
    event.reason = reason;
    event.message = message;
    event.at = clock_.now();
    event.wall = clock_.wall_now();
    {
      const std::lock_guard lock(mutex_);
      if (queue_.size() >= kQueueLimit) {
        ++dropped_;
        return;
      }
      queue_.push_back(std::move(event));
    }
    turns_->run_once([this] { drain(); });
  }

 private:
  // In a turn. Lifetime: the destructor waits for turns, so `this` is alive.
  void drain() {
    if (retry_) return;  // Its timer goes on.
    int tries = 0;
    for (;;) {
      Event event;
      {
        const std::lock_guard lock(mutex_);
        if (queue_.empty()) return;
        event = queue_.front();
      }
      const auto written = write({}, event);
      const bool again = !written && worth_retrying(written.error()) && event.tries + 1 < kTries;
      const std::lock_guard lock(mutex_);
      if (again) {
        tries = ++queue_.front().tries;
        break;
      }
      queue_.pop_front();
      if (!written) drop(event, written.error());
      if (dropped_ > 0) {
        log_warning(log_, "events dropped, their queue was full", {{"count", std::exchange(dropped_, 0)}});
      }
    }
    // The first pause is random, so that all clients of a server do not come back at once.
    const auto pause = std::chrono::milliseconds(tries == 1 ? static_cast<std::int64_t>(random_below(random_, 10'000))
                                                            : kBetweenTries.count() * 1000);
    retry_ = clock_.call_at(clock_.now() + pause, [this] {
      turns_->run([this] {
        retry_.reset();
        drain();
      });
    });
  }

  static bool worth_retrying(const Error& error) {
    return error.reason() == Reason::ServiceUnavailable || error.reason() == Reason::Timeout;
  }

  void drop(const Event& event, const Error& error) {
    const bool terminating = error.reason() == Reason::Forbidden;  // The namespace is going: nobody will read it.
    const auto level = terminating || error.reason() == Reason::AlreadyExists ? LogLevel::Debug : LogLevel::Warning;
    if (!log_.enabled(level)) return;
    log_.write(level, "event not written",
               {{"object", event.involved.value("name", "")}, {"reason", event.reason}, {"error", error}});
  }

  Result<void> write(const CallContext& ctx, const Event& event) {
    const auto [key, message] = aggregate(event);
    if (event.tries == 0 && spam(event)) return {};
    Written& known = written_.at(key);
    if (known.count > 0) {
      const json patch = {
          {"count", known.count + 1}, {"lastTimestamp", api::format_time(event.wall)}, {"message", message}};
      const auto patched =
          client_.patch(ctx, api::resources::kEvents, {known.ns, known.name}, PatchType::Merge, patch, {});
      if (patched) {
        ++known.count;
        return {};
      }
      if (patched.error().reason() != Reason::NotFound) return patched.error();
      known = {};  // Events expire; begin anew.
    }
    const json document = make(event, message);
    const std::string ns = document["metadata"]["namespace"].get<std::string>();
    KUBERNEL_TRY(const api::Object created, client_.create(ctx, api::resources::kEvents, {ns, ""}, document, {}));
    known = {ns, created.name(), document["firstTimestamp"].get<std::string>(), 1};
    return {};
  }

  // Many different messages about the same thing become one: all share a key and a marked message.
  std::pair<std::string, std::string> aggregate(const Event& event) {
    const std::string group = about_key(event) + event.type + '\n' + event.reason;
    Similar& similar = similar_.at(group);
    if (event.at - similar.last > kSimilarWithin) similar.messages.clear();
    similar.last = event.at;
    similar.messages.insert(event.message);
    if (similar.messages.size() < kSimilarAtMost) return {group + '\n' + event.message, event.message};
    similar.messages.erase(similar.messages.begin());
    return {group, "(combined from similar events): " + event.message};
  }

  bool spam(const Event& event) {
    Bucket& bucket = buckets_.at(about_key(event));
    if (bucket.filled == Clock::TimePoint{}) bucket.filled = event.at;
    const double passed = std::chrono::duration<double>(event.at - bucket.filled).count();
    bucket.tokens = std::min(kSpamBurst, bucket.tokens + passed * kSpamPerSecond);
    bucket.filled = event.at;
    if (bucket.tokens < 1) return true;
    bucket.tokens -= 1;
    return false;
  }

  json make(const Event& event, const std::string& message) const {
    char stamp[17];
    const auto nanos = std::chrono::duration_cast<std::chrono::nanoseconds>(event.wall.time_since_epoch()).count();
    std::snprintf(stamp, sizeof stamp, "%llx", static_cast<unsigned long long>(nanos) + sequence_++);
    const std::string ns = event.involved.value("namespace", "default");
    json source = {{"component", source_.component}};
    if (!source_.host.empty()) source["host"] = source_.host;
    const std::string now = api::format_time(event.wall);
    return {{"apiVersion", "v1"},
            {"kind", "Event"},
            {"metadata", {{"name", event.involved.value("name", "") + "." + stamp}, {"namespace", ns}}},
            {"involvedObject", event.involved},
            {"reason", event.reason},
            {"message", message},
            {"source", std::move(source)},
            {"firstTimestamp", now},
            {"lastTimestamp", now},
            {"count", 1},
            {"type", event.type},
            {"eventTime", nullptr},
            {"reportingComponent", source_.component},
            {"reportingInstance", source_.host}};
  }

  ApiClient& client_;
  const EventSource source_;
  Logger& log_;
  Clock& clock_;
  Random& random_;
  const std::shared_ptr<Turns> turns_;

  std::mutex mutex_;
  std::deque<Event> queue_;
  int dropped_ = 0;

  // Touched in turns, and by the destructor after them.
  Lru<Similar> similar_{kRemembered};
  Lru<Written> written_{kRemembered};
  Lru<Bucket> buckets_{kRemembered};
  std::unique_ptr<Subscription> retry_;
  mutable std::uint64_t sequence_ = 0;  // Two events in one tick of the clock are two names.
};

}  // namespace

std::unique_ptr<EventRecorder> make_event_recorder(ApiClient& client, EventSource source, Logger& log, Clock& clock,
                                                   Random& random, Executor& blocking) {
  return std::make_unique<Recorder>(client, std::move(source), log, clock, random, blocking);
}

}  // namespace kubernel::client
