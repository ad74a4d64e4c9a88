// SPDX-License-Identifier: Apache-2.0
#include <kubernel/api/quantity.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <optional>

namespace kubernel::api {
namespace {

__extension__ typedef __int128 Int128;

constexpr Int128 kNano = 1'000'000'000;
constexpr Int128 kMaxWhole = std::numeric_limits<std::int64_t>::max();
constexpr Int128 kMaxNanos = kMaxWhole * kNano;

struct Suffix {
  std::string_view text;
  int base;
  int exponent;
};

// apimachinery pkg/api/resource/suffix.go names these two families.
constexpr std::array kDecimal = {Suffix{"n", 10, -9}, Suffix{"u", 10, -6}, Suffix{"m", 10, -3}, Suffix{"", 10, 0},
                                 Suffix{"k", 10, 3},  Suffix{"M", 10, 6},  Suffix{"G", 10, 9},  Suffix{"T", 10, 12},
                                 Suffix{"P", 10, 15}, Suffix{"E", 10, 18}};
constexpr std::array kBinary = {Suffix{"Ki", 2, 10}, Suffix{"Mi", 2, 20}, Suffix{"Gi", 2, 30},
                                Suffix{"Ti", 2, 40}, Suffix{"Pi", 2, 50}, Suffix{"Ei", 2, 60}};

struct Scale {
  int base;
  int exponent;
  Quantity::Format format;
};

std::optional<Scale> parse_suffix(std::string_view suffix) {
  for (const Suffix& s : kDecimal) {
    if (s.text == suffix) return Scale{s.base, s.exponent, Quantity::Format::DecimalSi};
  }
  for (const Suffix& s : kBinary) {
    if (s.text == suffix) return Scale{s.base, s.exponent, Quantity::Format::BinarySi};
  }
  if (suffix.size() < 2 || (suffix[0] != 'e' && suffix[0] != 'E')) return std::nullopt;
  std::string_view digits = suffix.substr(1);
  if (digits.front() == '+') digits.remove_prefix(1);
  int exponent = 0;
  const auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), exponent);
  if (ec != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return Scale{10, exponent, Quantity::Format::DecimalExponent};
}

// A decimal number being scaled: value = whole + (anything lost below ? something : 0).
struct Accumulator {
  Int128 value = 0;
  bool lost = false;      // Nonzero digits were dropped below the last one kept.
  bool overflow = false;  // Beyond what can matter: the result is capped.

