// SPDX-License-Identifier: Apache-2.0
#include <kubernel/base/child_process.h>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <functional>
#include <optional>
#include <stop_token>
#include <system_error>

namespace kubernel {
namespace {

// Sources are moved up here first, so that no dup2 in the child overwrites one that is still needed.
constexpr int kFirstSourceFd = 200;

Error system_error(std::string_view what, int code) {
  return {Reason::Internal, std::string(what) + ": " + std::generic_category().message(code)};
}

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> out;
  out.reserve(strings.size() + 1);
  for (const std::string& s : strings) out.push_back(const_cast<char*>(s.c_str()));
  out.push_back(nullptr);
  return out;
}

class SpawnActions {
 public:
  SpawnActions() {
    posix_spawn_file_actions_init(&actions_);
    posix_spawnattr_init(&attributes_);
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    sigdelset(&all, SIGKILL);
    sigdelset(&all, SIGSTOP);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &all);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  ~SpawnActions() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnActions(const SpawnActions&) = delete;
  SpawnActions& operator=(const SpawnActions&) = delete;

  Result<void> give(int child_fd, int our_fd) {
    UniqueFd source(fcntl(our_fd, F_DUPFD_CLOEXEC, kFirstSourceFd));
    if (!source) return system_error("cannot duplicate a descriptor for a child process", errno);
    posix_spawn_file_actions_adddup2(&actions_, source.get(), child_fd);
    sources_.push_back(std::move(source));
    return {};
  }
  Result<void> give_standard(int child_fd, int our_fd) {
    if (our_fd >= 0) return give(child_fd, our_fd);
    posix_spawn_file_actions_addopen(&actions_, child_fd, "/dev/null", child_fd == 0 ? O_RDONLY : O_WRONLY, 0);
    return {};
  }
  // Descriptors of this process that lack O_CLOEXEC (inherited ones, a library's) go no further.
  void close_others(const std::vector<std::pair<int, int>>& given) {
    int highest = 2;
    for (const auto& [child_fd, our_fd] : given) highest = std::max(highest, child_fd);
    for (int fd = 3; fd < highest; ++fd) {
      if (std::ranges::none_of(given, [fd](const auto& pair) { return pair.first == fd; })) {
        posix_spawn_file_actions_addclose(&actions_, fd);
      }
    }
    posix_spawn_file_actions_addclosefrom_np(&actions_, highest + 1);
  }
  void change_directory(const std::string& path) { posix_spawn_file_actions_addchdir_np(&actions_, path.c_str()); }

  const posix_spawn_file_actions_t* actions() const { return &actions_; }
  const posix_spawnattr_t* attributes() const { return &attributes_; }

 private:
  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
  std::vector<UniqueFd> sources_;
};

int exit_code_of(int status) {
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

// What a blocking wait looks at besides its own descriptors: an eventfd that becomes readable when ctx stops.
class StopSignal {
 public:
  explicit StopSignal(const CallContext& ctx) : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    callback_.emplace(ctx.stop, [fd = fd_.get()] {
      const std::uint64_t one = 1;
      [[maybe_unused]] const ssize_t ignored = write(fd, &one, sizeof one);  // A full counter is readable as well.
    });
  }
  int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
  std::optional<std::stop_callback<std::function<void()>>> callback_;
};

// Milliseconds poll() may wait; rounded up, so that the deadline has passed when it returns.
int remaining_ms(const CallContext& ctx) {
  if (ctx.deadline == CallContext::Clock::time_point::max()) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(ctx.deadline - CallContext::Clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 3'600'000));
}

int collect(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return exit_code_of(status);
}

Error give_up(const CallContext& ctx, pid_t pid) {
  kill(pid, SIGKILL);
  collect(pid);
  if (ctx.stopping()) return {Reason::Cancelled, "stopped while waiting for a child process"};
  return {Reason::Timeout, "a child process did not end in time and was killed"};
}

struct Stream {
  UniqueFd fd;
  std::string* into = nullptr;
};

// Reads what is there without waiting; closes at the end of the stream.
void drain(Stream& stream, std::size_t limit) {
  std::array<char, 16 * 1024> buffer{};
  while (stream.fd) {
    const ssize_t got = read(stream.fd.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
      stream.fd.reset();
      return;
    }
    const std::size_t room = limit - std::min(limit, stream.into->size());
    stream.into->append(buffer.data(), std::min(room, static_cast<std::size_t>(got)));
  }
}

