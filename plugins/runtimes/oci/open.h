// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <kubernel/runtime/container_runtime.h>

namespace kubernel::runtime::oci {

/// RuntimeSpec::open: finds the programs, opens the store, takes over what runs.
/// Errors: NotFound for a program that is not installed; Invalid for a configuration that cannot work; Forbidden
/// without root.
Result<OpenedRuntime> open_runtime(const RuntimeContext& context);

}  // namespace kubernel::runtime::oci
