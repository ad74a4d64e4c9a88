// SPDX-License-Identifier: Apache-2.0
//
// Time, MicroTime and Duration as the API writes them (metav1.Time: RFC 3339, UTC, whole seconds).

#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include <kubernel/api/value.h>
#include <kubernel/base/clock.h>
#include <kubernel/base/export.h>
#include <kubernel/base/result.h>

namespace kubernel::api {

using WallTime = Clock::WallTime;

/// "2026-01-02T03:04:05Z".
KUBERNEL_EXPORT std::string format_time(WallTime time);
/// "2026-01-02T03:04:05.000006Z" (metav1.MicroTime).
KUBERNEL_EXPORT std::string format_micro_time(WallTime time);
/// Accepts any RFC 3339 text, with fraction and offset. Errors: Invalid.
KUBERNEL_EXPORT Result<WallTime> parse_time(std::string_view text);
/// Absent when missing, null or malformed.
KUBERNEL_EXPORT std::optional<WallTime> read_time(Value value);

/// Go's duration text: "1h2m3.5s".
KUBERNEL_EXPORT std::string format_duration(std::chrono::nanoseconds duration);
/// Errors: Invalid.
KUBERNEL_EXPORT Result<std::chrono::nanoseconds> parse_duration(std::string_view text);
/// What kubectl prints for an age: "5s", "3m10s", "26h", "12d" (apimachinery util/duration HumanDuration).
KUBERNEL_EXPORT std::string human_duration(std::chrono::nanoseconds duration);

}  // namespace kubernel::api
