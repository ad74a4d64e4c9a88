// SPDX-License-Identifier: Apache-2.0
#include "core/base/process_metrics.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <system_error>
#include <vector>

#include <unistd.h>

namespace kubernel::core {
namespace {

// The fields of /proc/self/stat after the command's name, which may hold anything; the first is field 3
// (proc_pid_stat(5)).
std::vector<std::string> stat_fields() {
  std::ifstream in("/proc/self/stat");
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  std::istringstream rest(text.substr(std::min(text.size(), text.rfind(')') + 1)));
  return {std::istream_iterator<std::string>(rest), {}};
}

double field(const std::vector<std::string>& fields, std::size_t number) {
  const std::size_t index = number - 3;
  return index < fields.size() ? std::strtod(fields[index].c_str(), nullptr) : 0;
}

constexpr std::size_t kUserTime = 14;
constexpr std::size_t kSystemTime = 15;
constexpr std::size_t kThreads = 20;
constexpr std::size_t kStartTime = 22;
constexpr std::size_t kVirtualSize = 23;
constexpr std::size_t kResidentPages = 24;

double seconds_since_boot() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

double age_seconds(const std::vector<std::string>& fields) {
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  return seconds_since_boot() - field(fields, kStartTime) / ticks;
}

std::size_t open_descriptors() {
  std::error_code unreadable;
  const auto count = std::distance(std::filesystem::directory_iterator("/proc/self/fd", unreadable), {});
  return static_cast<std::size_t>(std::max<std::ptrdiff_t>(count, 1)) - 1;  // One is the directory's own.
}

std::string plain(double value) {
  std::array<char, 340> text{};
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), value).ptr};
}

void append(std::string& out, const char* name, const char* type, const char* help, double value) {
  out.append("# HELP ").append(name).append(" ").append(help).append("\n# TYPE ").append(name).append(" ").append(type);
  out.append("\n").append(name).append(" ").append(plain(value)).append("\n");
}

}  // namespace

std::string ProcessMetrics::render() const {
  const auto fields = stat_fields();
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  std::string out = registry_.render();
  append(out, "process_cpu_seconds_total", "counter", "User and system CPU time spent in seconds.",
         (field(fields, kUserTime) + field(fields, kSystemTime)) / ticks);
  append(out, "process_open_fds", "gauge", "Open file descriptors.", static_cast<double>(open_descriptors()));
  append(out, "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.",
         field(fields, kResidentPages) * static_cast<double>(sysconf(_SC_PAGESIZE)));
  const auto now = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  append(out, "process_start_time_seconds", "gauge", "Start time since the Unix epoch in seconds.",
         now - age_seconds(fields));
  append(out, "process_threads", "gauge", "Threads of the process.", field(fields, kThreads));
  append(out, "process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", field(fields, kVirtualSize));
  return out;
}

std::chrono::milliseconds since_exec() {
  return std::chrono::milliseconds(static_cast<std::int64_t>(age_seconds(stat_fields()) * 1000));
}

}  // namespace kubernel::core
