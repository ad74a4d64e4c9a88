// SPDX-License-Identifier: Apache-2.0
//
// Services and Extensions: how plugins meet without knowing each other.
//
// A component offers typed services (an interface of the SDK) and needs others; the lifecycle
// resolves names before anything starts and says in one line what is missing. An extension is what
// a plugin provides at an extension point that some component consumes (filters for a scheduler,
// reconcilers for a controller manager, a backend for an API server).

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <typeinfo>
#include <vector>

#include <kubernel/base/export.h>
#include <kubernel/base/result.h>

namespace kubernel::plugin {

/// Objects lent between components, by the name T::kService of their interface.
///
/// Threads: offer() only from Component::start(), on one thread; find from any thread.
/// Lifetime: a service lives until the component that offered it is destroyed, which is after every
/// component that needs it.
class Services {
 public:
  virtual ~Services() = default;
  virtual void offer_raw(std::string_view name, const std::type_info& type, std::shared_ptr<void> service) = 0;
  virtual std::shared_ptr<void> find_raw(std::string_view name, const std::type_info& type) const = 0;
};

/// Makes `service` available to components started later. It must be declared in
/// component::Spec::offers; anything else is a bug and ends the process with a clear line.
template <class T>
void offer(Services& services, std::shared_ptr<T> service) {
  services.offer_raw(T::kService, typeid(T), std::static_pointer_cast<void>(std::move(service)));
}

/// The service, or null when nothing offers it. Never null for what component::Spec::needs lists.
template <class T>
std::shared_ptr<T> find(const Services& services) {
  return std::static_pointer_cast<T>(services.find_raw(T::kService, typeid(T)));
}

/// One thing a plugin provides at an extension point, with the configuration its manifest entry gave.
struct Extension {
  std::string point;
  std::string name;
  std::string plugin;       ///< Name of the plugin that provides it.
  std::string config_json;  ///< The entry's `config:` as JSON, already checked, defaults filled; "{}" when absent.
  const std::type_info* type = nullptr;
  std::shared_ptr<const void> spec;
  /// Checks another configuration of the plugin by its schema: the JSON with defaults filled in. For components whose
  /// own configuration carries arguments of what they load; empty when the loader offers none (tests). Errors: Invalid,
  /// naming each problem. Threads: any.
  std::function<Result<std::string>(std::string_view config_json)> check_config = {};
};

/// Everything loaded, read-only and complete before the first component starts. Threads: any.
class Extensions {
 public:
  virtual ~Extensions() = default;
  /// In manifest order.
  virtual std::vector<const Extension*> at(std::string_view point) const = 0;
};

template <class Spec>
struct Provided {
  const Extension* extension;
  const Spec* spec;
};

/// All extensions at Spec::kPoint, in manifest order.
template <class Spec>
std::vector<Provided<Spec>> all(const Extensions& extensions) {
  std::vector<Provided<Spec>> out;
  for (const Extension* e : extensions.at(Spec::kPoint)) {
    if (*e->type == typeid(Spec)) out.push_back({e, static_cast<const Spec*>(e->spec.get())});
  }
  return out;
}

}  // namespace kubernel::plugin
