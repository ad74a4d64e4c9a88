// SPDX-License-Identifier: Apache-2.0
//
// Child processes and the descriptors they are given: how code that runs other programs does so from a process full of
// threads.
//
// There is no fork: children are made by posix_spawn, run no shell, inherit exactly the descriptors named, and start
// with default signal dispositions and an empty signal mask.

#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <kubernel/base/context.h>
#include <kubernel/base/export.h>
#include <kubernel/base/result.h>

namespace kubernel {

/// Owns a file descriptor; -1 is none.
class KUBERNEL_EXPORT UniqueFd {
 public:
  UniqueFd() noexcept = default;
  explicit UniqueFd(int fd) noexcept : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  ~UniqueFd() { reset(); }

  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  int release() noexcept { return std::exchange(fd_, -1); }
  void reset(int fd = -1) noexcept;

 private:
  int fd_ = -1;
};

struct ChildOptions {
  std::vector<std::string>
      argv;  ///< argv[0] is the program: an absolute path, or a name looked up in this process's PATH.
  std::vector<std::string> env;                       ///< "NAME=value"; the child sees these and no others.
  std::string working_dir;                            ///< Empty: this process's.
  int stdin_fd = -1, stdout_fd = -1, stderr_fd = -1;  ///< -1: /dev/null. They stay the caller's.
  std::vector<std::pair<int, int>> inherit;           ///< {number in the child, our descriptor}; numbers from 3 up.
};

struct ChildOutput {
  int exit_code = 0;  ///< 128 + signal when killed.
  std::string standard_output, standard_error;
};

/// Starts a program. The caller must wait for it (wait_child), or it stays a zombie.
///
/// Threads: any.
/// Errors: NotFound when the program does not exist; Internal otherwise. Both name the program.
[[nodiscard]] KUBERNEL_EXPORT Result<pid_t> spawn_child(const ChildOptions& options);

/// Waits until child `pid` has ended and gives its exit code (128 + signal when killed). When ctx stops or its deadline
/// passes, the child is killed and collected first.
///
/// Errors: Timeout, Cancelled.
[[nodiscard]] KUBERNEL_EXPORT Result<int> wait_child(const CallContext& ctx, pid_t pid);

/// Runs a program to its end with `input` as its standard input, and collects what it writes: at most `limit_bytes` of
/// each stream, the rest is read and dropped. Ends with the program, also when a process it left behind holds its
/// output open.
///
/// Threads: any. Blocks.
/// Errors: as spawn_child and wait_child. A program that fails is no error: look at exit_code.
[[nodiscard]] KUBERNEL_EXPORT Result<ChildOutput> run_child(const CallContext& ctx, const ChildOptions& options,
                                                            std::string_view input = {},
                                                            std::size_t limit_bytes = 1024 * 1024);

}  // namespace kubernel
