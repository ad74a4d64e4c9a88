// SPDX-License-Identifier: Apache-2.0
//
// SimulatedImages: an image store of names. Every name can be pulled; nothing is transferred.
#pragma once

#include <map>
#include <mutex>
#include <string>

#include <kubernel/runtime/container_runtime.h>

#include "state_file.h"

namespace kubernel::runtime::simulated {

/// "busybox" is "docker.io/library/busybox:latest".
std::string full_reference(std::string_view reference);

class SimulatedImages final : public ImageStore {
 public:
  /// Errors: Invalid, Internal: what is on disk cannot be read.
  static Result<std::unique_ptr<SimulatedImages>> open(StateFiles files);

  Result<std::optional<Image>> find(const CallContext& ctx, std::string_view reference) override;
  Result<std::vector<Image>> list(const CallContext& ctx) override;
  Result<Image> pull(const CallContext& ctx, std::string_view reference,
                     const std::optional<Credentials>& credentials) override;
  /// Errors: BadRequest: there is nothing an archive could be unpacked for.
  Result<std::vector<Image>> load(const CallContext& ctx, const std::string& path) override;
  Result<void> remove(const CallContext& ctx, std::string_view reference) override;

  /// The name of the image with that id; empty when there is none.
  std::string name_of(std::string_view id) const;

 private:
  explicit SimulatedImages(StateFiles files) : files_(std::move(files)) {}
  Result<void> save() const;  // With the mutex held.

  const StateFiles files_;
  mutable std::mutex mutex_;
  std::map<std::string, Image, std::less<>> images_;  // By full reference.
};

}  // namespace kubernel::runtime::simulated
