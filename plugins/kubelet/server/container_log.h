// SPDX-License-Identifier: Apache-2.0
//
// ContainerLog: reads a log in CRI format ("<time> <stream> <P|F> <text>") with the options of kubectl logs.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <kubernel/base/clock.h>
#include <kubernel/base/result.h>
#include <kubernel/net/http.h>

namespace kubernel::kubelet {

struct LogOptions {
  bool follow = false, timestamps = false, previous = false;
  std::optional<std::int64_t> tail_lines, limit_bytes;
  std::optional<Clock::WallTime> since;
  std::string stream;  // "", "All", "Stdout", "Stderr".
};

// From a request's query. Errors: BadRequest or Invalid with upstream's message.
Result<LogOptions> parse_log_options(const net::Request& request, Clock::WallTime now);

// One line of the file. Absent when it is none.
struct LogLine {
  std::string_view time, stream, text;
  bool partial = false;
};
std::optional<LogLine> parse_log_line(std::string_view line);

// Reads a growing file piece by piece. Threads: one user.
class ContainerLog {
 public:
  // Errors: NotFound when there is no such file.
  static Result<std::unique_ptr<ContainerLog>> open(const std::string& path, const LogOptions& options);
  ~ContainerLog();
  ContainerLog(const ContainerLog&) = delete;
  ContainerLog& operator=(const ContainerLog&) = delete;

  // The text of the next lines, at most about 64 KiB of file; empty when the end has been reached for now, or for good.
  Result<std::string> read();
  // limitBytes has been reached: nothing more will come.
  bool exhausted() const { return exhausted_; }
  // The file was replaced by a new one at its path (log rotation): go on there, once the old one has been read to its
  // end.
  void follow_rotation();

 private:
  ContainerLog(std::string path, int fd, const LogOptions& options)
      : path_(std::move(path)), fd_(fd), options_(options) {}
  Result<void> seek_tail(std::int64_t lines);
  void append(std::string_view line, std::string& out);

  const std::string path_;
  int fd_;
  const LogOptions options_;
  std::string rest_;      // The beginning of a line whose end has not been written yet.
  bool in_line_ = false;  // The last piece was partial.
  bool exhausted_ = false;
  std::int64_t written_ = 0;
};

}  // namespace kubernel::kubelet
