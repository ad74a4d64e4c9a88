// SPDX-License-Identifier: Apache-2.0
//
// Monitor: conmon, the small process beside each container that holds its streams, writes its log and keeps its exit
// code. It belongs to the container, not to us: when this process ends, conmon and the container live on, and the next
// process finds both.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <kubernel/base/child_process.h>
#include <kubernel/base/context.h>
#include <kubernel/base/result.h>

namespace kubernel::runtime::oci {

/// A process, told apart from a later one with the same number.
struct ProcessId {
  pid_t pid = 0;
  std::uint64_t start_time = 0;  ///< Field 22 of /proc/<pid>/stat.
};

/// Absent when there is no such process (or only its zombie).
std::optional<ProcessId> identify(pid_t pid);

/// A descriptor that becomes readable when the process ends; none when it has ended already.
UniqueFd open_process(const ProcessId& process);

/// Waits until `process` (a pidfd) ends. False at `until` or when ctx stops, whichever is first.
bool wait_for_end(const CallContext& ctx, int process, CallContext::Clock::time_point until);

struct MonitorOptions {
  std::string conmon, runtime, runtime_root;  ///< Absolute paths.
  std::string exit_dir;                       ///< Exit codes, a file per container.
};

struct CreateOptions {
  std::string id, bundle, log_path;
  bool terminal = false, stdin_open = false, leave_stdin_open = false;
};

struct Created {
  ProcessId monitor;
  pid_t container_pid = 0;
};

/// An exec with conmon waiting beside it. `output` is a SOCK_SEQPACKET: each packet's first byte says the stream (2:
/// stdout, 3: stderr).
struct StartedExec {
  UniqueFd output, sync;
  UniqueFd process;  ///< The command's pidfd; none when it has ended already.
};

/// What conmon says on its sync pipe.
struct MonitorMessage {
  int data = 0;
  std::string message;
};

/// Threads: any. Blocks.
class Monitor {
 public:
  explicit Monitor(MonitorOptions options) : options_(std::move(options)) {}

  /// Creates the container of `bundle`, not yet running its command.
  /// Errors: Internal with the OCI runtime's own message; Timeout, Cancelled.
  Result<Created> create(const CallContext& ctx, const CreateOptions& options) const;

  /// Runs `process_spec` in container `id`. `directory` is its own, and removed by the caller afterwards.
  Result<StartedExec> exec(const CallContext& ctx, const std::string& id, const std::string& directory,
                           const std::string& process_spec, bool terminal, bool stdin_open) const;

  /// Runs the OCI runtime itself: start, delete, update.
  Result<void> runtime(const CallContext& ctx, const std::vector<std::string>& arguments) const;

  std::string exit_file(const std::string& id) const { return options_.exit_dir + "/" + id; }
  const MonitorOptions& options() const { return options_; }

 private:
  Result<void> launch(const CallContext& ctx, const std::vector<std::string>& arguments, const std::string& directory,
                      std::vector<std::pair<int, int>> inherit, const UniqueFd& start) const;
  std::vector<std::string> common_arguments(const std::string& id, const std::string& directory) const;

  MonitorOptions options_;
};

/// Reads one message. Errors: Timeout, Cancelled, Internal when conmon died without one.
Result<MonitorMessage> read_message(const CallContext& ctx, int fd);
Result<MonitorMessage> parse_message(std::string_view line);

/// Waits until the monitor of an exec has ended: until then it uses the exec's directory. At most a few seconds.
void wait_for_monitor(int sync);

/// Connects to "attach" in a bundle.
Result<UniqueFd> connect_attach(const std::string& directory);

/// Writes a line to a bundle's control pipe: "1 <rows> <columns>" resizes, "2 0 0" reopens the log.
Result<void> control(const std::string& directory, const std::string& line);

/// The readable part of what runc or crun print: `time="…" level=error msg="…"` becomes the msg; the last line counts.
std::string runtime_message(std::string_view text);

}  // namespace kubernel::runtime::oci
