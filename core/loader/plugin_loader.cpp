// SPDX-License-Identifier: Apache-2.0
#include "core/loader/plugin_loader.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <sstream>
#include <utility>

#include <dlfcn.h>

#include <kubernel/plugin/plugin.h>

namespace kubernel::loader {
namespace {

using RegisterFunction = void(plugin::Registrar&, Result<void>&);

class StagingRegistrar final : public plugin::Registrar {
 public:
  void store(std::string_view point, std::string_view name, const std::type_info& type,
             std::shared_ptr<const void> spec) override {
    staged.push_back({std::string(point), std::string(name), &type, std::move(spec)});
  }

  std::vector<Provided> staged;
};

std::string id_of(const Provided& provided) {
  return provided.point + "/" + provided.name;
}

std::string value_in(const PluginText& text, std::string_view key) {
  const auto found = text.find(key);
  return found == text.end() ? "" : found->second;
}

std::string join(const std::multiset<std::string>& words) {
  std::string out;
  for (const auto& word : words) out += (out.empty() ? "" : " ") + word;
  return out.empty() ? "nothing" : out;
}

Result<PluginText> verify(const std::filesystem::path& file, std::string_view expected_name) {
  KUBERNEL_TRY(PluginText text, read_plugin_text(file));
  if (const std::string why = explain_abi_difference(core_text(), text); !why.empty()) {
    return Error(Reason::Invalid, "built for another SDK (" + why + ")");
  }
  if (const std::string name = value_in(text, "name"); name != expected_name) {
    return Error(Reason::Invalid, "is named \"" + name + "\" in its text, not \"" + std::string(expected_name) + "\"");
  }
  for (const char* key : {"version", "summary"}) {
    if (!text.contains(key)) return Error(Reason::Invalid, "its text has no " + std::string(key));
  }
  for (const std::string& word : declared(text)) {
    const auto slash = word.find('/');
    if (slash == 0 || slash == std::string::npos || slash + 1 == word.size()) {
      return Error(Reason::Invalid, "declares \"" + word + "\", which is not point/name");
    }
  }
  return text;
}

Result<RegisterFunction*> open_library(const std::filesystem::path& file) {
  // Absolute: a name without a slash would be searched in the system's directories.
  void* const library = dlopen(std::filesystem::absolute(file).c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr) {
    const char* const why = dlerror();
    return Error(Reason::Invalid, std::string("cannot be loaded: ") + (why == nullptr ? "unknown reason" : why));
  }
  void* const symbol = dlsym(library, "kubernel_plugin_register");
  if (symbol == nullptr) return Error(Reason::Invalid, "does not export kubernel_plugin_register");
  return reinterpret_cast<RegisterFunction*>(symbol);
}

Result<void> check_provided(const PluginText& text, const std::vector<Provided>& staged, const Taken& taken) {
  const std::vector<std::string> words = declared(text);
  const std::multiset<std::string> promised(words.begin(), words.end());
  std::multiset<std::string> given;
  std::transform(staged.begin(), staged.end(), std::inserter(given, given.end()), id_of);
  if (promised != given) {
    return Error(Reason::Invalid, "declares " + join(promised) + " but registered " + join(given));
  }
  for (const std::string& id : given) {
    if (given.count(id) > 1) return Error(Reason::Invalid, "provides " + id + " twice");
    if (const auto owner = taken.find(id); owner != taken.end()) {
      return Error(Reason::AlreadyExists, id + " is already provided by plugin " + owner->second);
    }
  }
  return {};
}

Result<std::vector<Provided>> load(const std::filesystem::path& file, const PluginText& text, Taken& taken) {
  KUBERNEL_TRY(RegisterFunction* const register_plugin, open_library(file));
  StagingRegistrar staging;
  Result<void> registered;
  register_plugin(staging, registered);
  KUBERNEL_CHECK_OK(std::move(registered));
  KUBERNEL_CHECK_OK(check_provided(text, staging.staged, taken));
  for (const Provided& provided : staging.staged) taken.emplace(id_of(provided), value_in(text, "name"));
  return std::move(staging.staged);
}

}  // namespace

std::vector<std::string> declared(const PluginText& text) {
  std::istringstream in(value_in(text, "provides"));
  return {std::istream_iterator<std::string>(in), {}};
}

Result<PluginText> verify_plugin(const std::filesystem::path& file, std::string_view expected_name) {
  auto text = verify(file, expected_name);
  if (!text) return std::move(text).error().wrap(file.string());
  return text;
}

Result<std::vector<Provided>> load_plugin(const std::filesystem::path& file, const PluginText& text, Taken& taken) {
  auto provided = load(file, text, taken);
  if (!provided) return std::move(provided).error().wrap(file.string());
  return provided;
}

}  // namespace kubernel::loader
