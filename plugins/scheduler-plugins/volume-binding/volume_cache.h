// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <kubernel/client/informer.h>

namespace kubernel::plugins {

// Claims, volumes and classes as the informers show them, with what the scheduler has decided and not yet seen
// confirmed on top
// ("assumed"). An assumption falls as soon as the informer shows another version of its object.
//
// Threads: all members may be called concurrently.
class VolumeCache {
 public:
  explicit VolumeCache(client::InformerFactory& informers);

  std::optional<api::Object> claim(const api::ObjectKey& key) const;
  std::optional<api::Object> volume(const std::string& name) const;
  std::vector<api::Object> volumes_of_class(const std::string& storage_class) const;
  std::optional<api::Object> storage_class_of(const api::Object& claim) const;
  // Of the claim's class: WaitForFirstConsumer.
  bool binds_late(const api::Object& claim) const;
  std::optional<api::Object> csi_node(const std::string& name) const;
  std::optional<api::Object> driver(const std::string& name) const;
  std::vector<api::Object> capacities(const std::string& storage_class) const;

  // `changed` is an edited copy of an object this cache gave out.
  void assume_claim(const api::Object& changed) { assumed_claims_.assume(changed); }
  void assume_volume(const api::Object& changed) { assumed_volumes_.assume(changed); }
  void restore_claim(const api::ObjectKey& key) { assumed_claims_.restore(key); }
  void restore_volume(const api::ObjectKey& key) { assumed_volumes_.restore(key); }

  // Calls `changed` on every change of a claim or a volume, as long as the subscriptions live.
  std::vector<std::unique_ptr<Subscription>> on_change(const std::function<void()>& changed);

 private:
  class Assumed {
   public:
    void assume(const api::Object& object);
    void restore(const api::ObjectKey& key);
    // The assumed object, when it was made from this version.
    api::Object over(const api::Object& seen) const;

   private:
    mutable std::mutex mutex_;
    mutable std::map<api::ObjectKey, api::Object> objects_;
  };

  const std::shared_ptr<client::Informer> claims_, volumes_, classes_, csi_nodes_, drivers_, capacities_;
  Assumed assumed_claims_, assumed_volumes_;
};

}  // namespace kubernel::plugins
