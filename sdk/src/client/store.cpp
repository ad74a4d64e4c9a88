// SPDX-License-Identifier: Apache-2.0
#include "client/store.h"

#include <mutex>
#include <utility>

namespace kubernel::client {

using api::Object;
using api::ObjectKey;

Store::Store() {
  add_index("", [](const Object& object) -> std::vector<std::string> {
    if (object.head().controller_uid.empty()) return {};
    return {object.head().controller_uid};
  });
}

std::optional<Object> Store::put(const Object& object) {
  const std::unique_lock lock(mutex_);
  auto [it, inserted] = objects_.try_emplace(object.key(), object);
  std::optional<Object> before;
  if (!inserted) {
    before = std::exchange(it->second, object);
    unindex(*before);
  }
  index(object);
  return before;
}

std::optional<Object> Store::remove(const ObjectKey& key) {
  const std::unique_lock lock(mutex_);
  const auto found = objects_.find(key);
  if (found == objects_.end()) return std::nullopt;
  Object last = std::move(found->second);
  objects_.erase(found);
  unindex(last);
  return last;
}

std::optional<Object> Store::find(const ObjectKey& key) const {
  const std::shared_lock lock(mutex_);
  const auto found = objects_.find(key);
  if (found == objects_.end()) return std::nullopt;
  return found->second;
}

std::vector<Object> Store::list(std::string_view ns, const api::LabelSelector& selector) const {
  const std::shared_lock lock(mutex_);
  std::vector<Object> out;
  auto it = ns.empty() ? objects_.begin() : objects_.lower_bound(ObjectKey{std::string(ns), ""});
  for (; it != objects_.end() && (ns.empty() || it->first.ns == ns); ++it) {
    if (selector.matches_everything() || selector.matches(it->second.labels())) out.push_back(it->second);
  }
  return out;
}

std::vector<Object> Store::by_index(std::string_view name, std::string_view value) const {
  const std::shared_lock lock(mutex_);
  std::vector<Object> out;
  const auto found = indices_.find(name);
  if (found == indices_.end()) return out;
  const auto keys = found->second.entries.find(std::string(value));
  if (keys == found->second.entries.end()) return out;
  for (const ObjectKey& key : keys->second) {
    if (const auto object = objects_.find(key); object != objects_.end()) out.push_back(object->second);
  }
  return out;
}

void Store::add_index(std::string name, IndexKeys keys) {
  const std::unique_lock lock(mutex_);
  Index& made = indices_[std::move(name)];
  made.keys = std::move(keys);
  made.entries.clear();
  for (const auto& [key, object] : objects_) {
    for (const std::string& value : made.keys(object)) made.entries[value].insert(key);
  }
}

void Store::index(const Object& object) {
  for (auto& [name, entry] : indices_) {
    for (const std::string& value : entry.keys(object)) entry.entries[value].insert(object.key());
  }
}

void Store::unindex(const Object& object) {
  for (auto& [name, entry] : indices_) {
    for (const std::string& value : entry.keys(object)) {
      const auto keys = entry.entries.find(value);
      if (keys == entry.entries.end()) continue;
      keys->second.erase(object.key());
      if (keys->second.empty()) entry.entries.erase(keys);
    }
  }
}

}  // namespace kubernel::client
