// SPDX-License-Identifier: Apache-2.0
#include "server/container_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include <kubernel/api/time.h>

namespace kubernel::kubelet {

namespace {

constexpr std::size_t kBlock = 64 * 1024;
constexpr std::size_t kMaxLine = 1 << 20;  // Runtimes cut lines long before.

Error system_error(const std::string& path) {
  return Error(errno == ENOENT ? Reason::NotFound : Reason::Internal, path + ": " + std::strerror(errno));
}

Result<std::optional<std::int64_t>> number(const net::Request& request, const char* name, std::int64_t lowest) {
  const auto text = request.param(name);
  if (!text || text->empty()) return std::optional<std::int64_t>();
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc() || end != text->data() + text->size()) {
    return Error(Reason::BadRequest, "Unable to decode query.");
  }
  if (value < lowest) {
    return Error(Reason::Invalid,
                 std::string("Invalid request: ") + name + ": Invalid value: " + std::to_string(value) +
                     (lowest == 0 ? ": must be greater than or equal to 0" : ": must be greater than 0"));
  }
  return std::optional(value);
}

bool flag(const net::Request& request, const char* name) {
  const auto text = request.param(name);
  return text && (*text == "true" || *text == "1" || text->empty());
}

}  // namespace

Result<LogOptions> parse_log_options(const net::Request& request, Clock::WallTime now) {
  LogOptions out;
  out.follow = flag(request, "follow");
  out.timestamps = flag(request, "timestamps");
  out.previous = flag(request, "previous");
  KUBERNEL_TRY(out.tail_lines, number(request, "tailLines", 0));
  KUBERNEL_TRY(out.limit_bytes, number(request, "limitBytes", 1));
  KUBERNEL_TRY(const auto seconds, number(request, "sinceSeconds", 1));
  if (seconds) out.since = now - std::chrono::seconds(*seconds);
  if (const auto time = request.param("sinceTime"); time && !time->empty()) {
    KUBERNEL_TRY(out.since, api::parse_time(*time));
  }
  if (const auto stream = request.param("stream")) out.stream = *stream;
  return out;
}

std::optional<LogLine> parse_log_line(std::string_view line) {
  LogLine out;
  const auto take = [&line](std::string_view& field) {
    const auto space = line.find(' ');
    if (space == std::string_view::npos) return false;
    field = line.substr(0, space);
    line.remove_prefix(space + 1);
    return true;
  };
  std::string_view tags;
  if (!take(out.time) || !take(out.stream)) return std::nullopt;
  // A line without text may end after its tag.
  if (!take(tags)) {
    tags = line;
    line = {};
  }
  if (out.stream != "stdout" && out.stream != "stderr") return std::nullopt;
  out.partial = tags.substr(0, tags.find(':')) == "P";
  out.text = line;
  return out;
}

Result<std::unique_ptr<ContainerLog>> ContainerLog::open(const std::string& path, const LogOptions& options) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return system_error(path);
  std::unique_ptr<ContainerLog> out(new ContainerLog(path, fd, options));
  if (options.tail_lines) KUBERNEL_CHECK_OK(out->seek_tail(*options.tail_lines));
  return out;
}

ContainerLog::~ContainerLog() {
  ::close(fd_);
}

// Moves to the beginning of the last `lines` lines, reading blocks from the end.
Result<void> ContainerLog::seek_tail(std::int64_t lines) {
  struct stat info {};
  if (::fstat(fd_, &info) != 0) return system_error(path_);
  off_t begin = info.st_size;
  std::int64_t found = 0;
  std::string block(kBlock, '\0');
  off_t result = lines == 0 ? info.st_size : 0;
  while (begin > 0 && lines > 0) {
    const off_t size = std::min<off_t>(begin, static_cast<off_t>(kBlock));
    begin -= size;
    const ssize_t n = ::pread(fd_, block.data(), static_cast<std::size_t>(size), begin);
    if (n != size) return system_error(path_);
    for (off_t i = size - 1; i >= 0; --i) {
      if (block[static_cast<std::size_t>(i)] != '\n' || begin + i == info.st_size - 1) continue;
      if (++found == lines) {
        result = begin + i + 1;
        begin = 0;
        break;
      }
    }
  }
  if (::lseek(fd_, result, SEEK_SET) < 0) return system_error(path_);
  return {};
}

Result<std::string> ContainerLog::read() {
  std::string out;
  if (exhausted_) return out;
  char buffer[kBlock];
  ssize_t n = 0;
  while (out.empty() && !exhausted_ && (n = ::read(fd_, buffer, sizeof buffer)) > 0) {
    rest_.append(buffer, static_cast<std::size_t>(n));
    std::size_t from = 0;
    for (std::size_t end = 0; !exhausted_ && (end = rest_.find('\n', from)) != std::string::npos; from = end + 1) {
      append(std::string_view(rest_).substr(from, end - from), out);
    }
    rest_.erase(0, from);
    if (rest_.size() > kMaxLine) rest_.clear();  // No log line; nothing a runtime writes.
  }
  if (n < 0) return system_error(path_);
  return out;
}

void ContainerLog::append(std::string_view raw, std::string& out) {
  const auto line = parse_log_line(raw);
  if (!line) return;
  if (options_.stream == "Stdout" && line->stream != "stdout") return;
  if (options_.stream == "Stderr" && line->stream != "stderr") return;
  if (options_.since) {
    const auto time = api::parse_time(line->time);
    if (!time || *time < *options_.since) return;
  }
  std::string text;
  if (options_.timestamps && !in_line_) text = std::string(line->time) + " ";
  text += line->text;
  if (!line->partial) text += '\n';
  in_line_ = line->partial;
  if (options_.limit_bytes && written_ + static_cast<std::int64_t>(text.size()) >= *options_.limit_bytes) {
    text.resize(static_cast<std::size_t>(*options_.limit_bytes - written_));
    exhausted_ = true;
  }
  written_ += static_cast<std::int64_t>(text.size());
  out += text;
}

void ContainerLog::follow_rotation() {
  struct stat mine {
  }, current{};
  if (::fstat(fd_, &mine) != 0 || ::stat(path_.c_str(), &current) != 0 || mine.st_ino == current.st_ino) return;
  const int fd = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  ::close(fd_);
  fd_ = fd;
  rest_.clear();
}

}  // namespace kubernel::kubelet