Result<UniqueFd> memory_file(std::string_view content) {
  UniqueFd fd(memfd_create("stdin", MFD_CLOEXEC));
  if (!fd) return system_error("memfd_create", errno);
  while (!content.empty()) {
    const ssize_t written = write(fd.get(), content.data(), content.size());
    if (written < 0) return system_error("write to a memory file", errno);
    content.remove_prefix(static_cast<std::size_t>(written));
  }
  lseek(fd.get(), 0, SEEK_SET);
  return fd;
}

}  // namespace

void UniqueFd::reset(int fd) noexcept {
  if (fd_ >= 0) close(fd_);
  fd_ = fd;
}

Result<pid_t> spawn_child(const ChildOptions& options) {
  if (options.argv.empty()) return Error(Reason::Internal, "a child process needs a program to run");
  SpawnActions actions;
  KUBERNEL_CHECK_OK(actions.give_standard(0, options.stdin_fd));
  KUBERNEL_CHECK_OK(actions.give_standard(1, options.stdout_fd));
  KUBERNEL_CHECK_OK(actions.give_standard(2, options.stderr_fd));
  for (const auto& [child_fd, our_fd] : options.inherit) KUBERNEL_CHECK_OK(actions.give(child_fd, our_fd));
  actions.close_others(options.inherit);
  if (!options.working_dir.empty()) actions.change_directory(options.working_dir);
  const std::vector<char*> argv = pointers(options.argv);
  const std::vector<char*> env = pointers(options.env);
  pid_t pid = -1;
  const int code = posix_spawnp(&pid, argv[0], actions.actions(), actions.attributes(), argv.data(), env.data());
  if (code == ENOENT) return Error(Reason::NotFound, "program " + options.argv[0] + " not found");
  if (code != 0) return system_error("cannot run " + options.argv[0], code);
  return pid;
}

Result<int> wait_child(const CallContext& ctx, pid_t pid) {
  const UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!process) return system_error("pidfd_open", errno);
  const StopSignal stop(ctx);
  for (;;) {
    std::array<pollfd, 2> fds{{{process.get(), POLLIN, 0}, {stop.fd(), POLLIN, 0}}};
    const int ready = poll(fds.data(), fds.size(), remaining_ms(ctx));
    if (ready < 0 && errno != EINTR) return system_error("poll", errno);
    if (fds[0].revents != 0) return collect(pid);
    if (ctx.stopping() || CallContext::Clock::now() >= ctx.deadline) return give_up(ctx, pid);
  }
}

Result<ChildOutput> run_child(const CallContext& ctx, const ChildOptions& options, std::string_view input,
                              std::size_t limit_bytes) {
  ChildOptions with_streams = options;
  KUBERNEL_TRY(const UniqueFd standard_input, memory_file(input));
  std::array<int, 2> out{};
  std::array<int, 2> err{};
  if (pipe2(out.data(), O_CLOEXEC) != 0) return system_error("pipe", errno);
  ChildOutput output;
  Stream streams[2] = {{UniqueFd(out[0]), &output.standard_output}, {{}, &output.standard_error}};
  UniqueFd out_write(out[1]);
  if (pipe2(err.data(), O_CLOEXEC) != 0) return system_error("pipe", errno);
  streams[1].fd.reset(err[0]);
  UniqueFd err_write(err[1]);
  for (Stream& stream : streams) fcntl(stream.fd.get(), F_SETFL, O_NONBLOCK);
  with_streams.stdin_fd = standard_input.get();
  with_streams.stdout_fd = out_write.get();
  with_streams.stderr_fd = err_write.get();
  KUBERNEL_TRY(const pid_t pid, spawn_child(with_streams));
  out_write.reset();
  err_write.reset();

  const UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!process) return give_up(ctx, pid);
  const StopSignal stop(ctx);
  for (;;) {
    std::array<pollfd, 4> fds{{{process.get(), POLLIN, 0},
                               {stop.fd(), POLLIN, 0},
                               {streams[0].fd.get(), POLLIN, 0},
                               {streams[1].fd.get(), POLLIN, 0}}};
    if (poll(fds.data(), fds.size(), remaining_ms(ctx)) < 0 && errno != EINTR) return give_up(ctx, pid);
    for (Stream& stream : streams) drain(stream, limit_bytes);
    if (fds[0].revents != 0) break;
    if (ctx.stopping() || CallContext::Clock::now() >= ctx.deadline) return give_up(ctx, pid);
  }
  output.exit_code = collect(pid);
  for (Stream& stream : streams) drain(stream, limit_bytes);
  return output;
}

}  // namespace kubernel
