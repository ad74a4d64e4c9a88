// SPDX-License-Identifier: Apache-2.0
//
// The functions every expression may use.

#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ast.h"

namespace kubernel::cel {

struct Library {
  std::map<std::string, std::vector<Overload>, std::less<>> functions;
};

using Args = std::span<const Value>;

// A signature, as Environment::declare_function() reads it, and what runs.
struct FunctionRow {
  const char* signature;
  Result<Value> (*run)(Args args);
};

Result<std::pair<std::string, Overload>> parse_signature(std::string_view text);
std::shared_ptr<const Library> standard_library();

std::span<const FunctionRow> core_functions();
std::span<const FunctionRow> time_functions();
std::span<const FunctionRow> text_functions();
std::span<const FunctionRow> list_functions();
std::span<const FunctionRow> quantity_functions();
std::span<const FunctionRow> semver_functions();
std::span<const FunctionRow> network_functions();
std::span<const FunctionRow> url_functions();
std::span<const FunctionRow> format_functions();

// An error of evaluation.
inline Error problem(std::string message) {
  return {Reason::Invalid, std::move(message)};
}
Error no_such_overload();

// Go's duration text ("1h30m") in nanoseconds.
Result<std::int64_t> parse_go_duration(std::string_view text);

// Function results larger than this are refused.
inline constexpr std::size_t kMostBytes = 16U << 20U;

}  // namespace kubernel::cel
