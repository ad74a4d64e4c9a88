// SPDX-License-Identifier: Apache-2.0
//
// One pass over one Deployment.

#pragma once

#include <functional>
#include <optional>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include <kubernel/controller/reconciler.h>

#include "rollout_math.h"

namespace kubernel::plugins::deployment {

// Lives for one reconcile. `deployment_` is what we know of it, our own writes of this pass included.
class Rollout {
 public:
  using PodsOf = std::function<std::vector<api::Object>(const api::Object& set)>;

  Rollout(const CallContext& ctx, const controller::ControllerContext& services, api::Object deployment,
          ReplicaSets sets, PodsOf pods_of)
      : ctx_(ctx),
        services_(services),
        deployment_(std::move(deployment)),
        sets_(std::move(sets)),
        pods_of_(std::move(pods_of)) {}

  Result<controller::Next> run();

 private:
  struct Split {
    std::optional<api::Object> newest;  // Made from the current template.
    ReplicaSets old;
    ReplicaSets all() const;
  };

  // rollout.cpp: which sets there are, and how large they are.
  Split split() const;
  Result<Split> current_sets(bool create);
  Result<api::Object> refresh_newest(const api::Object& set, std::int64_t revision);
  Result<std::optional<api::Object>> create_newest(const Split& sets, std::int64_t revision);
  Result<std::optional<api::Object>> taken_name(const std::string& name, const Error& refused);
  Result<void> creation_failed(const std::string& name, const Error& error);
  Result<void> adopt_revision(const api::Object& set);
  bool annotate(nlohmann::json& set, std::int64_t revision, bool exists) const;

  Result<bool> scaling_event();
  Result<controller::Next> sync();
  Result<controller::Next> roll();
  Result<controller::Next> recreate();
  Result<void> scale_all(const Split& sets);
  Result<bool> scale_newest(const Split& sets);
  Result<bool> scale_down_old(const Split& sets);
  Result<std::int64_t> drop_unhealthy(ReplicaSets& old, std::int64_t at_most);
  Result<bool> scale_to(const api::Object& set, std::int64_t replicas, api::Object* after = nullptr);
  Result<void> drop_history(ReplicaSets old);

  // rollout_status.cpp: what is told about it.
  nlohmann::json status_of(const Split& sets) const;
  nlohmann::json condition(const char* type, const char* status, const char* reason, const std::string& message) const;
  bool has_progress_deadline() const;
  bool complete(const nlohmann::json& status) const;
  bool progressing(const nlohmann::json& status) const;
  bool timed_out(const nlohmann::json& status) const;
  void tell_progress(const Split& sets, nlohmann::json& status) const;
  Result<void> mark_paused();
  Result<controller::Next> write_rollout_status(const Split& sets);
  Result<controller::Next> write_plain_status(const Split& sets);
  Result<void> add_condition(const char* type, const char* status, const char* reason, const std::string& message);
  Result<void> write_status(const nlohmann::json& status);
  controller::Next look_again(const nlohmann::json& status) const;

  const CallContext& ctx_;
  const controller::ControllerContext& services_;
  api::Object deployment_;
  ReplicaSets sets_;
  const PodsOf pods_of_;
};

}  // namespace kubernel::plugins::deployment
