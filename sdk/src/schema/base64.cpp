// SPDX-License-Identifier: Apache-2.0
#include "schema/base64.h"

#include <array>
#include <cstdint>

namespace kubernel::schema {
namespace {

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::array<std::int8_t, 256> make_values() {
  std::array<std::int8_t, 256> values{};
  for (auto& value : values) value = -1;
  for (std::size_t i = 0; i < kAlphabet.size(); ++i) {
    values[static_cast<unsigned char>(kAlphabet[i])] = static_cast<std::int8_t>(i);
  }
  return values;
}
constexpr std::array<std::int8_t, 256> kValues = make_values();

std::string problem_at(std::size_t offset) {
  return "illegal base64 data at input byte " + std::to_string(offset);
}

bool is_break(char c) {
  return c == '\n' || c == '\r';
}

/// The padding that starts at `at`, after `digits` digits of the last group; nothing may follow it.
std::string check_padding(std::string_view text, std::size_t at, int digits) {
  if (digits < 2) return problem_at(at);
  int padding = 0;
  for (; at < text.size(); ++at) {
    if (is_break(text[at])) continue;
    if (text[at] != '=' || padding == 4 - digits) return problem_at(at);
    ++padding;
  }
  return padding == 4 - digits ? std::string() : problem_at(text.size());
}

}  // namespace

std::string base64_encode(std::string_view bytes) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j)
      group = group << 8 | (j < count ? static_cast<unsigned char>(bytes[i + j]) : 0U);
    for (std::size_t j = 0; j < 4; ++j) out.push_back(j <= count ? kAlphabet[group >> (18 - 6 * j) & 63] : '=');
  }
  return out;
}

std::string base64_decode(std::string_view text, std::string& out) {
  std::uint32_t group = 0;
  int digits = 0;
  const auto flush = [&](int count) {
    for (int i = 0; i < count; ++i) out.push_back(static_cast<char>(group >> (16 - 8 * i)));
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (is_break(text[i])) continue;
    const int value = kValues[static_cast<unsigned char>(text[i])];
    if (value < 0) {
      if (text[i] != '=') return problem_at(i);
      if (std::string problem = check_padding(text, i, digits); !problem.empty()) return problem;
      group <<= 6 * (4 - digits);
      flush(digits - 1);
      return {};
    }
    group = group << 6 | static_cast<std::uint32_t>(value);
    if (++digits < 4) continue;
    flush(3);
    group = 0;
    digits = 0;
  }
  return digits == 0 ? std::string() : problem_at(text.size() - static_cast<std::size_t>(digits));
}

}  // namespace kubernel::schema
