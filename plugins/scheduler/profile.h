// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <kubernel/plugin/services.h>
#include <kubernel/scheduler/framework.h>

namespace kubernel::plugins {

// One plugin of a profile and the points it has something to say at (null: none).
struct ProfilePlugin {
  std::string name;
  std::size_t index = 0;
  int weight = 1;
  std::unique_ptr<scheduler::Plugin> plugin;
  scheduler::PreEnqueue* pre_enqueue = nullptr;
  scheduler::QueueSort* queue_sort = nullptr;
  scheduler::PreFilter* pre_filter = nullptr;
  scheduler::Filter* filter = nullptr;
  scheduler::PostFilter* post_filter = nullptr;
  scheduler::PreScore* pre_score = nullptr;
  scheduler::Score* score = nullptr;
  scheduler::Reserve* reserve = nullptr;
  scheduler::Permit* permit = nullptr;
  scheduler::PreBind* pre_bind = nullptr;
  scheduler::Bind* bind = nullptr;
  scheduler::PostBind* post_bind = nullptr;
};

// What every plugin is made with; `name` and `index` differ.
struct ProfileContext {
  scheduler::Handle& handle;
  client::ApiClient& api;
  client::InformerFactory& informers;
  Logger& log;
  Clock& clock;
};

// The plugins one scheduler decides with, in manifest order.
class Profile {
 public:
  // Errors: a plugin's own, with its name; Invalid without exactly one QueueSort or without a Bind, and for a name in
  // `disabled` or `weights` that no plugin provides.
  static Result<std::unique_ptr<Profile>> make(const std::vector<plugin::Provided<scheduler::PluginSpec>>& provided,
                                               const std::vector<std::string>& disabled,
                                               const std::vector<std::pair<std::string, int>>& weights,
                                               const ProfileContext& context);

  const std::vector<ProfilePlugin>& plugins() const noexcept { return plugins_; }
  const scheduler::QueueSort& queue_sort() const noexcept { return *queue_sort_; }
  std::vector<std::vector<scheduler::EventInterest>> interests() const;

 private:
  Result<void> add(const plugin::Provided<scheduler::PluginSpec>& provided, int weight, const ProfileContext& context);
  Result<void> check();

  std::vector<ProfilePlugin> plugins_;
  const scheduler::QueueSort* queue_sort_ = nullptr;
};

}  // namespace kubernel::plugins
