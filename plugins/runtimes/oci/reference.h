// SPDX-License-Identifier: Apache-2.0
//
// Reference: the name of an image, in the one spelling that names are compared and stored in.
#pragma once

#include <string>
#include <string_view>

#include <kubernel/base/result.h>

namespace kubernel::runtime::oci {

struct Reference {
  std::string registry;    ///< "docker.io", "localhost", "host:5000".
  std::string repository;  ///< "library/busybox".
  std::string tag;         ///< "latest"; empty when there is a digest.
  std::string digest;      ///< "sha256:…" or empty.

  /// "docker.io/library/busybox".
  std::string name() const { return registry + "/" + repository; }
  /// "docker.io/library/busybox:latest" or "…@sha256:…".
  std::string text() const { return digest.empty() ? name() + ":" + tag : name() + "@" + digest; }
};

/// Reads a reference as users write it: "busybox" is docker.io/library/busybox:latest. A first part is a registry when
/// it has a dot or a colon or is "localhost". Of "name:tag@digest" the digest counts.
///
/// Errors: Invalid, naming the reference.
Result<Reference> parse_reference(std::string_view text);

}  // namespace kubernel::runtime::oci
