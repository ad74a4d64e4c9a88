// SPDX-License-Identifier: Apache-2.0
//
// A container's log file, and the query that asks for it.

#include <sys/mman.h>
#include <unistd.h>

#include <kubernel/base/child_process.h>

#include "server/container_log.h"
#include "target.h"

using kubernel::fuzz::must;
namespace kubelet = kubernel::kubelet;

KUBERNEL_FUZZ(input) {
  static_cast<void>(kubelet::parse_log_line(input));
  const kubernel::UniqueFd file(memfd_create("log", MFD_CLOEXEC));
  must(write(file.get(), input.data(), input.size()) == static_cast<ssize_t>(input.size()), "memory holds it");
  for (const auto& tail :
       {std::optional<std::int64_t>(), std::optional<std::int64_t>(0), std::optional<std::int64_t>(2)}) {
    kubelet::LogOptions options;
    options.tail_lines = tail;
    options.limit_bytes = 1000;
    auto log = kubelet::ContainerLog::open("/proc/self/fd/" + std::to_string(file.get()), options);
    must(log.has_value(), "the log opens");
    std::size_t size = 0;
    for (int reads = 0; reads < 1000; ++reads) {
      const auto piece = (*log)->read();
      if (!piece || piece->empty()) break;
      size += piece->size();
    }
    must(size <= 1000, "a limit is kept");
  }
}
