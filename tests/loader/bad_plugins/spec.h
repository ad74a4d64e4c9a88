// SPDX-License-Identifier: Apache-2.0
// An extension point of the tests' own: the core needs to know none.
#pragma once

#include <string_view>

#include <kubernel/plugin/plugin.h>

struct Greeting {
  static constexpr std::string_view kPoint = "greeting";
  const char* (*text)() = nullptr;
};
