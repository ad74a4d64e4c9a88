// SPDX-License-Identifier: Apache-2.0

#include "claim_cache.h"

#include <algorithm>

#include <nlohmann/json.hpp>

namespace kubernel::plugins {

using api::Object;
using api::ObjectKey;
using api::Value;

const api::Resource kResourceClaims{"resource.k8s.io", "v1", "resourceclaims"};
const api::Resource kResourceSlices{"resource.k8s.io", "v1", "resourceslices"};
const api::Resource kDeviceClasses{"resource.k8s.io", "v1", "deviceclasses"};
const api::Resource kDeviceTaintRules{"resource.k8s.io", "v1beta2", "devicetaintrules"};

namespace {

void add_devices(const Object& claim, std::vector<DeviceId>& out, std::vector<std::pair<DeviceId, Amounts>>& shares) {
  for (const Value result : claim.pointer("/status/allocation/devices/results")) {
    if (result["adminAccess"].boolean()) continue;
    DeviceId id{std::string(result["driver"].string()), std::string(result["pool"].string()),
                std::string(result["device"].string())};
    if (!result["shareID"]) {
      out.push_back(std::move(id));
      continue;
    }
    Amounts amounts;
    const Value consumed = result["consumedCapacity"];
    for (auto it = consumed.begin(); it != consumed.end(); ++it) {
      amounts.emplace(std::string(it.key()), api::Quantity::read(*it));
    }
    shares.emplace_back(std::move(id), std::move(amounts));
  }
}

std::string pod_text(const scheduler::PodInfo& pod) {
  return "pod \"" + pod.key().ns + "/" + pod.key().name + "\"";
}

// What status.resourceClaimStatuses says of one entry; missing when it says nothing.
Value status_of(const scheduler::PodInfo& pod, std::string_view entry) {
  for (const Value status : pod.object.pointer("/status/resourceClaimStatuses")) {
    if (status["name"].string() == entry) return status;
  }
  return {};
}

}  // namespace

ClaimCache::ClaimCache(client::InformerFactory& informers, bool taint_rules)
    : claims_(informers.informer(kResourceClaims, {})),
      slices_(informers.informer(kResourceSlices, {})),
      classes_(informers.informer(kDeviceClasses, {})) {
  subscriptions_.push_back(claims_->add_handler({[this](const Object& claim) { see(claim, false); },
                                                 [this](const Object&, const Object& claim) { see(claim, false); },
                                                 [this](const Object& claim) { see(claim, true); }}));
  const auto watch = [this](client::Informer& informer) {
    subscriptions_.push_back(informer.add_handler({[this](const Object&) { slices_changed(); },
                                                   [this](const Object&, const Object&) { slices_changed(); },
                                                   [this](const Object&) { slices_changed(); }}));
  };
  watch(*slices_);
  subscriptions_.push_back(classes_->add_handler({[this](const Object&) { classes_changed(); },
                                                  [this](const Object&, const Object&) { classes_changed(); },
                                                  [this](const Object&) { classes_changed(); }}));
  if (!taint_rules) return;
  taint_rules_ = informers.informer(kDeviceTaintRules, {});
  watch(*taint_rules_);
}

void ClaimCache::classes_changed() {
  extended_classes_ = std::make_shared<const ExtendedClasses>(classes_->list({}, api::LabelSelector::everything()));
}

std::optional<Object> ClaimCache::extended_claim(const std::string& pod_uid) const {
  const std::lock_guard lock(mutex_);
  const auto found = extended_claims_.find(pod_uid);
  if (found == extended_claims_.end()) return std::nullopt;
  const auto entry = entries_.find(found->second);
  if (entry == entries_.end() || !entry->second.latest()) return std::nullopt;
  return entry->second.latest();
}

void ClaimCache::note_made(const Object& claim) {
  const std::lock_guard lock(mutex_);
  Entry& entry = entries_[claim.uid()];
  if (!entry.seen || entry.seen.head().resource_version < claim.head().resource_version) entry.written = claim;
  settle(claim.uid());
}

void ClaimCache::slices_changed() {
  const std::lock_guard lock(mutex_);
  inventory_.reset();
  ++slices_version_;
}

void ClaimCache::see(const Object& claim, bool gone) {
  const std::lock_guard lock(mutex_);
  Entry& entry = entries_[claim.uid()];
  entry.seen = gone ? Object() : claim;
  if (gone || (entry.written && entry.written.head().resource_version <= claim.head().resource_version))
    entry.written = Object();
  settle(claim.uid());
}

void ClaimCache::settle(const std::string& uid) {
  const auto found = entries_.find(uid);
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  std::vector<DeviceId> devices;
  std::vector<std::pair<DeviceId, Amounts>> shares;
  if (entry.latest()) add_devices(entry.latest(), devices, shares);
  if (entry.pending) add_devices(*entry.pending, devices, shares);
  for (const DeviceId& id : devices) allocated_.add(id, 1);
  for (const DeviceId& id : entry.devices) allocated_.add(id, -1);
  for (const auto& [id, amounts] : shares) allocated_.add_share(id, amounts, 1);
  for (const auto& [id, amounts] : entry.shares) allocated_.add_share(id, amounts, -1);
  entry.devices = std::move(devices);
  entry.shares = std::move(shares);
  if (const Object& claim = entry.latest(); claim && claim.annotations()[kExtendedClaimAnnotation].string() == "true")
    extended_claims_[claim.head().controller_uid] = uid;
  if (entry.latest() || entry.pending) return;
  entries_.erase(found);
  if (!extended_claims_.empty()) std::erase_if(extended_claims_, [&](const auto& one) { return one.second == uid; });
}

std::optional<Object> ClaimCache::claim(const ObjectKey& key) const {
  auto found = claims_->find(key);
  if (!found) return std::nullopt;
  const std::lock_guard lock(mutex_);
  const auto entry = entries_.find(found->uid());
  if (entry != entries_.end() && entry->second.written &&
      entry->second.written.head().resource_version > found->head().resource_version) {
    return entry->second.written;
  }
  return found;
}

std::optional<Object> ClaimCache::device_class(const std::string& name) const {
  return classes_->find({{}, name});
}

AllocatedDevices ClaimCache::allocated() const {
  const std::lock_guard lock(mutex_);
  return allocated_;
}

std::shared_ptr<const Inventory> ClaimCache::inventory() const {
  std::uint64_t version = 0;
  {
    const std::lock_guard lock(mutex_);
    if (inventory_) return inventory_;
    version = slices_version_;
  }
  const auto everything = api::LabelSelector::everything();
  auto made = std::make_shared<const Inventory>(
      slices_->list({}, everything), taint_rules_ ? taint_rules_->list({}, everything) : std::vector<Object>());
  const std::lock_guard lock(mutex_);
  if (version == slices_version_) inventory_ = made;  // Else it is out of date already.
  return made;
}

bool ClaimCache::is_pending(const std::string& claim_uid) const {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(claim_uid);
  return found != entries_.end() && found->second.pending;
}

bool ClaimCache::begin_allocation(const std::string& claim_uid, const nlohmann::json& allocation) {
  auto pending = Object::from_json({{"status", {{"allocation", allocation}}}});
  const std::lock_guard lock(mutex_);
  Entry& entry = entries_[claim_uid];
  if (!pending || entry.pending) return false;
  entry.pending = *std::move(pending);
  settle(claim_uid);
  return true;
}

void ClaimCache::end_allocation(const std::string& claim_uid, const std::optional<Object>& written) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(claim_uid);
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  entry.pending.reset();
  const bool newer = written && entry.seen && entry.seen.head().resource_version < written->head().resource_version;
  if (newer) entry.written = *written;
  settle(claim_uid);
}

