// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include <kubernel/base/result.h>

namespace kubernel::cluster {

// "open /x: No such file or directory", from errno.
Error system_error(std::string_view what, std::string_view path);

// Writes to an existing file of /proc or /sys in one write(2).
Result<void> write_control_file(const std::string& path, std::string_view text);
std::string read_text(const std::string& path);
Result<void> make_directory(const std::string& path);

}  // namespace kubernel::cluster
