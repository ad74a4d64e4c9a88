// SPDX-License-Identifier: Apache-2.0
//
// IntOrString: a number, or a text such as a port name or a percentage (apimachinery util/intstr).

#pragma once

#include <cstdint>
#include <string>

#include <kubernel/api/value.h>
#include <kubernel/base/export.h>
#include <kubernel/base/result.h>

namespace kubernel::api {

struct KUBERNEL_EXPORT IntOrString {
  bool is_string = false;
  std::int64_t number = 0;
  std::string text;

  /// Missing reads as 0.
  static IntOrString read(Value value);
  std::string to_string() const { return is_string ? text : std::to_string(number); }
};

/// "25%" of `total`, or the number itself (GetScaledValueFromIntOrPercent).
/// Errors: Invalid when the text is no percentage.
KUBERNEL_EXPORT Result<std::int64_t> scaled_value(const IntOrString& value, std::int64_t total, bool round_up);

}  // namespace kubernel::api
