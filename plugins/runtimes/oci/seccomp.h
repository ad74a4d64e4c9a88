// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include <kubernel/base/result.h>
#include <kubernel/runtime/container_runtime.h>

#include "spec.h"

namespace kubernel::runtime::oci {

/// linux.seccomp of the OCI specification from a profile in the format Docker, containerd and Podman share: entries
/// that ask for capabilities or architectures are kept or dropped by what this container has.
///
/// Errors: Invalid when there is no profile at `path` or it is none.
Result<std::string> load_seccomp(const std::string& path, const Machine& machine, const SecurityOptions& security);
Result<std::string> convert_seccomp(std::string_view profile, const std::vector<std::string>& capabilities,
                                    std::string_view architecture);

}  // namespace kubernel::runtime::oci
