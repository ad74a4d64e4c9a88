// SPDX-License-Identifier: Apache-2.0
#include "profile.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include <kubernel/base/suggestion.h>

namespace kubernel::plugins {

using plugin::Provided;
using scheduler::PluginSpec;

namespace {

// Upstream's default plugins (apis/config/v1 default_plugins.go), in their order, with the plugin of ours that provides
// each.
struct DefaultPlugin {
  std::string_view name;
  std::string_view file;
};
constexpr DefaultPlugin kDefaults[] = {
    {"SchedulingGates", "scheduling-gates"},
    {"PrioritySort", "priority-sort"},
    {"NodeUnschedulable", "node-unschedulable"},
    {"NodeName", "node-name"},
    {"TaintToleration", "taint-toleration"},
    {"NodeAffinity", "node-affinity"},
    {"NodePorts", "node-ports"},
    {"NodeResourcesFit", "node-resources-fit"},
    {"VolumeRestrictions", "volume-restrictions"},
    {"NodeVolumeLimits", "node-volume-limits"},
    {"VolumeBinding", "volume-binding"},
    {"VolumeZone", "volume-zone"},
    {"PodTopologySpread", "pod-topology-spread"},
    {"InterPodAffinity", "inter-pod-affinity"},
    {"DynamicResources", "dynamic-resources"},
    {"DefaultPreemption", "default-preemption"},
    {"NodeResourcesBalancedAllocation", "node-resources-balanced-allocation"},
    {"ImageLocality", "image-locality"},
    {"DefaultBinder", "default-binder"},
};

std::string_view file_of(std::string_view name) {
  const auto found = std::ranges::find(kDefaults, name, &DefaultPlugin::name);
  return found == std::end(kDefaults) ? std::string_view() : found->file;
}

bool contains(const std::vector<EnabledPlugin>& list, std::string_view name) {
  return std::ranges::find(list, name, &EnabledPlugin::name) != list.end();
}
bool contains(const std::vector<std::string>& list, std::string_view name) {
  return std::ranges::find(list, name) != list.end();
}

// A default that is enabled again keeps its place and takes the new weight; others follow.
std::vector<EnabledPlugin> merge(const std::vector<EnabledPlugin>& defaults, const PluginSet& custom) {
  std::vector<EnabledPlugin> out;
  if (!contains(custom.disabled, "*")) {
    for (const EnabledPlugin& plugin : defaults) {
      if (contains(custom.disabled, plugin.name)) continue;
      const auto again = std::ranges::find(custom.enabled, plugin.name, &EnabledPlugin::name);
      out.push_back(again == custom.enabled.end() ? plugin : *again);
    }
  }
  for (const EnabledPlugin& plugin : custom.enabled) {
    if (!contains(out, plugin.name)) out.push_back(plugin);
  }
  return out;
}

}  // namespace

// Builds a profile step by step; one use.
class ProfileMaker {
 public:
  ProfileMaker(const std::vector<Provided<PluginSpec>>& provided, const ProfileSettings& settings,
               const ProfileContext& context)
      : provided_(provided), settings_(settings), context_(context) {}

  Result<std::unique_ptr<Profile>> make() {
    profile_->name_ = settings_.scheduler_name;
    KUBERNEL_CHECK_OK(check_names());
    multi_point_ = merge(default_plugins(), settings_.multi_point);
    for (const EnabledPlugin& plugin : multi_point_) KUBERNEL_CHECK_OK(instantiate(plugin.name));
    for (const PluginSet& set : settings_.points) {
      for (const EnabledPlugin& plugin : set.enabled) KUBERNEL_CHECK_OK(instantiate(plugin.name));
    }
    KUBERNEL_CHECK_OK(fill_points());
    KUBERNEL_CHECK_OK(check_complete());
    return std::move(profile_);
  }

 private:
  Error wrong(const std::string& what) const {
    return {Reason::Invalid, "profile \"" + settings_.scheduler_name + "\": " + what};
  }

  const Provided<PluginSpec>* find(std::string_view name) const {
    const auto found = std::ranges::find_if(provided_, [&](const auto& p) { return p.extension->name == name; });
    return found == provided_.end() ? nullptr : &*found;
  }

