// SPDX-License-Identifier: Apache-2.0
//
// run: the process's life, from a manifest to its exit code.

#pragma once

#include <filesystem>

namespace kubernel::core {

constexpr int kExitOk = 0;
constexpr int kExitFailure = 1;
constexpr int kExitUsage = 2;

// Loads the manifest and its plugins, starts the components, waits for SIGTERM or SIGINT and stops them. Returns
// kExitOk after a clean stop and kExitFailure after one log line that says what went wrong.
int run(const std::filesystem::path& manifest_file);

}  // namespace kubernel::core
