// SPDX-License-Identifier: Apache-2.0
//
// ObjectSource: the ConfigMaps and Secrets that pods of this node use, kept current by one watch each.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include <kubernel/api/object.h>
#include <kubernel/base/log.h>
#include <kubernel/client/client.h>

#include "tasks.h"

namespace kubernel::kubelet {

// A node may only read objects its pods refer to, so objects are watched by name, as upstream.
//
// Threads: all members may be called concurrently.
class ObjectSource {
 public:
  // `changed` gets the uid of each pod that uses an object that changed; on a pool thread.
  ObjectSource(client::ApiClient& api, Tasks& tasks, Logger& log, std::function<void(const std::string& uid)> changed);
  ~ObjectSource();

  // The object, for the pod `uid`; the first use reads it and begins to watch it.
  // Errors: NotFound with the API's message, and those of the API.
  Result<api::Object> get(const CallContext& ctx, const api::Resource& resource, const api::ObjectKey& key,
                          const std::string& uid);
  // Ends the watches nobody else needs.
  void release(const std::string& uid);
  // Ends all watches.
  void stop();

  // `data` and decoded `binaryData` of a ConfigMap, or decoded `data` of a Secret.
  static std::map<std::string, std::string> data_of(const api::Resource& resource, const api::Object& object);

 private:
  struct Entry;
  using EntryKey = std::pair<std::string, api::ObjectKey>;

  Result<api::Object> read(const CallContext& ctx, Entry& entry);
  void begin_watch(const std::shared_ptr<Entry>& entry);
  void take_events(const std::shared_ptr<Entry>& entry);
  void tell(const std::shared_ptr<Entry>& entry);
  void retry(const std::shared_ptr<Entry>& entry);

  client::ApiClient& api_;
  Tasks& tasks_;
  Logger& log_;
  std::function<void(const std::string& uid)> changed_;
  std::mutex mutex_;
  bool stopped_ = false;
  std::map<EntryKey, std::shared_ptr<Entry>> entries_;
};

}  // namespace kubernel::kubelet
