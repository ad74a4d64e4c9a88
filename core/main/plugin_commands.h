// SPDX-License-Identifier: Apache-2.0
//
// `kubernel plugin list` and `kubernel plugin inspect`: what a manifest would load, and what a file offers.

#pragma once

#include <filesystem>
#include <vector>

namespace kubernel::core {

// Each returns the exit code: a failure when something that is required, or asked about, does not load here.
int list_plugins(const std::filesystem::path& manifest_file, bool json);
int inspect_plugins(const std::vector<std::filesystem::path>& files, bool load, bool json);
int print_version(bool json);

}  // namespace kubernel::core
