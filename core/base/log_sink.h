// SPDX-License-Identifier: Apache-2.0
//
// LogSink: where all loggers of the process write, one write(2) per line.
//
//   text: 2026-01-31T12:00:00.123456Z info scheduler: message key=value other="two words"
//   json: {"time":"2026-01-31T12:00:00.123456Z","level":"info","logger":"scheduler","message":"message","key":"value"}

#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/base/clock.h>
#include <kubernel/base/log.h>

namespace kubernel::core {

enum class LogFormat : std::uint8_t { Text, Json };

// Threads: all members may be called concurrently.
class LogSink {
 public:
  // `fd` stays the caller's; `clock` outlives the sink.
  LogSink(int fd, LogLevel level, LogFormat format, const Clock& clock)
      : fd_(fd), level_(level), format_(format), clock_(clock) {}

  // Lines carry `name`. The sink outlives its loggers.
  std::unique_ptr<Logger> logger(std::string_view name);

  bool enabled(LogLevel level) const { return level >= level_; }
  void write(std::string_view logger, LogLevel level, std::string_view message, const std::vector<LogField>& fields);

 private:
  const int fd_;
  const LogLevel level_;
  const LogFormat format_;
  const Clock& clock_;
  std::mutex mutex_;  // A pipe keeps only short lines whole by itself.
};

std::string_view to_string(LogLevel level);

}  // namespace kubernel::core
