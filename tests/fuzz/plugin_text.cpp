// SPDX-License-Identifier: Apache-2.0
//
// The text of a plugin's file, which nobody has verified yet.

#include <sys/mman.h>
#include <unistd.h>

#include <kubernel/base/child_process.h>

#include "core/loader/plugin_text.h"
#include "target.h"

KUBERNEL_FUZZ(input) {
  static_cast<void>(kubernel::loader::parse_plugin_text(input));
  const kubernel::UniqueFd file(memfd_create("plugin", MFD_CLOEXEC));
  kubernel::fuzz::must(write(file.get(), input.data(), input.size()) == static_cast<ssize_t>(input.size()),
                       "memory holds it");
  static_cast<void>(kubernel::loader::read_plugin_text("/proc/self/fd/" + std::to_string(file.get())));
}
