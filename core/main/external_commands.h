// SPDX-License-Identifier: Apache-2.0
//
// External commands: a verb the core does not know is the program kubernel-VERB.

#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace kubernel::core {

// Directories that may hold kubernel-VERB: those of $KUBERNEL_LIBEXEC (colons between), the one the running executable
// is in, and the installed one.
std::vector<std::filesystem::path> command_directories();

// The verbs found there, sorted, each once.
std::vector<std::string> external_verbs(const std::vector<std::filesystem::path>& directories);

// The program for a verb: the first one that is executable. Nothing for what cannot be a verb ("../x").
std::optional<std::filesystem::path> find_external(const std::vector<std::filesystem::path>& directories,
                                                   const std::string& verb);

// Becomes `program` with `arguments` after its name. Returns only when that failed: an exit code, after one line.
int become(const std::filesystem::path& program, const std::vector<std::string>& arguments);

}  // namespace kubernel::core
