// SPDX-License-Identifier: Apache-2.0
//
// Streams and figures: exec, attach, resources, logs.
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <stop_token>

#include "runtime_state.h"

namespace kubernel::runtime::oci {
namespace {

constexpr std::size_t kMaxSyncOutput = 16 * 1024;
constexpr std::size_t kPacket = 32 * 1024 + 1;

void kill_process(const UniqueFd& process) {
  if (process) syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0);
}

int milliseconds_until(CallContext::Clock::time_point deadline) {
  if (deadline == CallContext::Clock::time_point::max()) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - CallContext::Clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 3'600'000));
}

// False at the end of the stream.
bool read_packet(int socket, std::string& output) {
  std::array<char, kPacket> packet{};
  const ssize_t got = recv(socket, packet.data(), packet.size(), MSG_DONTWAIT);
  if (got < 0) return errno == EINTR || errno == EAGAIN;
  if (got == 0) return false;
  const std::size_t room = kMaxSyncOutput - std::min(kMaxSyncOutput, output.size());
  output.append(packet.data() + 1, std::min(room, static_cast<std::size_t>(got) - 1));
  return true;
}

}  // namespace

struct OciRuntime::PreparedExec {
  std::string directory;
  StartedExec started;
};

Result<OciRuntime::PreparedExec> OciRuntime::start_exec(const CallContext& ctx, std::string_view id,
                                                        const ExecOptions& options) {
  KUBERNEL_TRY(const ContainerPtr container, get_container(id));
  const ContainerRecord record = container->snapshot();
  if (record.state != State::Running) return Error(Reason::Invalid, "container \"" + record.id + "\" is not running");
  if (options.command.empty()) return Error(Reason::Invalid, "no command specified");
  KUBERNEL_TRY(const std::string spec, read_file(container_dir(record.id) + "/config.json"));
  KUBERNEL_TRY(const std::string process, make_exec_process(spec, options));
  PreparedExec out;
  out.directory = options_.state_dir + "/exec/" + new_id().substr(0, 16);
  KUBERNEL_CHECK_OK(make_directories(out.directory, 0700));
  auto started = monitor_.exec(ctx, record.id, out.directory, process, options.tty, options.stdin_open);
  if (!started) {
    if (const auto removed = remove_tree(out.directory); !removed) {
      log_warning(surroundings_.log, "cannot remove the directory of an exec", {{"error", removed.error()}});
    }
    return std::move(started).error();
  }
  out.started = *std::move(started);
  return out;
}

void OciRuntime::discard_exec(const PreparedExec& exec) {
  wait_for_monitor(exec.started.sync.get());
  if (const auto removed = remove_tree(exec.directory); !removed) {
    log_warning(surroundings_.log, "cannot remove the directory of an exec", {{"error", removed.error()}});
  }
}

// The relay, the exit code that conmon sends on the sync pipe, and the directory to remove.
class OciRuntime::ExecSession final : public Session {
 public:
  static Result<std::unique_ptr<Session>> open(OciRuntime& runtime, PreparedExec exec, const ExecOptions& options) {
    std::unique_ptr<ExecSession> session(new ExecSession(runtime, std::move(exec)));
    KUBERNEL_TRY(session->relay_, Relay::start(runtime.surroundings_.poller,
                                               {std::move(session->exec_.started.output), options.stdin_open,
                                                options.tty, session->exec_.directory}));
    KUBERNEL_TRY(session->watch_, runtime.surroundings_.poller.when_readable(
                                      session->exec_.started.sync.get(),
                                      [state = session->state_, relay = std::weak_ptr(session->relay_),
                                       sync = session->exec_.started.sync.get()] {
                                        // Once: the pipe stays readable at its end.
                                        if (state->exchange(true)) return;
                                        CallContext at_once;
                                        at_once.deadline = CallContext::Clock::now();
                                        const auto message = read_message(at_once, sync);
                                        if (const auto self = relay.lock())
                                          self->set_exit_code(message ? std::max(0, message->data) : kLost);
                                      }));
    return std::unique_ptr<Session>(std::move(session));
  }
  ~ExecSession() override {
    watch_.reset();
    if (relay_) relay_->close();
    kill_process(exec_.started.process);
    // Its monitor needs a moment, for which this thread does not wait.
    const auto exec = std::make_shared<PreparedExec>(std::move(exec_));
    runtime_.run_later([runtime = &runtime_, exec] { runtime->discard_exec(*exec); });
  }
  int stdin_fd() const override { return relay_->stdin_fd(); }
  int stdout_fd() const override { return relay_->stdout_fd(); }
  int stderr_fd() const override { return relay_->stderr_fd(); }
  void close_stdin() override { relay_->close_stdin(); }
  Result<void> resize(int columns, int rows) override { return relay_->resize(columns, rows); }
  void on_exit(std::function<void(int)> exited) override { relay_->on_exit(std::move(exited)); }

 private:
  static constexpr int kLost = 255;  // conmon was killed.
  ExecSession(OciRuntime& runtime, PreparedExec exec) : runtime_(runtime), exec_(std::move(exec)) {}

