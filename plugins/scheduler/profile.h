// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <kubernel/plugin/services.h>
#include <kubernel/scheduler/framework.h>

#include "settings.h"

namespace kubernel::plugins {

// One plugin of a profile; at its points it is found through the lists of the profile.
struct ProfilePlugin {
  std::string name;
  std::size_t index = 0;
  std::unique_ptr<scheduler::Plugin> plugin;
  const scheduler::PreFilterExtensions* extensions = nullptr;
  const scheduler::LocalFilter* local = nullptr;
};

template <class T>
struct AtPoint {
  T* point = nullptr;
  const ProfilePlugin* plugin = nullptr;
};

// What every plugin is made with; arguments and index differ.
struct ProfileContext {
  scheduler::Handle& handle;
  client::ApiClient& api;
  client::InformerFactory& informers;
  Logger& log;
  Clock& clock;
  Metrics& metrics;
  Random& random;
};

// The plugins one scheduler name decides with, in order, point by point.
class Profile {
 public:
  // Without settings: upstream's default plugins as far as they are loaded, in upstream's order, then every other
  // loaded one.
  //
  // Errors: a plugin's own, with its name; Invalid for a name that no loaded plugin provides (naming what to add or
  // what was probably meant), for a plugin enabled at a point it does not implement, for wrong arguments, without
  // exactly one QueueSort, without a Bind.
  static Result<std::unique_ptr<Profile>> make(const std::vector<plugin::Provided<scheduler::PluginSpec>>& provided,
                                               const ProfileSettings& settings, const ProfileContext& context);

  const std::string& name() const noexcept { return name_; }
  const std::vector<ProfilePlugin>& plugins() const noexcept { return plugins_; }
  const scheduler::QueueSort& queue_sort() const noexcept { return *sorts.front().point; }
  // By plugin index.
  std::vector<std::vector<scheduler::EventInterest>> interests() const;
  // The plugin that keeps the pod out of the queue, or null.
  const ProfilePlugin* gate(const scheduler::PodInfo& pod) const;
  // The arguments a plugin was made with, for comparing profiles.
  const std::string& arguments(const ProfilePlugin& plugin) const { return arguments_[plugin.index]; }

  std::vector<AtPoint<scheduler::PreEnqueue>> pre_enqueue;
  std::vector<AtPoint<scheduler::QueueSort>> sorts;
  std::vector<AtPoint<scheduler::PreFilter>> pre_filter;
  std::vector<AtPoint<scheduler::Filter>> filter;
  std::vector<AtPoint<scheduler::PostFilter>> post_filter;
  std::vector<AtPoint<scheduler::PreScore>> pre_score;
  std::vector<AtPoint<scheduler::Score>> score;
  std::vector<AtPoint<scheduler::Reserve>> reserve;
  std::vector<AtPoint<scheduler::Permit>> permit;
  std::vector<AtPoint<scheduler::PreBind>> pre_bind;
  std::vector<AtPoint<scheduler::Bind>> bind;
  std::vector<AtPoint<scheduler::PostBind>> post_bind;
  std::vector<int> score_weights;  // Beside `score`.

 private:
  friend class ProfileMaker;
  std::string name_;
  std::vector<ProfilePlugin> plugins_;
  std::vector<std::string> arguments_;
};

}  // namespace kubernel::plugins
