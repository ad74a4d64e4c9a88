// SPDX-License-Identifier: Apache-2.0
//
// A kubeconfig, as a file.

#include <sys/mman.h>
#include <unistd.h>

#include <kubernel/base/child_process.h>

#include "kubeconfig.h"
#include "target.h"

KUBERNEL_FUZZ(input) {
  const kubernel::UniqueFd file(memfd_create("kubeconfig", MFD_CLOEXEC));
  kubernel::fuzz::must(write(file.get(), input.data(), input.size()) == static_cast<ssize_t>(input.size()),
                       "memory holds it");
  static_cast<void>(kubernel::plugins::api_client::read_kubeconfig("/proc/self/fd/" + std::to_string(file.get()), ""));
}
