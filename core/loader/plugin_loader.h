// SPDX-License-Identifier: Apache-2.0
//
// The loader: from a file to what it provides. This folder is the only user of dlopen.
//
//   found → verified (text, ABI, name) → loaded (dlopen) → registered

#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <typeinfo>
#include <vector>

#include <kubernel/base/result.h>

#include "core/loader/plugin_text.h"

namespace kubernel::loader {

// The words of the text's `provides` line, in order: "storage/memory".
std::vector<std::string> declared(const PluginText& text);

// Reads the text of `file` and checks that it is a plugin built for this core and named `expected_name`. Nothing of it
// runs.
//
// Errors: NotFound, Invalid; the message begins with the file.
Result<PluginText> verify_plugin(const std::filesystem::path& file, std::string_view expected_name);

struct Provided {
  std::string point;
  std::string name;
  const std::type_info* type = nullptr;
  std::shared_ptr<const void> spec;
};

// Which plugin provides a "point/name".
using Taken = std::map<std::string, std::string, std::less<>>;

// Loads the verified plugin in `file` and returns what it provides. What it provides is added to `taken`. The plugin is
// never unloaded: objects, vtables and type information of it may outlive every handle.
//
// Errors: Invalid when it cannot be linked, does not register, or registers something else than it declares;
// AlreadyExists when `taken` has a name it provides. `taken` is unchanged on error. The message begins with the file.
Result<std::vector<Provided>> load_plugin(const std::filesystem::path& file, const PluginText& text, Taken& taken);

}  // namespace kubernel::loader
