// SPDX-License-Identifier: Apache-2.0

#include "volume_cache.h"

#include <kubernel/api/resource.h>

namespace kubernel::plugins {

using api::Object;
using api::ObjectKey;

namespace {

const api::Resource kStorageClasses{"storage.k8s.io", "v1", "storageclasses"};
const api::Resource kCsiNodes{"storage.k8s.io", "v1", "csinodes"};
const api::Resource kCsiDrivers{"storage.k8s.io", "v1", "csidrivers"};
const api::Resource kCapacities{"storage.k8s.io", "v1", "csistoragecapacities"};
constexpr const char* kByClass = "volume-binding/class";

}  // namespace

VolumeCache::VolumeCache(client::InformerFactory& informers)
    : claims_(informers.informer(api::resources::kPersistentVolumeClaims, {})),
      volumes_(informers.informer(api::resources::kPersistentVolumes, {})),
      classes_(informers.informer(kStorageClasses, {})),
      csi_nodes_(informers.informer(kCsiNodes, {})),
      drivers_(informers.informer(kCsiDrivers, {})),
      capacities_(informers.informer(kCapacities, {})) {
  volumes_->add_index(kByClass, [](const Object& volume) -> std::vector<std::string> {
    return {std::string(volume.pointer("/spec/storageClassName").string())};
  });
  capacities_->add_index(kByClass, [](const Object& capacity) -> std::vector<std::string> {
    return {std::string(capacity["storageClassName"].string())};
  });
}

std::optional<Object> VolumeCache::claim(const ObjectKey& key) const {
  auto found = claims_->find(key);
  if (found) found = assumed_claims_.over(*found);
  return found;
}

std::optional<Object> VolumeCache::volume(const std::string& name) const {
  auto found = volumes_->find({{}, name});
  if (found) found = assumed_volumes_.over(*found);
  return found;
}

std::vector<Object> VolumeCache::volumes_of_class(const std::string& storage_class) const {
  auto out = volumes_->by_index(kByClass, storage_class);
  for (Object& volume : out) volume = assumed_volumes_.over(volume);
  return out;
}

std::optional<Object> VolumeCache::storage_class_of(const Object& claim) const {
  return classes_->find({{}, std::string(claim.pointer("/spec/storageClassName").string())});
}

bool VolumeCache::binds_late(const Object& claim) const {
  const auto storage_class = storage_class_of(claim);
  return storage_class && storage_class->body()["volumeBindingMode"].string() == "WaitForFirstConsumer";
}

std::optional<Object> VolumeCache::csi_node(const std::string& name) const {
  return csi_nodes_->find({{}, name});
}

std::optional<Object> VolumeCache::driver(const std::string& name) const {
  return drivers_->find({{}, name});
}

std::vector<Object> VolumeCache::capacities(const std::string& storage_class) const {
  return capacities_->by_index(kByClass, storage_class);
}

std::vector<std::unique_ptr<Subscription>> VolumeCache::on_change(const std::function<void()>& changed) {
  std::vector<std::unique_ptr<Subscription>> out;
  for (const auto& informer : {claims_, volumes_}) {
    out.push_back(informer->add_handler({[changed](const Object&) { changed(); },
                                         [changed](const Object&, const Object&) { changed(); },
                                         [changed](const Object&) { changed(); }}));
  }
  return out;
}

void VolumeCache::Assumed::assume(const Object& object) {
  const std::lock_guard lock(mutex_);
  objects_.insert_or_assign(object.key(), object);
}

void VolumeCache::Assumed::restore(const ObjectKey& key) {
  const std::lock_guard lock(mutex_);
  objects_.erase(key);
}

Object VolumeCache::Assumed::over(const Object& seen) const {
  const std::lock_guard lock(mutex_);
  const auto found = objects_.find(seen.key());
  if (found == objects_.end()) return seen;
  if (found->second.head().resource_version == seen.head().resource_version && found->second.uid() == seen.uid())
    return found->second;
  objects_.erase(found);  // The API knows better.
  return seen;
}

}  // namespace kubernel::plugins
