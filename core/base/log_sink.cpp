// SPDX-License-Identifier: Apache-2.0
#include "core/base/log_sink.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <ctime>

#include <poll.h>
#include <unistd.h>

namespace kubernel::core {
namespace {

constexpr std::array<std::string_view, 4> kLevels = {"debug", "info", "warning", "error"};
constexpr std::array<std::string_view, 4> kOwnKeys = {"time", "level", "logger", "message"};

std::string timestamp(Clock::WallTime time) {
  using std::chrono::duration_cast;
  const auto micros = duration_cast<std::chrono::microseconds>(time.time_since_epoch()).count();
  const std::time_t seconds = micros / 1'000'000;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 40> text{};
  const std::size_t length = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &parts);
  std::array<char, 16> fraction{};
  std::snprintf(fraction.data(), fraction.size(), ".%06dZ", static_cast<int>(micros % 1'000'000));
  return std::string(text.data(), length) + fraction.data();
}

// The length of the well-formed UTF-8 sequence at the start of `text`; 0 when there is none (Unicode 15, table 3-7).
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const auto tail = [&](std::size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return tail(1) ? 2 : 0;
  if (lead >= 0xE0 && lead <= 0xEF) {
    const bool overlong = lead == 0xE0 && byte(1) < 0xA0;
    const bool surrogate = lead == 0xED && byte(1) > 0x9F;
    return tail(1) && tail(2) && !overlong && !surrogate ? 3 : 0;
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    const bool overlong = lead == 0xF0 && byte(1) < 0x90;
    const bool beyond = lead == 0xF4 && byte(1) > 0x8F;
    return tail(1) && tail(2) && tail(3) && !overlong && !beyond ? 4 : 0;
  }
  return 0;
}

enum class Within : std::uint8_t { Line, Quotes };

// Nothing of `text` can end the line, or the quotes, it stands in.
void append_escaped(std::string& out, std::string_view text, Within within) {
  while (!text.empty()) {
    const char c = text.front();
    const std::size_t length = utf8_length(text);
    if (length == 0) {
      out += "\xEF\xBF\xBD";  // U+FFFD
    } else if (within == Within::Quotes && (c == '"' || c == '\\')) {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      std::array<char, 8> code{};
      std::snprintf(code.data(), code.size(), "\\u%04x", static_cast<unsigned>(static_cast<unsigned char>(c)));
      out += code.data();
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
}

void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  append_escaped(out, text, Within::Quotes);
  out += '"';
}

bool needs_quotes(std::string_view value) {
  return value.empty() || std::any_of(value.begin(), value.end(), [](char c) {
           return static_cast<unsigned char>(c) <= 0x20 || c == '"' || c == '=' || c == '\\' || c == 0x7F;
         });
}

std::string text_line(std::string_view time, std::string_view level, std::string_view logger, std::string_view message,
                      const std::vector<LogField>& fields) {
  std::string out;
  out.append(time).append(" ").append(level).append(" ").append(logger).append(": ");
  append_escaped(out, message, Within::Line);
  for (const LogField& field : fields) {
    out.append(" ").append(field.key).append("=");
    if (needs_quotes(field.value)) {
      append_quoted(out, field.value);
    } else {
      append_escaped(out, field.value, Within::Line);
    }
  }
  return out += '\n';
}

std::string json_line(std::string_view time, std::string_view level, std::string_view logger, std::string_view message,
                      const std::vector<LogField>& fields) {
  std::string out = "{\"time\":\"";
  out.append(time).append("\",\"level\":\"").append(level).append("\",\"logger\":");
  append_quoted(out, logger);
  out += ",\"message\":";
  append_quoted(out, message);
  for (const LogField& field : fields) {
    out += ',';
    const bool own = std::find(kOwnKeys.begin(), kOwnKeys.end(), field.key) != kOwnKeys.end();
    append_quoted(out, own ? field.key + "_" : field.key);
    out += ':';
    append_quoted(out, field.value);
  }
  return out += "}\n";
}

// A log that cannot be written has nowhere to be reported: the line is lost, the process goes on.
void write_all(int fd, std::string_view line) {
  while (!line.empty()) {
    const ssize_t written = ::write(fd, line.data(), line.size());
    if (written >= 0) {
      line.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN) {
      pollfd writable{fd, POLLOUT, 0};
      poll(&writable, 1, -1);
    } else if (errno != EINTR) {
      return;
    }
  }
}

class SinkLogger final : public Logger {
 public:
  SinkLogger(LogSink& sink, std::string_view name) : sink_(sink), name_(name) {}
  bool enabled(LogLevel level) const override { return sink_.enabled(level); }
  void write(LogLevel level, std::string_view message, const std::vector<LogField>& fields) override {
    sink_.write(name_, level, message, fields);
  }

 private:
  LogSink& sink_;
  const std::string name_;
};

}  // namespace

std::string_view to_string(LogLevel level) {
  return kLevels[static_cast<std::size_t>(level)];
}

std::unique_ptr<Logger> LogSink::logger(std::string_view name) {
  return std::make_unique<SinkLogger>(*this, name);
}

void LogSink::write(std::string_view logger, LogLevel level, std::string_view message,
                    const std::vector<LogField>& fields) {
  if (!enabled(level)) return;
  const std::string time = timestamp(clock_.wall_now());
  const std::string line = format_ == LogFormat::Text ? text_line(time, to_string(level), logger, message, fields)
                                                      : json_line(time, to_string(level), logger, message, fields);
  const std::lock_guard lock(mutex_);
  write_all(fd_, line);
}

}  // namespace kubernel::core
