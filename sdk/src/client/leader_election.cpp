// SPDX-License-Identifier: Apache-2.0
#include <kubernel/client/leader_election.h>

#include <mutex>
#include <utility>

#include <nlohmann/json.hpp>

#include <kubernel/api/time.h>

#include "client/turns.h"

namespace kubernel::client {
namespace {

using api::Object;
using api::resources::kLeases;
using nlohmann::json;

class LeaseElector final : public LeaderElector {
 public:
  LeaseElector(const InformerContext& context, ApiClient& client, LeaderElection election, LeaderCallbacks callbacks)
      : context_(context),
        client_(client),
        election_(std::move(election)),
        callbacks_(std::move(callbacks)),
        turns_(std::make_shared<Turns>(context.blocking, context.clock)) {}
  ~LeaseElector() override { stop(); }
  LeaseElector(const LeaseElector&) = delete;
  LeaseElector& operator=(const LeaseElector&) = delete;

  void start() override {
    turns_->run([this] { step(); });
  }

  bool leading() const override {
    const std::lock_guard lock(mutex_);
    // Also false between the deadline and the turn that notices it.
    return leading_ && context_.clock.now() < renewed_ + election_.renew_deadline;
  }

  std::string leader() const override {
    const std::lock_guard lock(mutex_);
    return holder_;
  }

  void stop() override {
    stop_.request_stop();
    turns_->stop();
    next_.reset();
    deadline_.reset();
    const bool held = leading();
    lose();
    if (held) release();
  }

 private:
  // In a turn: one try to get or keep the lease, then a timer for the next.
  void step() {
    if (stop_.stop_requested()) return;
    const auto began = context_.clock.now();
    const auto held = try_acquire_or_renew(began);
    if (!held) {
      log_warning(context_.log, "leader election: could not read or write the lease",
                  {{"lease", to_string(election_.lease)}, {"error", held.error()}});
    } else if (*held) {
      keep(began);
    } else if (is_leading()) {
      lose();  // Somebody else has it.
    }
    // A leader renews in step; those who wait spread out.
    auto pause = std::chrono::duration_cast<std::chrono::milliseconds>(election_.retry_period);
    if (!is_leading()) {
      pause +=
          std::chrono::milliseconds(random_below(context_.random, static_cast<std::uint64_t>(pause.count() * 12 / 10)));
    }
    next_ = context_.clock.call_at(context_.clock.now() + pause, [this] { turns_->run([this] { step(); }); });
  }

  bool is_leading() const {
    const std::lock_guard lock(mutex_);
    return leading_;
  }

  void keep(Clock::TimePoint renewed) {
    bool first = false;
    {
      const std::lock_guard lock(mutex_);
      first = !std::exchange(leading_, true);
      renewed_ = renewed;
    }
    deadline_ = context_.clock.call_at(renewed + election_.renew_deadline, [this] {
      turns_->run([this] {
        if (!leading()) lose();
      });
    });
    if (first) {
      log_info(context_.log, "leader election: leading",
               {{"lease", to_string(election_.lease)}, {"identity", election_.identity}});
      if (callbacks_.started_leading) callbacks_.started_leading();
    }
  }

  void lose() {
    {
      const std::lock_guard lock(mutex_);
      if (!std::exchange(leading_, false)) return;
    }
    log_info(context_.log, "leader election: no longer leading", {{"lease", to_string(election_.lease)}});
    if (callbacks_.stopped_leading) callbacks_.stopped_leading();
  }

  // True when the lease is ours now.
  Result<bool> try_acquire_or_renew(Clock::TimePoint now) {
    CallContext ctx{stop_.get_token()};
    ctx.deadline = now + election_.renew_deadline;
    auto found = client_.get(ctx, kLeases, election_.lease, {});
    if (!found && found.error().reason() != Reason::NotFound) return found.error();
    if (!found) {
      const json document = {{"metadata", {{"name", election_.lease.name}, {"namespace", election_.lease.ns}}},
                             {"spec", record(0, {})}};
      return written(client_.create(ctx, kLeases, {election_.lease.ns, ""}, document, {}), now);
    }
    observe(*found, now);
    const api::Value spec = (*found)["spec"];
    const auto holder = spec["holderIdentity"].string();
    const bool ours = holder == election_.identity;
    const auto duration = std::chrono::seconds(spec["leaseDurationSeconds"].integer());
    if (!holder.empty() && !ours && observed_at_ + duration > now) return false;
    json document = found->to_json();
    const auto transitions = spec["leaseTransitions"].integer();
    document["spec"].update(ours ? record(transitions, spec["acquireTime"]) : record(transitions + 1, {}));
    return written(client_.update(ctx, kLeases, election_.lease, document, {}), now);
  }

