// SPDX-License-Identifier: Apache-2.0
//
// Layers: one tar of changes, unpacked to a directory that overlayfs can stack.
//
// A tar comes from strangers. Nothing in it decides where a byte is written: every path is walked component by
// component from the layer's own root, symbolic links are resolved inside the image (this layer, then the ones below),
// and no call of ours follows one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <kubernel/base/context.h>
#include <kubernel/base/result.h>

namespace kubernel::runtime::oci {

struct UnpackLimits {
  std::int64_t max_bytes = 16LL * 1024 * 1024 * 1024;  ///< Content of all files of one layer.
  std::int64_t max_entries = 2'000'000;
};

struct UnpackedLayer {
  std::string diff_id;  ///< Digest of the uncompressed tar.
  std::int64_t bytes = 0;
  std::int64_t skipped_devices = 0;
};

/// Unpacks the tar at `blob_path` (plain, gzip, zstd, bzip2 or xz) into `into`, an empty directory. Whiteouts become
/// overlayfs's; devices are left out. `lowers`: the layers below, topmost first; a directory the tar implies but does
/// not hold gets its owner and mode from there.
///
/// Needs root. After an error `into` holds a part; remove it.
/// Errors: Invalid (a broken or hostile tar, or above the limits), Cancelled, Internal.
Result<UnpackedLayer> unpack_layer(const CallContext& ctx, const std::string& blob_path, const std::string& into,
                                   const std::vector<std::string>& lowers, const UnpackLimits& limits);

}  // namespace kubernel::runtime::oci
