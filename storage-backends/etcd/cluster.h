// SPDX-License-Identifier: Apache-2.0
//
// Cluster: the etcd members we talk to, one at a time.
//
// Requests go to the member that answered last; when it cannot be reached, to the next one. A request that may have
// been carried out is not sent again unless repeating it changes nothing.

#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <grpcpp/grpcpp.h>

#include <kubernel/base/clock.h>
#include <kubernel/base/context.h>
#include <kubernel/base/result.h>

#include "admin.grpc.pb.h"
#include "config.h"
#include "rpc.grpc.pb.h"

namespace kubernel::storage_etcd {

/// One member's services over one connection.
struct Member {
  std::string url;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<etcdserverpb::KV::Stub> kv;
  std::unique_ptr<etcdserverpb::Watch::Stub> watch;
  std::unique_ptr<etcdserverpb::Lease::Stub> lease;
  std::unique_ptr<etcdserverpb::Maintenance::Stub> maintenance;
  std::unique_ptr<etcdserverpb::Auth::Stub> auth;
};

/// Threads: all members may be called concurrently. Calls block.
class Cluster {
 public:
  /// Errors: Invalid for unusable settings and files. Connects nowhere yet.
  static Result<std::unique_ptr<Cluster>> make(Config config, Clock& clock);

  const Config& config() const noexcept { return config_; }

  /// Makes one request. `repeatable`: doing it twice is as doing it once.
  /// Errors: see error_of().
  Result<void> call(const CallContext& ctx, bool repeatable,
                    const std::function<grpc::Status(Member&, grpc::ClientContext&)>& request);

  /// The member requests go to now. Lifetime: shared with the caller.
  std::shared_ptr<Member> current() const;
  /// Goes on to the next member, unless someone already did; its files are read anew.
  void give_up(const std::shared_ptr<Member>& member);

  /// Puts what every request carries into its context: the login.
  void prepare(grpc::ClientContext& context) const;
  /// Logs in, when the configuration names a user. Errors: Unauthorized for a wrong password.
  Result<void> log_in(const CallContext& ctx);

  /// One line that says what failed and what to do.
  Error error_of(const grpc::Status& status, const CallContext& ctx, const std::string& url) const;

  Result<void> check(const CallContext& ctx) const;

 private:
  Cluster(Config config, Clock& clock) : config_(std::move(config)), clock_(clock) {}
  Result<std::shared_ptr<Member>> connect(std::size_t index) const;
  Result<void> try_log_in(const CallContext& ctx, Member& member);
  void set_deadline(grpc::ClientContext& context, const CallContext& ctx) const;

  const Config config_;
  Clock& clock_;
  mutable std::mutex mutex_;
  std::size_t index_ = 0;
  std::shared_ptr<Member> member_;
  std::string token_;
};

/// True when the request cannot have reached a server.
bool never_sent(const grpc::Status& status);

}  // namespace kubernel::storage_etcd
