// SPDX-License-Identifier: Apache-2.0
//
// PluginText: what a plugin says about itself, read from the file before any code of it can run.

#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>

#include <kubernel/base/result.h>

namespace kubernel::loader {

using PluginText = std::map<std::string, std::string, std::less<>>;

// Splits the NUL-separated key=value lines of a .kubernel.plugin section.
//
// Errors: Invalid when the block does not start with magic=kubernel-plugin, a line has no '=', or a key comes twice.
Result<PluginText> parse_plugin_text(std::string_view block);

// Reads the .kubernel.plugin section of an ELF64 file without loading it. The file is untrusted: whatever its bytes
// are, only headers and the one section are read, up to a limit.
//
// Errors: NotFound when the file cannot be opened; Invalid when it is not a little-endian ELF64 shared object, is
// truncated, or has no such section.
Result<PluginText> read_plugin_text(const std::filesystem::path& file);

// "abi.json: core 3.11.2, plugin 3.10.5; …" for each abi.* key that differs. Empty when the two are compatible.
std::string explain_abi_difference(const PluginText& core, const PluginText& plugin);

// What this build of the core is.
const PluginText& core_text();

}  // namespace kubernel::loader
