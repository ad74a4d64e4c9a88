// SPDX-License-Identifier: Apache-2.0
//
// Logging: one line per event, a message and key/value pairs, written as text or JSON by the core.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <kubernel/base/error.h>
#include <kubernel/base/export.h>

namespace kubernel {

enum class LogLevel : std::uint8_t { Debug, Info, Warning, Error };

/// One key and its value, already text. Never put a secret here: a log has no access control.
struct LogField {
  std::string key;
  std::string value;

  LogField(std::string_view k, std::string_view v) : key(k), value(v) {}
  LogField(std::string_view k, const char* v) : key(k), value(v) {}
  LogField(std::string_view k, const std::string& v) : key(k), value(v) {}
  LogField(std::string_view k, bool v) : key(k), value(v ? "true" : "false") {}
  LogField(std::string_view k, const class Error& error) : key(k), value(error.message()) {}
  template <class T>
  requires std::is_arithmetic_v<T> LogField(std::string_view k, T v) : key(k), value(std::to_string(v)) {}
};

/// Writes log lines. Every line carries the name the logger was made with ("scheduler",
/// "controller/replicaset").
///
/// Threads: all members may be called concurrently. A line is written whole.
class KUBERNEL_EXPORT Logger {
 public:
  virtual ~Logger() = default;
  virtual bool enabled(LogLevel level) const = 0;
  virtual void write(LogLevel level, std::string_view message, const std::vector<LogField>& fields) = 0;
};

inline void log_debug(Logger& log, std::string_view message, const std::vector<LogField>& fields = {}) {
  if (log.enabled(LogLevel::Debug)) log.write(LogLevel::Debug, message, fields);
}
inline void log_info(Logger& log, std::string_view message, const std::vector<LogField>& fields = {}) {
  log.write(LogLevel::Info, message, fields);
}
inline void log_warning(Logger& log, std::string_view message, const std::vector<LogField>& fields = {}) {
  log.write(LogLevel::Warning, message, fields);
}
inline void log_error(Logger& log, std::string_view message, const std::vector<LogField>& fields = {}) {
  log.write(LogLevel::Error, message, fields);
}

}  // namespace kubernel
