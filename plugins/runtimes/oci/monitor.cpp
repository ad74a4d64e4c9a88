// SPDX-License-Identifier: Apache-2.0
#include "monitor.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <functional>
#include <stop_token>
#include <vector>

#include <nlohmann/json.hpp>

#include "files.h"

namespace kubernel::runtime::oci {
namespace {

constexpr int kStartPipe = 3, kSyncPipe = 4, kAttachPipe = 5;

struct Pipe {
  UniqueFd read, write;
};

Result<Pipe> make_pipe() {
  std::array<int, 2> fds{};
  if (pipe2(fds.data(), O_CLOEXEC) != 0) return file_error("make", "a pipe", errno);
  return Pipe{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

std::string directory_link(int fd, const char* name) {
  return "/proc/self/fd/" + std::to_string(fd) + "/" + name;
}

int wait_ms(CallContext::Clock::time_point until) {
  if (until == CallContext::Clock::time_point::max()) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - CallContext::Clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 3'600'000));
}

// Waits until `fd` is readable; false at the deadline or when ctx stops.
bool wait_readable(const CallContext& ctx, int fd, CallContext::Clock::time_point until) {
  const UniqueFd stop(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  const std::stop_callback<std::function<void()>> on_stop(ctx.stop, [raw = stop.get()] { eventfd_write(raw, 1); });
  for (;;) {
    std::array<pollfd, 2> fds{{{fd, POLLIN, 0}, {stop.get(), POLLIN, 0}}};
    const int ready = poll(fds.data(), fds.size(), wait_ms(until));
    if (fds[0].revents != 0 && ready > 0) return true;
    if (ctx.stopping() || CallContext::Clock::now() >= until) return false;
  }
}

Result<void> poke(const UniqueFd& start) {
  if (write(start.get(), "1", 1) != 1) return file_error("write to", "conmon's start pipe", errno);
  return {};
}

}  // namespace

std::optional<ProcessId> identify(pid_t pid) {
  if (pid <= 0) return std::nullopt;
  const auto text = read_file("/proc/" + std::to_string(pid) + "/stat");
  if (!text) return std::nullopt;
  // The second field is the program's name in parentheses and may hold anything.
  std::size_t at = text->rfind(')');
  if (at == std::string::npos || at + 2 >= text->size()) return std::nullopt;
  if ((*text)[at + 2] == 'Z' || (*text)[at + 2] == 'X') return std::nullopt;
  for (int field = 2; field < 22; ++field) at = text->find(' ', at + 1);
  ProcessId out{pid, 0};
  std::from_chars(text->data() + at + 1, text->data() + text->size(), out.start_time);
  return out;
}

UniqueFd open_process(const ProcessId& process) {
  UniqueFd fd(static_cast<int>(syscall(SYS_pidfd_open, process.pid, 0)));
  if (!fd) return {};
  // Looked at after the descriptor holds the process, so the number cannot have changed hands in between.
  const auto now = identify(process.pid);
  if (!now || now->start_time != process.start_time) return {};
  return fd;
}

bool wait_for_end(const CallContext& ctx, int process, CallContext::Clock::time_point until) {
  return wait_readable(ctx, process, until);
}

Result<MonitorMessage> parse_message(std::string_view line) {
  const auto value = nlohmann::json::parse(line, nullptr, false);
  if (!value.is_object())
    return Error(Reason::Internal, "conmon said something that is not a message: " + std::string(line));
  MonitorMessage out;
  for (const char* key : {"data", "pid", "exit_code"}) {
    if (const auto found = value.find(key); found != value.end() && found->is_number_integer())
      out.data = found->get<int>();
  }
  if (const auto found = value.find("message"); found != value.end() && found->is_string())
    out.message = found->get<std::string>();
  return out;
}

Result<MonitorMessage> read_message(const CallContext& ctx, int fd) {
  std::string line;
  for (;;) {
    if (!wait_readable(ctx, fd, ctx.deadline)) {
      if (ctx.stopping()) return Error(Reason::Cancelled, "stopped while waiting for a container's monitor");
      return Error(Reason::Timeout, "the container's monitor did not answer in time");
    }
    char c = 0;
    // One byte at a time: the next message belongs to the next reader.
    const ssize_t got = read(fd, &c, 1);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return Error(Reason::Internal, "the container's monitor ended without a message");
    if (c == '\n') return parse_message(line);
    line += c;
    if (line.size() > 256 * 1024) return Error(Reason::Internal, "the container's monitor sent an endless message");
  }
}

void wait_for_monitor(int sync) {
  CallContext ctx;
  ctx.deadline = CallContext::Clock::now() + std::chrono::seconds(5);
  std::array<char, 256> ignored{};
  while (wait_readable(ctx, sync, ctx.deadline)) {
    const ssize_t got = read(sync, ignored.data(), ignored.size());
    if (got == 0 || (got < 0 && errno != EINTR)) return;
  }
}

std::string runtime_message(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.remove_suffix(1);
  std::string_view line = text.substr(text.rfind('\n') == std::string_view::npos ? 0 : text.rfind('\n') + 1);
  const std::size_t at = line.find("msg=\"");
  if (at == std::string_view::npos) return std::string(line);
  std::string out;
  for (std::size_t i = at + 5; i < line.size() && line[i] != '"'; ++i) {
    if (line[i] == '\\' && i + 1 < line.size()) ++i;
    out += line[i];
  }
  return out;
}

Result<UniqueFd> connect_attach(const std::string& directory) {
  const UniqueFd at(open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!at) return file_error("open", directory, errno);
  UniqueFd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!fd) return file_error("make", "a socket", errno);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  // Through the directory's descriptor: its own path may be longer than a socket address.
  const std::string path = directory_link(at.get(), "attach");
  std::copy(path.begin(), path.end(), address.sun_path);
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return file_error("connect to", directory + "/attach", errno);
  return fd;
}

Result<void> control(const std::string& directory, const std::string& line) {
  const std::string path = directory + "/ctl";
  const UniqueFd fd(open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
  if (!fd) return file_error("open", path, errno);
  const std::string text = line + "\n";
  if (write(fd.get(), text.data(), text.size()) < 0) return file_error("write to", path, errno);
  return {};
}

std::vector<std::string> Monitor::common_arguments(const std::string& id, const std::string& directory) const {
  return {options_.conmon,
          "--api-version",
          "1",
          "--cid",
          id,
          "--cuuid",
          id,
          "--runtime",
          options_.runtime,
          "--runtime-arg",
          "--root",
          "--runtime-arg",
          options_.runtime_root,
          "--bundle",
          directory,
          "--container-pidfile",
          directory + "/pidfile",
          "--full-attach",
          "--no-sync-log"};
}

Result<void> Monitor::launch(const CallContext& ctx, const std::vector<std::string>& arguments,
                             const std::string& directory, std::vector<std::pair<int, int>> inherit,
                             const UniqueFd& start) const {
  const std::string log = directory + "/conmon.log";
  const UniqueFd errors(open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!errors) return file_error("create", log, errno);
  ChildOptions child;
  child.argv = arguments;
  child.env = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
               "_OCI_STARTPIPE=" + std::to_string(kStartPipe), "_OCI_SYNCPIPE=" + std::to_string(kSyncPipe),
               "_OCI_ATTACHPIPE=" + std::to_string(kAttachPipe)};
  child.stderr_fd = errors.get();
  child.inherit = std::move(inherit);
  KUBERNEL_TRY(const pid_t pid, spawn_child(child));
  KUBERNEL_CHECK_OK(poke(start));
  KUBERNEL_TRY(const int code, wait_child(ctx, pid));
  if (code == 0) return {};
  const auto text = read_file(log);
  return Error(Reason::Internal,
               "conmon failed: " + (text ? runtime_message(*text) : "exit code " + std::to_string(code)));
}

Result<Created> Monitor::create(const CallContext& ctx, const CreateOptions& options) const {
  KUBERNEL_TRY(Pipe start, make_pipe());
  KUBERNEL_TRY(Pipe sync, make_pipe());
  std::vector<std::string> arguments = common_arguments(options.id, options.bundle);
  const std::string monitor_pid_file = options.bundle + "/conmon.pid";
  for (const std::string& argument :
       {std::string("--log-path"), "k8s-file:" + options.log_path, std::string("--exit-dir"), options_.exit_dir,
        std::string("--conmon-pidfile"), monitor_pid_file}) {
    arguments.push_back(argument);
  }
  if (options.terminal) arguments.emplace_back("--terminal");
  if (options.stdin_open) arguments.emplace_back("--stdin");
  if (options.leave_stdin_open) arguments.emplace_back("--leave-stdin-open");
  KUBERNEL_CHECK_OK(launch(ctx, arguments, options.bundle,
                           {{kStartPipe, start.read.get()}, {kSyncPipe, sync.write.get()}}, start.write));
  sync.write.reset();
  KUBERNEL_TRY(const MonitorMessage message, read_message(ctx, sync.read.get()));
  if (message.data <= 0) {
    return Error(Reason::Internal, "OCI runtime create failed: " +
                                       runtime_message(message.message.empty() ? "unknown error" : message.message));
  }
  KUBERNEL_TRY(const std::string text, read_file(monitor_pid_file));
  pid_t monitor = 0;
  std::from_chars(text.data(), text.data() + text.size(), monitor);
  const auto identity = identify(monitor);
  if (!identity) return Error(Reason::Internal, "the container's monitor died at once");
  return Created{*identity, message.data};
}

Result<StartedExec> Monitor::exec(const CallContext& ctx, const std::string& id, const std::string& directory,
                                  const std::string& process_spec, bool terminal, bool stdin_open) const {
  const std::string spec_path = directory + "/process.json";
  KUBERNEL_CHECK_OK(write_file_atomic(spec_path, process_spec));
  KUBERNEL_TRY(Pipe start, make_pipe());
  KUBERNEL_TRY(Pipe sync, make_pipe());
  KUBERNEL_TRY(Pipe attach, make_pipe());
  std::vector<std::string> arguments = common_arguments(id, directory);
  for (const std::string& argument :
       {std::string("--exec"), std::string("--exec-attach"), std::string("--exec-process-spec"), spec_path,
        std::string("--log-path"), std::string("none")}) {
    arguments.push_back(argument);
  }
  if (terminal) arguments.emplace_back("--terminal");
  if (stdin_open) arguments.emplace_back("--stdin");
  KUBERNEL_CHECK_OK(launch(
      ctx, arguments, directory,
      {{kStartPipe, start.read.get()}, {kSyncPipe, sync.write.get()}, {kAttachPipe, attach.write.get()}}, start.write));
  sync.write.reset();
  attach.write.reset();
  KUBERNEL_TRY([[maybe_unused]] const MonitorMessage listening, read_message(ctx, attach.read.get()));
  StartedExec out;
  KUBERNEL_TRY(out.output, connect_attach(directory));
  KUBERNEL_CHECK_OK(poke(start.write));  // Only now does the command start, so nothing it writes is missed.
  KUBERNEL_TRY(const MonitorMessage started, read_message(ctx, sync.read.get()));
  if (started.data <= 0) {
    return Error(Reason::Internal, "OCI runtime exec failed: " +
                                       runtime_message(started.message.empty() ? "unknown error" : started.message));
  }
  out.process.reset(static_cast<int>(syscall(SYS_pidfd_open, started.data, 0)));
  out.sync = std::move(sync.read);
  return out;
}

Result<void> Monitor::runtime(const CallContext& ctx, const std::vector<std::string>& arguments) const {
  ChildOptions child;
  child.argv = {options_.runtime, "--root", options_.runtime_root};
  child.argv.insert(child.argv.end(), arguments.begin(), arguments.end());
  child.env = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"};
  KUBERNEL_TRY(const ChildOutput output, run_child(ctx, child));
  if (output.exit_code == 0) return {};
  return Error(Reason::Internal,
               "OCI runtime " + arguments.front() + " failed: " + runtime_message(output.standard_error));
}

}  // namespace kubernel::runtime::oci
