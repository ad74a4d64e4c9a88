// SPDX-License-Identifier: Apache-2.0
//
// The JSON documents of the OCI image specification, as far as a runtime reads them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/base/result.h>

namespace kubernel::runtime::oci {

struct Descriptor {
  std::string media_type, digest;
  std::int64_t size = 0;
  std::string architecture, os, variant;
  std::map<std::string, std::string> annotations;
};

/// Either a manifest (config, layers) or an index (manifests). Docker's formats read the same.
struct Manifest {
  bool is_index = false;
  Descriptor config;
  std::vector<Descriptor> layers;  ///< Bottom first.
  std::vector<Descriptor> manifests;
};

/// What the image says about the process to run.
struct ImageConfig {
  std::vector<std::string> entrypoint, command, env;
  std::string working_dir, user, stop_signal;
  std::vector<std::string> diff_ids;  ///< Bottom first.
};

/// Errors: Invalid; the caller adds which image.
Result<Manifest> parse_manifest(std::string_view json);
Result<ImageConfig> parse_image_config(std::string_view json);

/// The entry of an index that runs on this machine, null when there is none.
const Descriptor* choose_platform(const std::vector<Descriptor>& manifests);

/// "amd64", "arm64": Go's name of this machine's architecture.
std::string machine_architecture();

/// One chain ID for each layer, bottom first (image specification, "Layer ChainID").
std::vector<std::string> chain_ids(const std::vector<std::string>& diff_ids);

}  // namespace kubernel::runtime::oci
