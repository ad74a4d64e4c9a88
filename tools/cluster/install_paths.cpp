// SPDX-License-Identifier: Apache-2.0
#include "install_paths.h"

#include <cstdlib>
#include <filesystem>

namespace kubernel::cluster {
namespace {

std::string from_environment(const char* name, const char* installed) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : installed;
}

}  // namespace

Result<InstallPaths> find_install_paths() {
  InstallPaths out;
  out.self = std::filesystem::read_symlink("/proc/self/exe");
  out.kubernel = from_environment("KUBERNEL_PROGRAM", KUBERNEL_BIN_DIR "/kubernel");
  out.config = from_environment("KUBERNEL_CONFIG_DIR", KUBERNEL_SHIPPED_CONFIG_DIR);
  for (const std::string& file : {out.kubernel, out.config + "/all-in-one.yaml"}) {
    if (!std::filesystem::exists(file))
      return Error(Reason::NotFound, file + " is missing; is the installation complete?");
  }
  return out;
}

}  // namespace kubernel::cluster
