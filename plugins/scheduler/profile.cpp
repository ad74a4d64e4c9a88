// SPDX-License-Identifier: Apache-2.0
#include "profile.h"

#include <algorithm>

namespace kubernel::plugins {

using plugin::Provided;
using scheduler::PluginSpec;

Result<std::unique_ptr<Profile>> Profile::make(const std::vector<Provided<PluginSpec>>& provided,
                                               const std::vector<std::string>& disabled,
                                               const std::vector<std::pair<std::string, int>>& weights,
                                               const ProfileContext& context) {
  const auto is_provided = [&](const std::string& name) {
    return std::ranges::any_of(provided, [&](const auto& p) { return p.extension->name == name; });
  };
  for (const std::string& name : disabled) {
    if (!is_provided(name)) return Error(Reason::Invalid, "disabled: no loaded plugin provides scheduler/" + name);
  }
  for (const auto& [name, weight] : weights) {
    if (!is_provided(name)) return Error(Reason::Invalid, "weights: no loaded plugin provides scheduler/" + name);
  }

  auto profile = std::make_unique<Profile>();
  for (const auto& entry : provided) {
    const std::string& name = entry.extension->name;
    if (std::ranges::find(disabled, name) != disabled.end()) continue;
    const auto weight = std::ranges::find(weights, name, &std::pair<std::string, int>::first);
    KUBERNEL_CHECK_OK(profile->add(entry, weight == weights.end() ? entry.spec->weight : weight->second, context));
  }
  KUBERNEL_CHECK_OK(profile->check());
  return profile;
}

Result<void> Profile::add(const Provided<PluginSpec>& provided, int weight, const ProfileContext& context) {
  const std::string& name = provided.extension->name;
  ProfilePlugin out;
  out.name = name;
  out.index = plugins_.size();
  out.weight = weight;
  auto made = catch_as_error("make", [&] {
    return provided.spec->make({provided.extension->config_json, out.index, context.handle, context.api, context.informers,
                                context.log, context.clock});
  });
  if (!made) return std::move(made).error().wrap("scheduler plugin " + name);
  out.plugin = *std::move(made);
  scheduler::Plugin* base = out.plugin.get();
  out.pre_enqueue = dynamic_cast<scheduler::PreEnqueue*>(base);
  out.queue_sort = dynamic_cast<scheduler::QueueSort*>(base);
  out.pre_filter = dynamic_cast<scheduler::PreFilter*>(base);
  out.filter = dynamic_cast<scheduler::Filter*>(base);
  out.post_filter = dynamic_cast<scheduler::PostFilter*>(base);
  out.pre_score = dynamic_cast<scheduler::PreScore*>(base);
  out.score = dynamic_cast<scheduler::Score*>(base);
  out.reserve = dynamic_cast<scheduler::Reserve*>(base);
  out.permit = dynamic_cast<scheduler::Permit*>(base);
  out.pre_bind = dynamic_cast<scheduler::PreBind*>(base);
  out.bind = dynamic_cast<scheduler::Bind*>(base);
  out.post_bind = dynamic_cast<scheduler::PostBind*>(base);
  plugins_.push_back(std::move(out));
  return {};
}

Result<void> Profile::check() {
  bool binds = false;
  for (const ProfilePlugin& p : plugins_) {
    binds = binds || p.bind != nullptr;
    if (p.queue_sort == nullptr) continue;
    if (queue_sort_ != nullptr) return Error(Reason::Invalid, "more than one queue-sort plugin is enabled; " + p.name + " is the second");
    queue_sort_ = p.queue_sort;
  }
  if (queue_sort_ == nullptr) return Error(Reason::Invalid, "no queue-sort plugin is enabled; add priority-sort to the manifest");
  if (!binds) return Error(Reason::Invalid, "no bind plugin is enabled; add default-binder to the manifest");
  return {};
}

std::vector<std::vector<scheduler::EventInterest>> Profile::interests() const {
  std::vector<std::vector<scheduler::EventInterest>> out;
  for (const ProfilePlugin& p : plugins_) out.push_back(p.plugin->retry_on());
  return out;
}

}  // namespace kubernel::plugins
