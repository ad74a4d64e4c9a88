// SPDX-License-Identifier: Apache-2.0
//
// PodVolumes: makes a pod's volumes on this node and takes them away again.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include <kubernel/api/object.h>
#include <kubernel/base/log.h>
#include <kubernel/base/result.h>
#include <kubernel/client/client.h>
#include <kubernel/runtime/container_runtime.h>

#include "pods/field_ref.h"
#include "tasks.h"
#include "volumes/object_source.h"
#include "volumes/payload.h"

namespace kubernel::kubelet {

// Host path of each volume, by its name in the pod.
using VolumePaths = std::map<std::string, std::string>;

// What needs the privileges of root; a test gives its own.
struct MountOperations {
  std::function<Result<void>(const std::string& path, std::int64_t size_bytes)> mount_tmpfs;
  std::function<Result<void>(const std::string& path)> unmount;
  std::function<bool(const std::string& path)> is_mount_point;
};
MountOperations system_mounts();

// Threads: all members may be called concurrently for different pods.
class PodVolumes {
 public:
  PodVolumes(std::string root_directory, client::ApiClient& api, ObjectSource& objects, Clock& clock, Logger& log,
             MountOperations mounts);

  // Makes what is missing and rewrites files whose source changed. Idempotent.
  // Errors: NotFound and Invalid with upstream's message for a source that is missing or wrong; to be tried again.
  Result<VolumePaths> mount(const CallContext& ctx, const api::Object& pod, const PodFacts& facts);
  // When a token of this pod has to be renewed.
  std::optional<Clock::TimePoint> refresh_at(const std::string& uid) const;
  // Takes everything away, the pod's directory too. Idempotent; works without the pod's object.
  Result<void> unmount(const std::string& uid);

  // "<root>/pods/<uid>".
  std::string pod_directory(const std::string& uid) const;

 private:
  Result<std::string> mount_one(const CallContext& ctx, const api::Object& pod, api::Value volume,
                                const PodFacts& facts);
  Result<std::string> mount_empty_dir(const api::Object& pod, api::Value volume);
  Result<std::string> mount_payload(const CallContext& ctx, const api::Object& pod, api::Value volume,
                                    const PodFacts& facts);
  Result<Payload> payload_of(const CallContext& ctx, const api::Object& pod, api::Value volume, const PodFacts& facts);
  Result<void> add_source(const CallContext& ctx, const api::Object& pod, api::Value source, std::int64_t default_mode,
                          const PodFacts& facts, Payload& out);
  Result<void> add_object(const CallContext& ctx, const api::Object& pod, const api::Resource& resource,
                          std::string_view name, api::Value source, std::int64_t default_mode, Payload& out);
  Result<std::string> token(const CallContext& ctx, const api::Object& pod, api::Value source);
  std::string volume_directory(const api::Object& pod, std::string_view plugin, std::string_view name) const;

  struct Token {
    std::string text;
    Clock::TimePoint renew_at;
  };

  const std::string root_;
  client::ApiClient& api_;
  ObjectSource& objects_;
  Clock& clock_;
  Logger& log_;
  MountOperations mounts_;
  mutable std::mutex mutex_;
  std::map<std::string, std::map<std::string, Token>> tokens_;  // By pod uid, then audience and lifetime.
  std::map<std::string, std::map<std::string, std::size_t>>
      written_;  // By pod uid, then directory: a hash of its payload.
};

// A container's mounts of its volumes: subPath resolved without leaving the volume, made when missing.
// `expand_variable` replaces $(NAME) in subPathExpr. Errors: Invalid with upstream's message.
Result<std::vector<runtime::Mount>> volume_mounts(api::Value container, const api::Object& pod,
                                                  const VolumePaths& paths,
                                                  const std::function<std::string(std::string_view)>& expand_variables);

}  // namespace kubernel::kubelet
