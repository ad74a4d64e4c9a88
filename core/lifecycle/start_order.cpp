// SPDX-License-Identifier: Apache-2.0
#include "core/lifecycle/start_order.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>

namespace kubernel::lifecycle {
namespace {

using Offers = std::map<std::string, std::size_t, std::less<>>;

std::string in_quotes(std::string_view name) {
  return "\"" + std::string(name) + "\"";
}

std::string needs(const std::string& component, const std::string& service) {
  return "component " + in_quotes(component) + " needs service " + in_quotes(service);
}

Result<Offers> collect_offers(std::span<const Startable> components, std::span<const std::string> built_in) {
  Offers offers;
  for (std::size_t i = 0; i < components.size(); ++i) {
    for (const std::string& service : components[i].spec->offers) {
      if (std::find(built_in.begin(), built_in.end(), service) != built_in.end()) {
        return Error(Reason::Invalid, "component " + in_quotes(components[i].name) + " offers service " +
                                          in_quotes(service) + ", which is the core's own");
      }
      const auto [at, added] = offers.emplace(service, i);
      if (added) continue;
      return Error(Reason::Invalid, "service " + in_quotes(service) + " is offered by two components, " +
                                        in_quotes(components[at->second].name) + " and " +
                                        in_quotes(components[i].name));
    }
  }
  return offers;
}

Result<void> check_needs(std::span<const Startable> components, std::span<const std::string> built_in,
                         const Offers& offers) {
  for (const Startable& component : components) {
    for (const std::string& service : component.spec->needs) {
      if (std::find(built_in.begin(), built_in.end(), service) != built_in.end()) continue;
      const auto found = offers.find(service);
      if (found == offers.end()) return missing_service(component.name, service, {});
      const Startable& owner = components[found->second];
      if (owner.spec->group > component.spec->group) {
        return Error(Reason::Invalid, needs(component.name, service) + ", but " + in_quotes(owner.name) +
                                          ", which offers it, starts later (group " +
                                          std::string(to_string(owner.spec->group)) + ")");
      }
    }
  }
  return {};
}

// Places the components of one group after `order`; see start_order().
class GroupSorter {
 public:
  GroupSorter(std::span<const Startable> components, const Offers& offers, plugin::Group group)
      : components_(components), offers_(offers) {
    for (std::size_t i = 0; i < components.size(); ++i) {
      if (components[i].spec->group == group) waiting_.push_back(i);
    }
  }

  Result<void> append_to(std::vector<std::size_t>& order) {
    while (!waiting_.empty()) {
      auto next = first_without(true);
      if (!next) next = first_without(false);  // A circle of mere wishes is cut at the first.
      if (!next) return circle();
      order.push_back(*next);
      std::erase(waiting_, *next);
    }
    return {};
  }

 private:
  // The component, still waiting, that offers one of `services`.
  std::optional<std::size_t> blocker(const std::vector<std::string>& services, std::size_t self) const {
    for (const std::string& service : services) {
      const auto found = offers_.find(service);
      if (found == offers_.end() || found->second == self) continue;
      if (std::find(waiting_.begin(), waiting_.end(), found->second) != waiting_.end()) return found->second;
    }
    return std::nullopt;
  }

  std::optional<std::size_t> first_without(bool wishes) const {
    for (const std::size_t i : waiting_) {
      const plugin::ComponentSpec& spec = *components_[i].spec;
      if (!blocker(spec.needs, i) && !(wishes && blocker(spec.wants, i))) return i;
    }
    return std::nullopt;
  }

  Error circle() const {
    std::string names;
    std::set<std::size_t> seen;
    std::size_t at = waiting_.front();
    while (seen.insert(at).second) {
      names += in_quotes(components_[at].name) + " → ";
      at = blocker(components_[at].spec->needs, at).value_or(at);
    }
    return Error(Reason::Invalid,
                 "components need each other's services in a circle: " + names + in_quotes(components_[at].name));
  }

  std::span<const Startable> components_;
  const Offers& offers_;
  std::vector<std::size_t> waiting_;
};

}  // namespace

std::string_view to_string(plugin::Group group) {
  constexpr std::array<std::string_view, 6> kNames = {"storage", "server", "caches", "admission", "control", "node"};
  return kNames[static_cast<std::size_t>(group)];
}

std::optional<MissingService> find_missing(std::span<const Startable> components,
                                           std::span<const std::string> built_in) {
  std::set<std::string_view> offered(built_in.begin(), built_in.end());
  for (const Startable& one : components) offered.insert(one.spec->offers.begin(), one.spec->offers.end());
  for (std::size_t i = 0; i < components.size(); ++i) {
    for (const std::string& service : components[i].spec->needs) {
      if (!offered.contains(service)) return MissingService{i, service};
    }
  }
  return std::nullopt;
}

Error missing_service(const std::string& component, const std::string& service,
                      const std::vector<std::string>& would_offer) {
  std::string hint;
  for (const std::string& plugin : would_offer) hint += (hint.empty() ? "; add plugin " : " or ") + in_quotes(plugin);
  if (!hint.empty()) hint += ", which does";
  return {Reason::Invalid, needs(component, service) + ", which no plugin in the manifest offers" + hint};
}

Result<std::vector<std::size_t>> start_order(std::span<const Startable> components,
                                             std::span<const std::string> built_in) {
  KUBERNEL_TRY(const Offers offers, collect_offers(components, built_in));
  KUBERNEL_CHECK_OK(check_needs(components, built_in, offers));
  std::vector<std::size_t> order;
  for (auto group = plugin::Group::Storage;; group = static_cast<plugin::Group>(static_cast<int>(group) + 1)) {
    KUBERNEL_CHECK_OK(GroupSorter(components, offers, group).append_to(order));
    if (group == plugin::Group::Node) return order;
  }
}

}  // namespace kubernel::lifecycle
