// SPDX-License-Identifier: Apache-2.0
#include "volumes/object_source.h"

#include <kubernel/crypto/pki.h>

namespace kubernel::kubelet {

namespace {
constexpr std::chrono::seconds kRetryDelay{5};
constexpr std::size_t kEventsAtOnce = 100;
}  // namespace

struct ObjectSource::Entry {
  api::Resource resource;
  api::ObjectKey key;
  std::mutex mutex;  // Guards what follows.
  std::set<std::string> users;
  bool known = false;  // The rest says what the API said last; else it is not known.
  std::optional<api::Object> object;
  std::unique_ptr<client::Watch> watch;
  std::unique_ptr<Subscription> timer;
  bool ended = false;
};

ObjectSource::ObjectSource(client::ApiClient& api, Tasks& tasks, Logger& log,
                           std::function<void(const std::string& uid)> changed)
    : api_(api), tasks_(tasks), log_(log), changed_(std::move(changed)) {}

ObjectSource::~ObjectSource() {
  stop();
}

Result<api::Object> ObjectSource::get(const CallContext& ctx, const api::Resource& resource, const api::ObjectKey& key,
                                      const std::string& uid) {
  std::shared_ptr<Entry> entry;
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) return Error(Reason::Cancelled, "the kubelet is stopping");
    auto& slot = entries_[{resource.plural, key}];
    if (!slot) {
      slot = std::make_shared<Entry>();
      slot->resource = resource;
      slot->key = key;
    }
    entry = slot;
  }
  {
    const std::lock_guard lock(entry->mutex);
    entry->users.insert(uid);
    if (entry->known && entry->object) return *entry->object;
  }
  auto object = read(ctx, *entry);
  begin_watch(entry);
  return object;
}

Result<api::Object> ObjectSource::read(const CallContext& ctx, Entry& entry) {
  auto object = api_.get(ctx, entry.resource, entry.key, {});
  const std::lock_guard lock(entry.mutex);
  if (!object) {
    entry.known = object.error().reason() == Reason::NotFound;
    if (!entry.known) return object;
    entry.object.reset();
    // A node says it in the singular: configmap "settings" not found.
    const char* kind = entry.resource == api::resources::kSecrets ? "secret" : "configmap";
    return Error(Reason::NotFound, kind + (" \"" + entry.key.name + "\" not found"));
  }
  if (!entry.object || entry.object->head().resource_version <= object->head().resource_version ||
      entry.object->uid() != object->uid()) {
    entry.object = *object;
  }
  entry.known = true;
  return object;
}

void ObjectSource::begin_watch(const std::shared_ptr<Entry>& entry) {
  client::WatchOptions options;
  options.ns = entry->key.ns;
  options.field_selector = "metadata.name=" + entry->key.name;
  {
    const std::lock_guard lock(entry->mutex);
    if (entry->watch || entry->ended) return;
    // Of an object that does not exist, the watch begins with what there is: nothing.
    options.resource_version = entry->object ? entry->object->head().resource_version : 0;
  }
  auto watch = api_.watch(tasks_.context(), entry->resource, options);
  if (!watch) {
    log_debug(log_, "cannot watch",
              {{"resource", entry->resource.plural}, {"key", api::to_string(entry->key)}, {"error", watch.error()}});
    retry(entry);
    return;
  }
  client::Watch* raw = watch->get();
  {
    const std::lock_guard lock(entry->mutex);
    if (entry->watch || entry->ended) return;
    entry->watch = std::move(*watch);
  }
  raw->notify([this, weak = std::weak_ptr(entry)] {
    tasks_.run([this, weak] {
      if (const auto alive = weak.lock()) take_events(alive);
    });
  });
}

void ObjectSource::take_events(const std::shared_ptr<Entry>& entry) {
  bool changed = false;
  std::unique_ptr<client::Watch> over;
  {
    const std::lock_guard lock(entry->mutex);
    while (entry->watch) {
      auto events = entry->watch->take(kEventsAtOnce);
      if (!events) {
        over = std::move(entry->watch);
        entry->known = false;
        break;
      }
      if (events->empty()) break;
      for (const auto& event : *events) {
        if (event.type == client::EventType::Bookmark) continue;
        const bool same =
            entry->object && entry->object->head().resource_version == event.object.head().resource_version;
        if (event.type == client::EventType::Deleted) {
          entry->object.reset();
        } else {
          entry->object = event.object;
        }
        entry->known = true;
        changed = changed || !same;
      }
    }
  }
  if (over) retry(entry);
  if (changed) tell(entry);
}

void ObjectSource::retry(const std::shared_ptr<Entry>& entry) {
  const std::lock_guard lock(entry->mutex);
  if (entry->ended) return;
  entry->timer = tasks_.run_after(kRetryDelay, [this, weak = std::weak_ptr(entry)] {
    const auto alive = weak.lock();
    if (!alive) return;
    std::int64_t before = 0;
    {
      const std::lock_guard inner(alive->mutex);
      if (alive->ended || alive->users.empty()) return;
      before = alive->object ? alive->object->head().resource_version : 0;
    }
    const auto object = read(tasks_.context(), *alive);
    begin_watch(alive);
    if (object && object->head().resource_version != before) tell(alive);
  });
}

void ObjectSource::tell(const std::shared_ptr<Entry>& entry) {
  std::set<std::string> users;
  {
    const std::lock_guard lock(entry->mutex);
    users = entry->users;
  }
  for (const auto& uid : users) changed_(uid);
}

void ObjectSource::release(const std::string& uid) {
  std::vector<std::shared_ptr<Entry>> unused;
  {
    const std::lock_guard lock(mutex_);
    for (auto at = entries_.begin(); at != entries_.end();) {
      const std::lock_guard entry_lock(at->second->mutex);
      at->second->users.erase(uid);
      if (!at->second->users.empty()) {
        ++at;
        continue;
      }
      at->second->ended = true;
      unused.push_back(at->second);
      at = entries_.erase(at);
    }
  }
  // Their watches end here, outside the locks.
}

void ObjectSource::stop() {
  std::map<EntryKey, std::shared_ptr<Entry>> entries;
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    entries.swap(entries_);
  }
  for (auto& [key, entry] : entries) {
    std::unique_ptr<client::Watch> watch;
    std::unique_ptr<Subscription> timer;
    const std::lock_guard lock(entry->mutex);
    entry->ended = true;
    watch = std::move(entry->watch);
    timer = std::move(entry->timer);
  }
}

std::map<std::string, std::string> ObjectSource::data_of(const api::Resource& resource, const api::Object& object) {
  std::map<std::string, std::string> out;
  const bool secret = resource.plural == "secrets";
  const api::Value data = object["data"];
  for (auto at = data.begin(); at != data.end(); ++at) {
    const std::string_view text = (*at).string();
    if (!secret) {
      out[std::string(at.key())] = text;
    } else if (auto decoded = crypto::base64_decode(text)) {
      out[std::string(at.key())] = *std::move(decoded);
    }
  }
  const api::Value binary = object["binaryData"];
  for (auto at = binary.begin(); at != binary.end(); ++at) {
    if (auto decoded = crypto::base64_decode((*at).string())) out[std::string(at.key())] = *std::move(decoded);
  }
  return out;
}

}  // namespace kubernel::kubelet