  // A lost race is no failure: somebody else was quicker.
  Result<bool> written(const Result<Object>& result, Clock::TimePoint now) {
    if (result) {
      observe(*result, now);
      return true;
    }
    if (result.error().reason() == Reason::Conflict || result.error().reason() == Reason::AlreadyExists) return false;
    return result.error();
  }

  json record(std::int64_t transitions, api::Value acquired) const {
    const std::string now = api::format_micro_time(context_.clock.wall_now());
    const auto duration = std::chrono::ceil<std::chrono::seconds>(election_.lease_duration).count();
    return {{"holderIdentity", election_.identity},
            {"leaseDurationSeconds", duration},
            {"acquireTime", acquired.is_string() ? std::string(acquired.string()) : now},
            {"renewTime", now},
            {"leaseTransitions", transitions}};
  }

  void observe(const Object& lease, Clock::TimePoint now) {
    if (lease.uid() != observed_uid_ || lease.head().resource_version != observed_version_) {
      observed_uid_ = lease.uid();
      observed_version_ = lease.head().resource_version;
      observed_at_ = now;
    }
    const std::string holder(lease.pointer("/spec/holderIdentity").string());
    {
      const std::lock_guard lock(mutex_);
      if (std::exchange(holder_, holder) == holder) return;
    }
    if (callbacks_.new_leader && !holder.empty()) callbacks_.new_leader(holder);
  }

  void release() {
    CallContext ctx;
    ctx.deadline = context_.clock.now() + election_.retry_period;
    const auto found = client_.get(ctx, kLeases, election_.lease, {});
    if (!found || found->pointer("/spec/holderIdentity").string() != election_.identity) return;
    json document = found->to_json();
    const std::string now = api::format_micro_time(context_.clock.wall_now());
    document["spec"]["holderIdentity"] = "";
    document["spec"]["leaseDurationSeconds"] = 1;
    document["spec"]["renewTime"] = now;
    document["spec"]["acquireTime"] = now;
    if (const auto released = client_.update(ctx, kLeases, election_.lease, document, {}); !released) {
      // The lease runs out by itself.
      log_info(context_.log, "leader election: lease not given back", {{"error", released.error()}});
    }
  }

  const InformerContext context_;
  ApiClient& client_;
  const LeaderElection election_;
  const LeaderCallbacks callbacks_;
  const std::shared_ptr<Turns> turns_;
  std::stop_source stop_;

  mutable std::mutex mutex_;
  bool leading_ = false;
  Clock::TimePoint renewed_{};
  std::string holder_;

  // Touched in turns, and by stop() after them.
  std::string observed_uid_;
  std::int64_t observed_version_ = 0;
  Clock::TimePoint observed_at_{};
  std::unique_ptr<Subscription> next_;
  std::unique_ptr<Subscription> deadline_;
};

}  // namespace

Result<std::unique_ptr<LeaderElector>> make_leader_elector(const InformerContext& context, ApiClient& client,
                                                           LeaderElection election, LeaderCallbacks callbacks) {
  if (election.identity.empty()) return Error(Reason::BadRequest, "leader election: identity must be set");
  if (election.lease_duration <= election.renew_deadline) {
    return Error(Reason::BadRequest, "leader election: leaseDuration must be greater than renewDeadline");
  }
  if (election.renew_deadline * 10 <= election.retry_period * 12) {
    return Error(Reason::BadRequest, "leader election: renewDeadline must be greater than retryPeriod*1.2");
  }
  return std::make_unique<LeaseElector>(context, client, std::move(election), std::move(callbacks));
}

}  // namespace kubernel::client
