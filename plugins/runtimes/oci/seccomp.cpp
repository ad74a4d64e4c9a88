// SPDX-License-Identifier: Apache-2.0
#include "seccomp.h"

#include <sys/utsname.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include <nlohmann/json.hpp>

#include "files.h"
#include "manifest.h"

namespace kubernel::runtime::oci {
namespace {

using nlohmann::json;

std::pair<int, int> version_of(const std::string& text) {
  std::pair<int, int> out{0, 0};
  std::sscanf(text.c_str(), "%d.%d", &out.first, &out.second);
  return out;
}

std::string kernel_release() {
  utsname name{};
  uname(&name);
  return name.release;
}

bool any_in(const json& condition, const char* key, const auto& holds) {
  const auto list = condition.find(key);
  return list != condition.end() && list->is_array() &&
         std::ranges::any_of(*list, [&](const json& item) { return holds(item.get<std::string>()); });
}

bool asked(const json& condition, const char* key) {
  const auto list = condition.find(key);
  return list != condition.end() && list->is_array() && !list->empty();
}

bool applies(const json& entry, const std::vector<std::string>& capabilities, std::string_view architecture) {
  const auto has = [&](const std::string& name) { return std::ranges::count(capabilities, name) > 0; };
  const auto same = [&](const std::string& name) { return name == architecture; };
  if (const auto excludes = entry.find("excludes"); excludes != entry.end() && excludes->is_object()) {
    if (any_in(*excludes, "caps", has) || any_in(*excludes, "arches", same)) return false;
  }
  const auto includes = entry.find("includes");
  if (includes == entry.end() || !includes->is_object()) return true;
  if (asked(*includes, "arches") && !any_in(*includes, "arches", same)) return false;
  // All of the capabilities named, as upstream: one that is missing drops the entry.
  if (asked(*includes, "caps") && any_in(*includes, "caps", [&](const std::string& name) { return !has(name); }))
    return false;
  const std::string kernel = includes->value("minKernel", "");
  return kernel.empty() || version_of(kernel_release()) >= version_of(kernel);
}

json architectures_of(const json& profile, std::string_view architecture) {
  static constexpr std::pair<std::string_view, std::string_view> kNames[] = {{"amd64", "SCMP_ARCH_X86_64"},
                                                                             {"arm64", "SCMP_ARCH_AARCH64"},
                                                                             {"arm", "SCMP_ARCH_ARM"},
                                                                             {"386", "SCMP_ARCH_X86"}};
  json out = json::array();
  const auto* const ours =
      std::ranges::find(kNames, architecture, &std::pair<std::string_view, std::string_view>::first);
  if (ours == std::end(kNames)) return out;
  const auto map = profile.find("archMap");
  if (map == profile.end()) return profile.value("architectures", out);
  for (const json& entry : *map) {
    if (entry.at("architecture").get<std::string>() != ours->second) continue;
    out.push_back(entry.at("architecture"));
    for (const json& sub : entry.at("subArchitectures")) out.push_back(sub);
  }
  return out;
}

json convert(const json& profile, const std::vector<std::string>& capabilities, std::string_view architecture) {
  json out = json::object();
  out["defaultAction"] = profile.at("defaultAction");
  if (profile.contains("defaultErrnoRet")) out["defaultErrnoRet"] = profile["defaultErrnoRet"];
  out["architectures"] = architectures_of(profile, architecture);
  out["syscalls"] = json::array();
  for (const json& entry : profile.at("syscalls")) {
    if (!applies(entry, capabilities, architecture)) continue;
    json rule = json::object();
    rule["action"] = entry.at("action");
    rule["names"] = entry.contains("names") ? entry["names"] : json::array();
    if (entry.contains("name")) rule["names"].push_back(entry["name"]);
    if (entry.contains("args") && !entry["args"].empty()) rule["args"] = entry["args"];
    if (entry.contains("errnoRet") && !entry["errnoRet"].is_null()) rule["errnoRet"] = entry["errnoRet"];
    out["syscalls"].push_back(std::move(rule));
  }
  return out;
}

}  // namespace

Result<std::string> convert_seccomp(std::string_view text, const std::vector<std::string>& capabilities,
                                    std::string_view architecture) {
  return catch_as_error("seccomp profile", [&]() -> Result<std::string> {
    return convert(json::parse(text), capabilities, architecture).dump();
  });
}

Result<std::string> load_seccomp(const std::string& path, const Machine& machine, const SecurityOptions& security) {
  if (path.empty()) {
    return Error(Reason::Invalid,
                 "the container asks for the runtime's default seccomp profile, but the node has none: set "
                 "seccompProfile of plugin oci");
  }
  KUBERNEL_TRY(const std::string text, read_file(path));
  KUBERNEL_TRY(const std::vector<std::string> capabilities, container_capabilities(security, machine));
  return convert_seccomp(text, capabilities, machine_architecture());
}

}  // namespace kubernel::runtime::oci