  OciRuntime& runtime_;
  PreparedExec exec_;
  std::shared_ptr<Relay> relay_;
  std::shared_ptr<std::atomic<bool>> state_ = std::make_shared<std::atomic<bool>>(false);
  std::unique_ptr<Subscription> watch_;
};

class OciRuntime::AttachSession final : public Session {
 public:
  explicit AttachSession(std::shared_ptr<Relay> relay) : relay_(std::move(relay)) {}
  ~AttachSession() override { relay_->close(); }
  int stdin_fd() const override { return relay_->stdin_fd(); }
  int stdout_fd() const override { return relay_->stdout_fd(); }
  int stderr_fd() const override { return relay_->stderr_fd(); }
  void close_stdin() override { relay_->close_stdin(); }
  Result<void> resize(int columns, int rows) override { return relay_->resize(columns, rows); }
  void on_exit(std::function<void(int)> exited) override { relay_->on_exit(std::move(exited)); }

 private:
  std::shared_ptr<Relay> relay_;
};

Result<std::unique_ptr<Session>> OciRuntime::exec(const CallContext& ctx, std::string_view id,
                                                  const ExecOptions& options) {
  KUBERNEL_TRY(PreparedExec exec, start_exec(ctx, id, options));
  return ExecSession::open(*this, std::move(exec), options);
}

Result<ExecResult> OciRuntime::exec_sync(const CallContext& ctx, std::string_view id,
                                         const std::vector<std::string>& command) {
  ExecOptions options;
  options.command = command;
  KUBERNEL_TRY(const PreparedExec exec, start_exec(ctx, id, options));
  const UniqueFd stop(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  const std::stop_callback<std::function<void()>> on_stop(ctx.stop, [raw = stop.get()] { eventfd_write(raw, 1); });
  ExecResult out;
  bool open = true;
  Result<void> result;
  while (open) {
    std::array<pollfd, 2> fds{{{exec.started.output.get(), POLLIN, 0}, {stop.get(), POLLIN, 0}}};
    poll(fds.data(), fds.size(), milliseconds_until(ctx.deadline));
    if (fds[0].revents != 0) open = read_packet(exec.started.output.get(), out.output);
    if (!open) break;
    if (ctx.stopping())
      result = Error(Reason::Cancelled, "stopped while a command ran in a container");
    else if (CallContext::Clock::now() >= ctx.deadline)
      result = Error(Reason::Timeout, "command \"" + command.front() + "\" timed out");
    if (!result) break;
  }
  if (result) {
    // conmon closes the socket first, then says the code.
    const auto message = read_message(ctx, exec.started.sync.get());
    if (message)
      out.exit_code = std::max(0, message->data);
    else
      result = message.error();
  }
  if (!result) kill_process(exec.started.process);
  discard_exec(exec);
  if (!result) return std::move(result).error();
  return out;
}

Result<std::unique_ptr<Session>> OciRuntime::attach(const CallContext&, std::string_view id) {
  KUBERNEL_TRY(const ContainerPtr container, get_container(id));
  const std::string directory = container_dir(std::string(id));
  const ContainerRecord record = container->snapshot();
  if (record.state != State::Running) return Error(Reason::Invalid, "container \"" + record.id + "\" is not running");
  RelayOptions options;
  KUBERNEL_TRY(options.socket, connect_attach(directory));
  options.stdin_open = record.stdin_open;
  options.tty = record.tty;
  options.directory = directory;
  KUBERNEL_TRY(const std::shared_ptr<Relay> relay, Relay::start(surroundings_.poller, std::move(options)));
  std::optional<int> ended;
  {
    const std::lock_guard lock(container->mutex);
    if (container->record.state == State::Exited) ended = container->record.exit_code;
    std::erase_if(container->attached, [](const auto& other) { return other.expired(); });
    container->attached.push_back(relay);
  }
  if (ended) relay->set_exit_code(*ended);
  return std::unique_ptr<Session>(std::make_unique<AttachSession>(relay));
}

Result<void> OciRuntime::update_resources(const CallContext& ctx, std::string_view id, const Resources& resources) {
  KUBERNEL_TRY(const ContainerPtr container, get_container(id));
  const ContainerRecord record = container->snapshot();
  if (record.state != State::Running) return Error(Reason::Invalid, "container \"" + record.id + "\" is not running");
  const std::string path = container_dir(record.id) + "/resources.json";
  KUBERNEL_CHECK_OK(write_file_atomic(path, make_resources(resources, machine_)));
  return monitor_.runtime(ctx, {"update", "--resources", path, record.id});
}

Result<void> OciRuntime::reopen_log(const CallContext&, std::string_view id) {
  KUBERNEL_TRY(const ContainerPtr container, get_container(id));
  const ContainerRecord record = container->snapshot();
  if (record.state != State::Running) return Error(Reason::Invalid, "container \"" + record.id + "\" is not running");
  return control(container_dir(record.id), "2 0 0");
}

Result<Usage> OciRuntime::usage(const CallContext&, std::string_view id) {
  KUBERNEL_TRY(const ContainerPtr container, get_container(id));
  const ContainerRecord record = container->snapshot();
  if (record.state != State::Running) return Error(Reason::NotFound, "container \"" + record.id + "\" is not running");
  return cgroups_.usage(record.cgroup_path);
}

}  // namespace kubernel::runtime::oci
