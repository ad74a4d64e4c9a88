// SPDX-License-Identifier: Apache-2.0
//
// Who a container's process runs as, by the image's own /etc/passwd and /etc/group.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <kubernel/base/result.h>
#include <kubernel/runtime/container_runtime.h>

namespace kubernel::runtime::oci {

struct ProcessUser {
  std::uint32_t uid = 0, gid = 0;
  std::vector<std::uint32_t> groups;  ///< Sorted, without doubles.
};

/// `image_user`: the image's "user", "uid", "user:group", …; used when `security` names nobody. Reads the files under
/// `rootfs` without leaving it. A number needs no entry; a name does.
///
/// Errors: Invalid "unable to find user x: no matching entries in passwd file".
Result<ProcessUser> resolve_user(const std::string& rootfs, const std::string& image_user,
                                 const SecurityOptions& security);

}  // namespace kubernel::runtime::oci
