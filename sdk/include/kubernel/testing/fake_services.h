// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <typeinfo>

#include <kubernel/plugin/services.h>

namespace kubernel::testing {

/// Services that take every offer. Threads: one at a time.
class FakeServices final : public plugin::Services {
 public:
  void offer_raw(std::string_view name, const std::type_info&, std::shared_ptr<void> service) override {
    services_[std::string(name)] = std::move(service);
  }
  std::shared_ptr<void> find_raw(std::string_view name, const std::type_info&) const override {
    const auto found = services_.find(std::string(name));
    return found == services_.end() ? nullptr : found->second;
  }

 private:
  std::map<std::string, std::shared_ptr<void>> services_;
};

}  // namespace kubernel::testing
