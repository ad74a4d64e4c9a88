// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include <kubernel/net/client.h>
#include <kubernel/scheduler/framework.h>

#include "settings.h"

namespace kubernel::plugins {

// A scheduler extender: a process outside that filters, scores, binds or chooses victims, asked by POSTing JSON.
//
// Threads: all members may be called concurrently; they block until the extender answers or its time-out has passed.
class Extender final : public scheduler::PreemptExtender {
 public:
  // Sends `body` to `url` and gives the body of a 200. Errors: any other answer, or none.
  using Post = std::function<Result<std::string>(const CallContext& ctx, const std::string& url, std::string body)>;

  // `clock` outlives the extender.
  Extender(ExtenderSettings settings, const Clock& clock, Post post)
      : settings_(std::move(settings)), clock_(clock), post_(std::move(post)) {}

  const std::string& name() const override { return settings_.url_prefix; }
  bool ignorable() const override { return settings_.ignorable; }
  bool interested_in(const scheduler::PodInfo& pod) const override;
  bool filters() const { return !settings_.filter_verb.empty(); }
  bool scores() const { return !settings_.prioritize_verb.empty(); }
  bool binds() const { return !settings_.bind_verb.empty(); }
  bool preempts() const { return !settings_.preempt_verb.empty(); }

  using Nodes = std::vector<const scheduler::NodeInfo*>;
  struct Filtered {
    Nodes fitting;
    std::map<std::string, std::string> refused;  // Reason by node; evicting pods might help.
    std::map<std::string, std::string> unresolvable;
  };
  Result<Filtered> filter(const CallContext& ctx, const scheduler::PodInfo& pod, const Nodes& nodes) const;
  // What each node's total grows by: the extender's 0 to 10, scaled and weighted.
  Result<std::vector<std::int64_t>> score(const CallContext& ctx, const scheduler::PodInfo& pod,
                                          const Nodes& nodes) const;
  Result<void> bind(const CallContext& ctx, const scheduler::PodInfo& pod, std::string_view node) const;
  Result<std::vector<Victims>> preempt(const CallContext& ctx, const scheduler::PodInfo& pod,
                                       std::vector<Victims> candidates, const scheduler::Snapshot& snapshot) override;

 private:
  Result<nlohmann::json> call(const CallContext& ctx, const std::string& verb, const nlohmann::json& arguments) const;
  nlohmann::json arguments_for(const scheduler::PodInfo& pod, const Nodes& nodes) const;

  const ExtenderSettings settings_;
  const Clock& clock_;
  const Post post_;
};

// Extenders over HTTP(S). Reads the TLS files now.
// Errors: Invalid for unusable TLS material, naming the extender.
Result<std::vector<std::unique_ptr<Extender>>> make_extenders(const net::NetContext& context,
                                                              const std::vector<ExtenderSettings>& settings);

}  // namespace kubernel::plugins
