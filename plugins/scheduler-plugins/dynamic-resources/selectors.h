// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include <kubernel/cel/expression.h>

#include "inventory.h"

namespace kubernel::plugins {

// A CEL expression over `device`. Threads: immutable.
class DeviceSelector {
 public:
  // Errors: Invalid, what is wrong with the text.
  static Result<DeviceSelector> compile(const std::string& text);
  // Errors: what evaluation found wrong.
  Result<bool> matches(const Device& device) const;

 private:
  explicit DeviceSelector(cel::Program program) : program_(std::move(program)) {}
  cel::Program program_;
};

// Compiled once, however many pods use them. Threads: all members may be called concurrently.
class SelectorCache {
 public:
  std::shared_ptr<const Result<DeviceSelector>> find(const std::string& text);

 private:
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<const Result<DeviceSelector>>> compiled_;
};

}  // namespace kubernel::plugins