bool names_claim(const scheduler::PodInfo& pod, std::string_view claim) {
  const Value entries = pod.spec["resourceClaims"];
  return std::any_of(entries.begin(), entries.end(), [&](Value entry) {
    const Value name = entry["resourceClaimName"];
    return (name ? name : status_of(pod, entry["name"].string())["resourceClaimName"]).string() == claim;
  });
}

PodResourceClaims PodResourceClaims::read(const scheduler::PodInfo& pod, const ClaimCache& cache) {
  PodResourceClaims out;
  for (const Value entry : pod.spec["resourceClaims"]) {
    const bool shared = static_cast<bool>(entry["resourceClaimName"]);
    Value name = entry["resourceClaimName"];
    if (!shared) {
      const Value status = status_of(pod, entry["name"].string());
      if (!entry["resourceClaimTemplateName"]) {
        out.problem = pod_text(pod) + ", spec.resourceClaim \"" + std::string(entry["name"].string()) +
                      "\": none of the supported fields are set";
      } else if (!status) {
        out.problem = pod_text(pod) + ": ResourceClaim not created yet";
      }
      if (!out.problem.empty()) return out;
      name = status["resourceClaimName"];
      if (!name) continue;  // None is needed.
    }
    const auto claim = cache.claim({pod.key().ns, std::string(name.string())});
    if (!claim) {
      out.problem = "resourceclaim.resource.k8s.io \"" + std::string(name.string()) + "\" not found";
    } else if (claim->head().deleting) {
      out.problem = "resourceclaim \"" + claim->name() + "\" is being deleted";
    } else if (!shared && claim->head().controller_uid != pod.uid()) {
      out.problem = "ResourceClaim " + api::to_string(claim->key()) + " was not created for pod " +
                    api::to_string(pod.key()) + " (pod is not owner)";
    }
    if (!out.problem.empty()) return out;
    const bool repeated = std::ranges::any_of(out.claims, [&](const Object& one) { return one.uid() == claim->uid(); });
    if (!repeated) out.claims.push_back(*claim);
  }
  return out;
}

}  // namespace kubernel::plugins
