// SPDX-License-Identifier: Apache-2.0
//
// From volumeMounts to mounts. A subPath is resolved component by component, and one that leads out of its volume is
// refused.
#include <sys/stat.h>

#include <filesystem>
#include <system_error>

#include "volumes/pod_volumes.h"

namespace kubernel::kubelet {

namespace {

namespace fs = std::filesystem;

bool is_inside(const fs::path& base, const fs::path& path) {
  const auto relative = path.lexically_relative(base);
  return !relative.empty() && *relative.begin() != "..";
}

// The real path of `sub` below `volume`; missing directories are made.
Result<std::string> resolve_sub_path(const std::string& volume, const std::string& sub) {
  if (!is_safe_relative(sub)) return Error(Reason::Invalid, "subPath must not contain '..' or be absolute: " + sub);
  std::error_code error;
  const fs::path base = fs::canonical(volume, error);
  if (error) return Error(Reason::Internal, volume + ": " + error.message());
  fs::path at = base;
  for (const auto& part : fs::path(sub)) {
    if (part.empty() || part == ".") continue;
    fs::path next = at / part;
    if (!fs::exists(fs::symlink_status(next, error))) {
      fs::create_directory(next, error);
      if (error)
        return Error(Reason::Internal,
                     "failed to create subPath directory for volumeMount: " + next.string() + ": " + error.message());
      ::chmod(next.c_str(), 0750);
    }
    // Links inside the volume are fine (a configMap is made of them); one that leads out is not.
    at = fs::canonical(next, error);
    if (error) return Error(Reason::Internal, next.string() + ": " + error.message());
    if (at != base && !is_inside(base, at)) {
      return Error(Reason::Invalid, "subPath \"" + sub + "\" leads outside of its volume");
    }
  }
  return at.string();
}

runtime::Mount::Propagation propagation_of(api::Value mount) {
  const std::string_view text = mount["mountPropagation"].string();
  if (text == "Bidirectional") return runtime::Mount::Propagation::Bidirectional;
  if (text == "HostToContainer") return runtime::Mount::Propagation::HostToContainer;
  return runtime::Mount::Propagation::Private;
}

}  // namespace

Result<std::vector<runtime::Mount>> volume_mounts(
    api::Value container, const api::Object& pod, const VolumePaths& paths,
    const std::function<std::string(std::string_view)>& expand_variables) {
  std::vector<runtime::Mount> out;
  for (const api::Value mount : container["volumeMounts"]) {
    const std::string name(mount["name"].string());
    const auto at = paths.find(name);
    if (at == paths.end()) {
      return Error(Reason::Invalid, "cannot find volume \"" + name + "\" to mount into container \"" +
                                        std::string(container["name"].string()) + "\" of pod " + pod.name());
    }
    std::string host_path = at->second;
    std::string sub(mount["subPath"].string());
    if (const auto expression = mount["subPathExpr"].string(); !expression.empty()) sub = expand_variables(expression);
    if (!sub.empty()) {
      KUBERNEL_TRY(host_path, resolve_sub_path(at->second, sub));
    }
    std::string path(mount["mountPath"].string());
    if (!path.starts_with('/')) path.insert(0, "/");
    bool readonly = mount["readOnly"].boolean();
    for (const api::Value volume : pod["spec"]["volumes"]) {
      if (volume["name"].string() != name) continue;
      // Files the kubelet writes are nobody else's to write.
      for (const char* kind : {"configMap", "secret", "downwardAPI", "projected"}) readonly = readonly || volume[kind];
    }
    out.push_back({path, host_path, readonly, propagation_of(mount)});
  }
  return out;
}

}  // namespace kubernel::kubelet
