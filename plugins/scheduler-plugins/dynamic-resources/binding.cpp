// SPDX-License-Identifier: Apache-2.0

#include "binding.h"

#include <algorithm>

namespace kubernel::plugins {

using api::Object;
using api::Value;

namespace {

Value results(const Object& claim) {
  return claim.pointer("/status/allocation/devices/results");
}

// What the driver says of an allocated device; missing when it says nothing yet.
Value status_of(const Object& claim, Value result) {
  for (const Value device : claim.pointer("/status/devices")) {
    if (device["driver"] == result["driver"] && device["pool"] == result["pool"] &&
        device["device"] == result["device"] && device["shareID"].string() == result["shareID"].string())
      return device;
  }
  return {};
}

// The condition of that type, when it is true.
Value true_condition(Value device_status, std::string_view type) {
  for (const Value condition : device_status["conditions"]) {
    if (condition["type"].string() == type && condition["status"].string() == "True") return condition;
  }
  return {};
}

}  // namespace

bool has_binding_conditions(const Object& claim) {
  const Value all = results(claim);
  return std::any_of(all.begin(), all.end(), [](Value result) { return !result["bindingConditions"].empty(); });
}

Result<bool> ready_for_binding(const Object& claim) {
  if (!claim.pointer("/status/allocation")) return false;
  for (const Value result : results(claim)) {
    const Value wanted = result["bindingConditions"];
    if (wanted.empty()) continue;
    const Value device = status_of(claim, result);
    if (!device) return false;
    for (const Value type : result["bindingFailureConditions"]) {
      if (const Value failed = true_condition(device, type.string())) {
        return Error(Reason::Internal, "claim " + claim.name() +
                                           " binding failed: reason=" + std::string(failed["reason"].string()) +
                                           ", message=\"" + std::string(failed["message"].string()) + "\"");
      }
    }
    const bool all_true = std::all_of(wanted.begin(), wanted.end(), [&](Value type) {
      return static_cast<bool>(true_condition(device, type.string()));
    });
    if (!all_true) return false;
  }
  return true;
}

bool binding_timed_out(const Object& claim, std::chrono::nanoseconds timeout, api::WallTime now) {
  const auto since = api::read_time(claim.pointer("/status/allocation/allocationTimestamp"));
  return since && has_binding_conditions(claim) && *since + timeout < now;
}

bool binding_is_hopeless(const Object& claim, std::chrono::nanoseconds timeout, api::WallTime now) {
  if (!has_binding_conditions(claim)) return false;
  const auto ready = ready_for_binding(claim);
  return !ready || (!*ready && binding_timed_out(claim, timeout, now));
}

}  // namespace kubernel::plugins
