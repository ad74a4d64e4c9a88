// SPDX-License-Identifier: Apache-2.0
//
// Binding conditions (KEP-5007): what the driver of an allocated device has to say before a pod may be bound.
#pragma once

#include <chrono>

#include <kubernel/api/object.h>
#include <kubernel/api/time.h>
#include <kubernel/base/result.h>

namespace kubernel::plugins {

// Whether any of the allocated devices has binding conditions.
bool has_binding_conditions(const api::Object& claim);

// Whether all conditions of all its devices are true. Also true when there are none.
// Errors: Internal, when one of the failure conditions is true: the claim will not come to be ready.
Result<bool> ready_for_binding(const api::Object& claim);

// Whether the claim has waited for its conditions for longer than that.
bool binding_timed_out(const api::Object& claim, std::chrono::nanoseconds timeout, api::WallTime now);

// Whether the claim's allocation is of no use any more: its conditions failed, or took too long.
bool binding_is_hopeless(const api::Object& claim, std::chrono::nanoseconds timeout, api::WallTime now);

}  // namespace kubernel::plugins
