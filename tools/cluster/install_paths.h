// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include <kubernel/base/result.h>

namespace kubernel::cluster {

// Where this program finds the others: installed, or in a build tree.
struct InstallPaths {
  std::string self;      // This program.
  std::string kubernel;  // $KUBERNEL_PROGRAM, or the installed one.
  std::string config;    // Directory of the shipped manifests: $KUBERNEL_CONFIG_DIR, or the installed one.
};

// Errors: NotFound, naming the file that is missing.
Result<InstallPaths> find_install_paths();

}  // namespace kubernel::cluster
