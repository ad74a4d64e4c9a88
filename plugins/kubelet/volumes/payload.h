// SPDX-License-Identifier: Apache-2.0
//
// Payload: the files of a configMap, secret, downwardAPI or projected volume, and how they are put on disk.

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include <kubernel/api/value.h>
#include <kubernel/base/result.h>

namespace kubernel::kubelet {

struct PayloadFile {
  std::string content;
  std::uint32_t mode = 0644;
  friend bool operator==(const PayloadFile&, const PayloadFile&) = default;
};
// By path relative to the volume.
using Payload = std::map<std::string, PayloadFile>;

// `data` by `items` (all keys without) with modes. `what`: "configmap" or "secret", `name` for messages.
// Errors: Invalid "<what> references non-existent config key: <key>" unless `optional`.
Result<void> add_keys(const std::map<std::string, std::string>& data, api::Value items, std::int64_t default_mode,
                      bool optional, std::string_view what, Payload& out);

// Upstream's AtomicWriter: files live in a new timestamped directory, "..data" points to it, and each first path
// component of the volume is a symlink into "..data"; a reader sees all old files or all new ones. Nothing happens when
// nothing changed. Files belong to group `group` when given (fsGroup). Errors: Internal with the path.
Result<void> write_payload(const std::string& directory, const Payload& payload, std::optional<std::int64_t> group);

// A path inside a volume: relative, without "..".
bool is_safe_relative(std::string_view path);

}  // namespace kubernel::kubelet
