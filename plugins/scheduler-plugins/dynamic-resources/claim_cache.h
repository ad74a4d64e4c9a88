// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/client/informer.h>
#include <kubernel/scheduler/node_info.h>

#include "extended_resources.h"
#include "inventory.h"

namespace kubernel::plugins {

extern const api::Resource kResourceClaims, kResourceSlices, kDeviceClasses, kDeviceTaintRules;

// Claims, classes and slices as the informers show them, and on top what this scheduler has decided: allocations that
// are being written
// ("pending") and those written but not seen yet.
//
// Threads: all members may be called concurrently.
class ClaimCache {
 public:
  // `taint_rules`: DeviceTaintRules count, too. Their API is a beta, which not every server has.
  explicit ClaimCache(client::InformerFactory& informers, bool taint_rules = false);

  std::optional<api::Object> claim(const api::ObjectKey& key) const;
  std::optional<api::Object> device_class(const std::string& name) const;
  // Threads: also takes no lock.
  std::shared_ptr<const ExtendedClasses> extended_classes() const { return extended_classes_.load(); }
  // The claim that was made for the pod's extended resources.
  std::optional<api::Object> extended_claim(const std::string& pod_uid) const;
  // Devices that a claim has or is about to get, but not those used with admin access.
  AllocatedDevices allocated() const;
  std::shared_ptr<const Inventory> inventory() const;

  bool is_pending(const std::string& claim_uid) const;
  // False when it is already.
  bool begin_allocation(const std::string& claim_uid, const nlohmann::json& allocation);
  // `written`: the claim as the API has it now, when it was written.
  void end_allocation(const std::string& claim_uid, const std::optional<api::Object>& written);
  // A claim that this scheduler made, and which the informer may not have seen yet; or removed.
  void note_made(const api::Object& claim);
  void note_removed(const api::Object& claim) { see(claim, true); }

 private:
  struct Entry {
    api::Object seen;                    // By the informer.
    api::Object written;                 // By this scheduler; counts while it is newer.
    std::optional<api::Object> pending;  // {"status": {"allocation": …}}
    std::vector<DeviceId> devices;       // As allocated_ knows them.
    std::vector<std::pair<DeviceId, Amounts>> shares;

    const api::Object& latest() const { return written ? written : seen; }
  };
  void see(const api::Object& claim, bool gone);
  // With the mutex held, after a change of the entry; drops one that says nothing.
  void settle(const std::string& uid);

  void slices_changed();
  void classes_changed();

  const std::shared_ptr<client::Informer> claims_, slices_, classes_;
  std::shared_ptr<client::Informer> taint_rules_;  // Null: not asked for.
  mutable std::mutex mutex_;
  std::map<std::string, Entry> entries_;  // By uid.
  AllocatedDevices allocated_;
  std::map<std::string, std::string> extended_claims_;  // Uid of the claim by uid of the pod.
  std::atomic<std::shared_ptr<const ExtendedClasses>> extended_classes_ = std::make_shared<const ExtendedClasses>();
  mutable std::shared_ptr<const Inventory> inventory_;  // Null: to be made anew.
  std::uint64_t slices_version_ = 0;
  std::vector<std::unique_ptr<Subscription>> subscriptions_;  // Last: they end before what they change.
};

// The claims of a pod.
struct PodResourceClaims {
  std::vector<api::Object> claims;
  std::string problem;  // Why the pod has to wait, or nothing.

  static PodResourceClaims read(const scheduler::PodInfo& pod, const ClaimCache& cache);
};

// Whether the pod names that claim, or its status says that it was made for it.
bool names_claim(const scheduler::PodInfo& pod, std::string_view claim);

}  // namespace kubernel::plugins
