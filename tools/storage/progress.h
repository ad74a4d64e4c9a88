// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include <kubernel/base/clock.h>

namespace kubernel::storage_tool {

// Tells on stderr how far long work is: on a terminal in one line that changes, else in a line now and then. Work that
// is done in a moment says nothing.
class Progress {
 public:
  Progress(Clock& clock, std::FILE* out);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `total` 0: not known.
  void at(std::string_view doing, std::int64_t done, std::int64_t total);

 private:
  Clock& clock_;
  std::FILE* const out_;
  const bool terminal_;
  Clock::TimePoint next_;
  bool line_open_ = false;
};

}  // namespace kubernel::storage_tool
