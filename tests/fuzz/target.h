// SPDX-License-Identifier: Apache-2.0
//
// What every fuzz target needs: its input as text, and a way to say that a promise was broken.

#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace kubernel::fuzz {

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// Ends the target: what it must always keep does not hold for this input.
inline void must(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "broken promise: %s\n", what);
  std::abort();
}

// Takes what comes before the first NUL; the rest stays in `text`.
inline std::string_view take_part(std::string_view& text) {
  const std::size_t end = text.find('\0');
  const std::string_view part = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return part;
}

}  // namespace kubernel::fuzz

// The one function of a target, as libFuzzer names it; `input` is the text.
#define KUBERNEL_FUZZ(input)                                                          \
  static void kubernel_fuzz(std::string_view input);                                  \
  extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) { \
    kubernel_fuzz(kubernel::fuzz::text_of(data, size));                               \
    return 0;                                                                         \
  }                                                                                   \
  static void kubernel_fuzz(std::string_view input)