  Error not_loaded(const std::string& where, const std::string& name) const {
    const std::string what = where + ": no loaded plugin provides \"" + name + "\"";
    if (const auto file = file_of(name); !file.empty())
      return wrong(what + "; add the plugin " + std::string(file) + " to the manifest");
    std::vector<std::string> candidates;
    for (const auto& p : provided_) candidates.push_back(p.extension->name);
    for (const DefaultPlugin& plugin : kDefaults) candidates.emplace_back(plugin.name);
    return wrong(what + did_you_mean(name, candidates));
  }

  Result<void> check_set(const std::string& where, const PluginSet& set) const {
    for (const EnabledPlugin& plugin : set.enabled) {
      if (find(plugin.name) == nullptr) return not_loaded(where + ".enabled", plugin.name);
      if (std::ranges::count(set.enabled, plugin.name, &EnabledPlugin::name) > 1) {
        return wrong(where + ".enabled: \"" + plugin.name + "\" is listed twice");
      }
    }
    // To disable what is not loaded changes nothing; to disable what does not exist is a mistake.
    for (const std::string& name : set.disabled) {
      if (name != "*" && find(name) == nullptr && file_of(name).empty()) return not_loaded(where + ".disabled", name);
    }
    return {};
  }

  Result<void> check_names() const {
    KUBERNEL_CHECK_OK(check_set("plugins.multiPoint", settings_.multi_point));
    for (std::size_t i = 0; i < kPoints; ++i) {
      KUBERNEL_CHECK_OK(check_set("plugins." + std::string(kPointNames[i]), settings_.points[i]));
    }
    for (const auto& [name, arguments] : settings_.arguments) {
      if (find(name) == nullptr) return not_loaded("pluginConfig", name);
    }
    return {};
  }

  std::vector<EnabledPlugin> default_plugins() const {
    std::vector<EnabledPlugin> out;
    for (const DefaultPlugin& plugin : kDefaults) {
      if (const auto* loaded = find(plugin.name)) out.push_back({std::string(plugin.name), loaded->spec->weight});
    }
    for (const auto& p : provided_) {
      if (file_of(p.extension->name).empty()) out.push_back({p.extension->name, p.spec->weight});
    }
    return out;
  }

  Result<std::string> arguments_of(const Provided<PluginSpec>& provided) const {
    KUBERNEL_TRY(std::string arguments, checked_arguments(provided));
    if (settings_.ignored_resources.empty() || provided.extension->name != "NodeResourcesFit") return arguments;
    auto changed = nlohmann::json::parse(arguments);
    for (const std::string& resource : settings_.ignored_resources) changed["ignoredResources"].push_back(resource);
    return changed.dump();
  }

  Result<std::string> checked_arguments(const Provided<PluginSpec>& provided) const {
    const auto own =
        std::ranges::find(settings_.arguments, provided.extension->name, &std::pair<std::string, std::string>::first);
    if (own == settings_.arguments.end()) return provided.extension->config_json;
    if (!provided.extension->check_config) return own->second;
    auto checked = provided.extension->check_config(own->second);
    if (!checked) return wrong("pluginConfig \"" + own->first + "\": " + checked.error().message());
    return checked;
  }

  Result<void> instantiate(const std::string& name) {
    auto& plugins = profile_->plugins_;
    if (std::ranges::find(plugins, name, &ProfilePlugin::name) != plugins.end()) return {};
    const Provided<PluginSpec>& provided = *find(name);
    KUBERNEL_TRY(std::string arguments, arguments_of(provided));
    ProfilePlugin out;
    out.name = name;
    out.index = plugins.size();
    auto made = catch_as_error("make", [&] {
      return provided.spec->make({arguments, out.index, context_.handle, context_.api, context_.informers, context_.log,
                                  context_.clock, context_.metrics, context_.random, device_resources_});
    });
    if (!made) return std::move(made).error().wrap("scheduler plugin " + name);
    out.plugin = *std::move(made);
    out.extensions = dynamic_cast<const scheduler::PreFilterExtensions*>(out.plugin.get());
    out.local = dynamic_cast<const scheduler::LocalFilter*>(out.plugin.get());
    plugins.push_back(std::move(out));
    profile_->arguments_.push_back(std::move(arguments));
    return {};
  }

  const ProfilePlugin& instance(std::string_view name) const {
    return *std::ranges::find(profile_->plugins_, name, &ProfilePlugin::name);
  }

