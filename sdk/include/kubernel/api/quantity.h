// SPDX-License-Identifier: Apache-2.0
//
// Quantity: a resource amount such as "250m", "1Gi", "2e3" with upstream's exact arithmetic and canonical form
// (apimachinery api/resource).

#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include <kubernel/api/value.h>
#include <kubernel/base/export.h>
#include <kubernel/base/result.h>

namespace kubernel::api {

/// A decimal fixed-point number with nano precision (finer is rounded up, as upstream) and the format it was written
/// in. Magnitudes beyond about 1e29 saturate.
class KUBERNEL_EXPORT Quantity {
 public:
  enum class Format : std::uint8_t { DecimalSi, BinarySi, DecimalExponent };

  Quantity() noexcept = default;  ///< Zero, DecimalSi.
  static Quantity of(std::int64_t value, Format format = Format::DecimalSi) noexcept;
  static Quantity of_milli(std::int64_t value, Format format = Format::DecimalSi) noexcept;

  /// Errors: Invalid, with upstream's message.
  static Result<Quantity> parse(std::string_view text);
  /// Reads a string or a number; missing or malformed is zero (validation happened at the API's door).
  static Quantity read(Value value) noexcept;

  /// Whole units, rounded up; saturates at the int64 limits.
  std::int64_t value() const noexcept;
  /// Thousandths, rounded up; saturates.
  std::int64_t milli_value() const noexcept;

  bool is_zero() const noexcept { return nanos_ == 0; }
  int sign() const noexcept { return nanos_ > 0 ? 1 : nanos_ < 0 ? -1 : 0; }
  Quantity& operator+=(const Quantity& other) noexcept;
  Quantity& operator-=(const Quantity& other) noexcept;
  friend bool operator==(const Quantity& a, const Quantity& b) noexcept { return a.nanos_ == b.nanos_; }
  friend std::strong_ordering operator<=>(const Quantity& a, const Quantity& b) noexcept {
    return a.nanos_ <=> b.nanos_;
  }

  /// The canonical text: "1Gi", "250m", "100k".
  std::string to_string() const;
  Format format() const noexcept { return format_; }

 private:
  __extension__ typedef __int128 Nanos;  // -Wpedantic accepts __int128 only this way.
  Nanos nanos_ = 0;
  Format format_ = Format::DecimalSi;
};

}  // namespace kubernel::api
