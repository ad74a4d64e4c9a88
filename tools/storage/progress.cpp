// SPDX-License-Identifier: Apache-2.0
#include "progress.h"

#include <unistd.h>

namespace kubernel::storage_tool {
namespace {

constexpr std::chrono::milliseconds kPatience{500};
constexpr std::chrono::milliseconds kOnTerminal{200};
constexpr std::chrono::seconds kOnPaper{5};

}  // namespace

Progress::Progress(Clock& clock, std::FILE* out)
    : clock_(clock), out_(out), terminal_(::isatty(::fileno(out)) != 0), next_(clock.now() + kPatience) {}

Progress::~Progress() {
  if (line_open_) std::fputs("\r\033[K", out_);
}

void Progress::at(std::string_view doing, std::int64_t done, std::int64_t total) {
  const auto now = clock_.now();
  if (now < next_) return;
  next_ = now + (terminal_ ? Clock::TimePoint::duration(kOnTerminal) : Clock::TimePoint::duration(kOnPaper));
  std::string line = std::string(doing) + " " + std::to_string(done);
  if (total > 0)
    line += " of " + std::to_string(total) + " (" + std::to_string(std::min(done, total) * 100 / total) + " %)";
  std::fprintf(out_, terminal_ ? "\r%s\033[K" : "%s\n", line.c_str());
  std::fflush(out_);
  line_open_ = terminal_;
}

}  // namespace kubernel::storage_tool