  // Upstream's expandMultiPointPlugins: first what is enabled both ways, in the order of the point; then what only
  // multiPoint enables; then what only the point enables.
  template <class T>
  Result<void> fill(Point point, std::vector<AtPoint<T>>& out, std::vector<int>* weights = nullptr) {
    const PluginSet& set = settings_.points[static_cast<std::size_t>(point)];
    const bool only_listed = contains(set.disabled, "*");
    const auto add = [&](const EnabledPlugin& plugin, T* implemented) {
      out.push_back({implemented, &instance(plugin.name)});
      if (weights != nullptr) weights->push_back(plugin.weight > 0 ? plugin.weight : 1);
    };
    for (const EnabledPlugin& plugin : set.enabled) {
      auto* implemented = dynamic_cast<T*>(instance(plugin.name).plugin.get());
      if (implemented == nullptr) {
        return wrong("plugins." + std::string(kPointNames[static_cast<std::size_t>(point)]) +
                     ".enabled: the plugin \"" + plugin.name + "\" does not extend this point");
      }
      if (only_listed || contains(multi_point_, plugin.name)) add(plugin, implemented);
    }
    if (only_listed) return {};
    for (const EnabledPlugin& plugin : multi_point_) {
      auto* implemented = dynamic_cast<T*>(instance(plugin.name).plugin.get());
      if (implemented == nullptr || contains(set.disabled, plugin.name)) continue;
      if (!contains(set.enabled, plugin.name)) add(plugin, implemented);
    }
    for (const EnabledPlugin& plugin : set.enabled) {
      if (!contains(multi_point_, plugin.name)) add(plugin, dynamic_cast<T*>(instance(plugin.name).plugin.get()));
    }
    return {};
  }

  Result<void> fill_points() {
    Profile& p = *profile_;
    KUBERNEL_CHECK_OK(fill(Point::PreEnqueue, p.pre_enqueue));
    KUBERNEL_CHECK_OK(fill(Point::QueueSort, p.sorts));
    KUBERNEL_CHECK_OK(fill(Point::PreFilter, p.pre_filter));
    KUBERNEL_CHECK_OK(fill(Point::Filter, p.filter));
    KUBERNEL_CHECK_OK(fill(Point::PostFilter, p.post_filter));
    KUBERNEL_CHECK_OK(fill(Point::PreScore, p.pre_score));
    KUBERNEL_CHECK_OK(fill(Point::Score, p.score, &p.score_weights));
    KUBERNEL_CHECK_OK(fill(Point::Reserve, p.reserve));
    KUBERNEL_CHECK_OK(fill(Point::Permit, p.permit));
    KUBERNEL_CHECK_OK(fill(Point::PreBind, p.pre_bind));
    KUBERNEL_CHECK_OK(fill(Point::Bind, p.bind));
    return fill(Point::PostBind, p.post_bind);
  }

  Result<void> check_complete() const {
    if (profile_->sorts.empty()) return wrong("no queue-sort plugin is enabled; add priority-sort to the manifest");
    if (profile_->sorts.size() > 1) {
      return wrong("more than one queue-sort plugin is enabled; " + profile_->sorts[1].plugin->name + " is the second");
    }
    if (profile_->bind.empty()) return wrong("no bind plugin is enabled; add default-binder to the manifest");
    return {};
  }

  const std::vector<Provided<PluginSpec>>& provided_;
  const ProfileSettings& settings_;
  const ProfileContext& context_;
  const std::shared_ptr<scheduler::DeviceResources> device_resources_ = std::make_shared<scheduler::DeviceResources>();
  std::unique_ptr<Profile> profile_ = std::make_unique<Profile>();
  std::vector<EnabledPlugin> multi_point_;
};

Result<std::unique_ptr<Profile>> Profile::make(const std::vector<Provided<PluginSpec>>& provided,
                                               const ProfileSettings& settings, const ProfileContext& context) {
  return ProfileMaker(provided, settings, context).make();
}

std::vector<std::vector<scheduler::EventInterest>> Profile::interests() const {
  std::vector<std::vector<scheduler::EventInterest>> out;
  for (const ProfilePlugin& p : plugins_) out.push_back(p.plugin->retry_on());
  return out;
}

const ProfilePlugin* Profile::gate(const scheduler::PodInfo& pod) const {
  for (const auto& [point, plugin] : pre_enqueue) {
    if (!point->pre_enqueue(pod).ok()) return plugin;
  }
  return nullptr;
}

}  // namespace kubernel::plugins
