// SPDX-License-Identifier: Apache-2.0
#include <kubernel/api/int_or_string.h>

#include <charconv>
#include <limits>

namespace kubernel::api {

IntOrString IntOrString::read(Value value) {
  IntOrString out;
  out.is_string = value.is_string();
  if (out.is_string) {
    out.text = std::string(value.string());
  } else {
    out.number = value.integer();
  }
  return out;
}

Result<std::int64_t> scaled_value(const IntOrString& value, std::int64_t total, bool round_up) {
  if (!value.is_string) return value.number;
  const std::string& text = value.text;
  const Error invalid(Reason::Invalid, "invalid value for IntOrString: invalid type: string is not a percentage");
  if (text.size() < 2 || text.back() != '%') return invalid;
  std::int64_t percent = 0;
  const char* end = text.data() + text.size() - 1;
  const auto [stopped, ec] = std::from_chars(text.data(), end, percent);
  if (ec != std::errc() || stopped != end) return invalid;
  std::int64_t product = 0;
  if (__builtin_mul_overflow(percent, total, &product)) {
    using Limits = std::numeric_limits<std::int64_t>;
    product = (percent < 0) == (total < 0) ? Limits::max() : Limits::min();
  }
  const bool bump = round_up && product > 0 && product % 100 != 0;
  return product / 100 + (bump ? 1 : 0);
}

}  // namespace kubernel::api
