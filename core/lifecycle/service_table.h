// SPDX-License-Identifier: Apache-2.0
//
// ServiceTable: what components lend each other, by name.

#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <typeinfo>
#include <vector>

#include <kubernel/plugin/services.h>

namespace kubernel::lifecycle {

class ServiceTable final : public plugin::Services {
 public:
  // Ends the process with one line when `name` is not among what open_for() allows: a bug of the component.
  void offer_raw(std::string_view name, const std::type_info& type, std::shared_ptr<void> service) override;
  // Ends the process with one line when the service has another type: a bug of whoever asks.
  std::shared_ptr<void> find_raw(std::string_view name, const std::type_info& type) const override;

  bool has(std::string_view name) const;

  // Until close(), `owner` may offer the names in `offers`.
  void open_for(std::string_view owner, const std::vector<std::string>& offers);
  // Returns the names not offered since open_for().
  std::vector<std::string> close();
  // Forgets what `owner` offered.
  void drop(std::string_view owner);

 private:
  struct Entry {
    std::string owner;
    const std::type_info* type;
    std::shared_ptr<void> service;
  };

  mutable std::mutex mutex_;
  std::map<std::string, Entry, std::less<>> entries_;
  std::string owner_;
  std::vector<std::string> allowed_;
};

}  // namespace kubernel::lifecycle