  void multiply(int by) {
    if (value > kMaxNanos) {
      overflow = true;
      return;
    }
    value *= by;
  }
  void divide(int by) {
    lost = lost || value % by != 0;
    value /= by;
  }
};

// |number| * base^exponent in nanos, rounded up, capped at upstream's maximum of 2^63-1 units.
Int128 to_nanos(std::string_view whole, std::string_view fraction, const Scale& scale) {
  Accumulator acc;
  for (const char c : whole) {
    acc.multiply(10);
    acc.value += c - '0';
  }
  int shift = 9;  // Powers of ten still to apply.
  for (const char c : fraction) {
    if (acc.value > kMaxNanos) {  // More digits than can matter; only whether they are zero does.
      acc.lost = acc.lost || c != '0';
      continue;
    }
    acc.multiply(10);
    acc.value += c - '0';
    --shift;
  }
  if (scale.base == 10) shift += scale.exponent;
  if (scale.base == 2) {
    for (int i = 0; i < scale.exponent; ++i) acc.multiply(2);
  }
  for (; shift > 0 && acc.value != 0 && !acc.overflow; --shift) acc.multiply(10);
  for (; shift < 0 && acc.value != 0; ++shift) acc.divide(10);
  if (acc.overflow) return kMaxNanos;
  return std::min(acc.value + (acc.lost ? 1 : 0), kMaxNanos);
}

// Rounds away from zero, as upstream's inf.RoundUp does.
std::int64_t scaled(Int128 nanos, Int128 unit) {
  Int128 quotient = nanos / unit;
  if (nanos % unit != 0) quotient += nanos > 0 ? 1 : -1;
  constexpr Int128 kMin = std::numeric_limits<std::int64_t>::min();
  return static_cast<std::int64_t>(std::clamp(quotient, kMin, kMaxWhole));
}

std::string digits_of(Int128 value) {
  if (value == 0) return "0";
  const bool negative = value < 0;
  std::string out;
  for (Int128 rest = negative ? -value : value; rest != 0; rest /= 10) {
    out += static_cast<char>('0' + static_cast<int>(rest % 10));
  }
  if (negative) out += '-';
  std::ranges::reverse(out);
  return out;
}

std::string decimal_text(Int128 nanos, Quantity::Format format) {
  if (nanos == 0) return "0";
  Int128 mantissa = nanos;
  int exponent = -9;
  while (mantissa % 1000 == 0 && (exponent < 18 || format == Quantity::Format::DecimalExponent)) {
    mantissa /= 1000;
    exponent += 3;
  }
  if (format == Quantity::Format::DecimalExponent) {
    return digits_of(mantissa) + (exponent == 0 ? "" : "e" + std::to_string(exponent));
  }
  const auto suffix = std::ranges::find(kDecimal, exponent, &Suffix::exponent);
  return digits_of(mantissa) + std::string(suffix->text);
}

// Of whole units only.
std::string binary_text(Int128 nanos) {
  Int128 mantissa = nanos / kNano;
  std::size_t powers = 0;
  while (mantissa % 1024 == 0 && powers < kBinary.size()) {
    mantissa /= 1024;
    ++powers;
  }
  return digits_of(mantissa) + (powers == 0 ? "" : std::string(kBinary[powers - 1].text));
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

}  // namespace

Quantity Quantity::of(std::int64_t value, Format format) noexcept {
  Quantity q;
  q.nanos_ = Nanos{value} * kNano;
  q.format_ = format;
  return q;
}

Quantity Quantity::of_milli(std::int64_t value, Format format) noexcept {
  Quantity q;
  q.nanos_ = Nanos{value} * 1'000'000;
  q.format_ = format;
  return q;
}

Result<Quantity> Quantity::parse(std::string_view text) {
  static const Error kWrongFormat(
      Reason::Invalid, "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
  std::string_view rest = text;
  const bool negative = rest.starts_with('-');
  if (negative || rest.starts_with('+')) rest.remove_prefix(1);

  const auto whole_end = std::ranges::find_if_not(rest, is_digit);
  const std::string_view whole(rest.begin(), whole_end);
  rest.remove_prefix(whole.size());
  std::string_view fraction;
  if (rest.starts_with('.')) {
    rest.remove_prefix(1);
    fraction = std::string_view(rest.begin(), std::ranges::find_if_not(rest, is_digit));
    rest.remove_prefix(fraction.size());
  }
  if (whole.empty() && fraction.empty()) return kWrongFormat;
  if (rest.find_first_not_of("eEinumkKMGTP+-0123456789") != std::string_view::npos) return kWrongFormat;
  const auto scale = parse_suffix(rest);
  if (!scale) return Error(Reason::Invalid, "unable to parse quantity's suffix");

  Quantity q;
  q.nanos_ = to_nanos(whole, fraction, *scale);
  if (negative) q.nanos_ = -q.nanos_;
  q.format_ = scale->format;
  return q;
}

Quantity Quantity::read(Value value) noexcept {
  if (value.is_string()) {
    auto parsed = parse(value.string());
    return parsed ? *parsed : Quantity();
  }
  if (value.kind() == Value::Kind::Integer) return of(value.integer());
  if (value.kind() == Value::Kind::Double) {
    auto parsed = parse(value.dump());
    return parsed ? *parsed : Quantity();
  }
  return {};
}

std::int64_t Quantity::value() const noexcept {
  return scaled(nanos_, kNano);
}
std::int64_t Quantity::milli_value() const noexcept {
  return scaled(nanos_, 1'000'000);
}

Quantity& Quantity::operator+=(const Quantity& other) noexcept {
  if (is_zero()) format_ = other.format_;
  nanos_ += other.nanos_;
  return *this;
}
Quantity& Quantity::operator-=(const Quantity& other) noexcept {
  if (is_zero()) format_ = other.format_;
  nanos_ -= other.nanos_;
  return *this;
}

std::string Quantity::to_string() const {
  constexpr Nanos kSmall = 1024 * kNano;
  // As upstream: what has a fraction of a byte is shown in decimal rather than rounded.
  const bool binary = format_ == Format::BinarySi && (nanos_ <= -kSmall || nanos_ >= kSmall) && nanos_ % kNano == 0;
  if (binary) return binary_text(nanos_);
  return decimal_text(nanos_, format_ == Format::BinarySi ? Format::DecimalSi : format_);
}

}  // namespace kubernel::api
