// SPDX-License-Identifier: Apache-2.0
#include "watch_cache/resource_cache.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

#include "watch_cache/splice.h"

namespace kubernel::apiserver {

namespace {

constexpr std::size_t kMinCapacity = 100;
constexpr std::size_t kMaxCapacity = 16'384;
// A reader that is slower than this loses its place once the ring has been used up; upstream's figure.
constexpr auto kFreshFor = std::chrono::seconds(75);

std::string_view field_of(const Entry& entry, std::string_view field) {
  if (field == "metadata.name") return entry.object.name();
  if (field == "metadata.namespace") return entry.object.ns();
  if (!entry.selectable) return {};
  return entry.selectable->root()["fields"][field].string();
}

Error expired(Revision from, Revision floor) {
  return Error(Reason::Expired,
               "too old resource version: " + std::to_string(from) + " (" + std::to_string(floor) + ")");
}

}  // namespace

bool Filter::matches(const Entry& entry) const {
  if (!ns.empty() && entry.object.ns() != ns) return false;
  if (!fields.terms().empty() &&
      !fields.matches([&](std::string_view field) { return std::string(field_of(entry, field)); })) {
    return false;
  }
  if (labels.matches_everything()) return true;
  return labels.matches(entry.selectable ? entry.selectable->root()["labels"] : api::Value());
}

ResourceCache::ResourceCache(CacheOptions options, const Clock& clock, const std::atomic<Revision>& progress)
    : options_(std::move(options)), clock_(clock), progress_(progress), capacity_(kMinCapacity) {}

ResourceCache::~ResourceCache() = default;

Result<Entry> ResourceCache::make_entry(std::string_view stored, Revision revision) const {
  KUBERNEL_TRY(std::string text, with_resource_version(stored, revision));
  Entry entry;
  nlohmann::json selectable;
  const auto select = [&](const api::Value& body) {
    const api::Value labels = body["metadata"]["labels"];
    if (!labels.empty()) selectable["labels"] = labels.to_json();
    const FieldValues fields = options_.read_fields != nullptr ? options_.read_fields(body) : FieldValues();
    for (const auto& [name, value] : fields) selectable["fields"][std::string(name)] = value;
  };
  KUBERNEL_TRY(entry.object, api::Object::parse(std::move(text), select));
  if (selectable.is_null()) return entry;
  KUBERNEL_TRY(entry.selectable, api::Document::parse(selectable.dump()));
  return entry;
}

void ResourceCache::reset(Revision revision) {
  const std::unique_lock lock(mutex_);
  objects_.clear();
  by_field_.clear();
  ring_begin_ += ring_.size();
  ring_.clear();
  floor_ = last_ = revision;
  ++epoch_;
  const std::lock_guard wake_lock(wake_mutex_);
  for (Watcher* watcher : watchers_) to_wake_.push_back(watcher->weak_from_this());
}

void ResourceCache::load(std::string key, Entry entry) {
  const std::unique_lock lock(mutex_);
  index(key, entry, true);
  objects_.insert_or_assign(std::move(key), std::move(entry));
}

void ResourceCache::put(const std::string& key, Entry entry, Revision revision) {
  const std::unique_lock lock(mutex_);
  Record record{revision, entry, {}, false, clock_.now()};
  const auto [place, added] = objects_.try_emplace(key);
  if (!added) {
    index(key, place->second, false);
    record.previous = std::move(place->second);
  }
  index(key, entry, true);
  place->second = std::move(entry);
  publish(std::move(record));
}

void ResourceCache::remove(const std::string& key, Revision revision) {
  const std::unique_lock lock(mutex_);
  const auto place = objects_.find(key);
  if (place == objects_.end()) {
    last_ = revision;
    return;
  }
  index(key, place->second, false);
  Record record{revision, place->second, std::move(place->second), true, clock_.now()};
  objects_.erase(place);
  // What watchers are told carries the revision of the deletion, so that they can go on from it.
  if (auto text = with_resource_version(record.previous.object.json(), revision)) {
    if (auto object = api::Object::parse(*std::move(text))) record.current.object = *std::move(object);
  }
  publish(std::move(record));
}

void ResourceCache::publish(Record record) {
  last_ = record.revision;
  const Clock::TimePoint now = record.time;
  ring_.push_back(std::move(record));
  const Record& stored = ring_.back();
  const std::uint64_t end = ring_begin_ + ring_.size();
  for (Watcher* watcher : watchers_) {
    if (!watcher->idle_.load(std::memory_order_relaxed)) continue;
    const Filter& filter = watcher->start_.filter;
    if (filter.matches(stored.current) || (stored.previous && filter.matches(stored.previous))) {
      watcher->idle_.store(false, std::memory_order_relaxed);
      const std::lock_guard lock(wake_mutex_);
      to_wake_.push_back(watcher->weak_from_this());
    } else {
      // So a quiet watcher never falls out of the ring because of events it does not want.
      watcher->next_ = end;
    }
  }
  trim(now);
}

void ResourceCache::trim(Clock::TimePoint now) {
  while (ring_.size() > capacity_) {
    if (now - ring_.front().time < kFreshFor && capacity_ < kMaxCapacity) {
      capacity_ *= 2;
      continue;
    }
    floor_ = ring_.front().revision;
    ring_.pop_front();
    ++ring_begin_;
  }
}

void ResourceCache::index(const std::string& key, const Entry& entry, bool add) {
  if (options_.indexed_field.empty()) return;
  const std::string value(field_of(entry, options_.indexed_field));
  if (add) {
    by_field_[value].insert(key);
    return;
  }
  const auto place = by_field_.find(value);
  if (place == by_field_.end()) return;
  place->second.erase(key);
  if (place->second.empty()) by_field_.erase(place);
}

void ResourceCache::wake() {
  std::vector<std::weak_ptr<Watcher>> waiting;
  {
    const std::lock_guard lock(wake_mutex_);
    waiting.swap(to_wake_);
  }
  for (const auto& weak : waiting) {
    if (const auto watcher = weak.lock()) watcher->call();
  }
}

void ResourceCache::request_bookmarks() {
  {
    const std::shared_lock lock(mutex_);
    const std::lock_guard wake_lock(wake_mutex_);
    for (Watcher* watcher : watchers_) {
      if (!watcher->start_.bookmarks) continue;
      watcher->bookmark_due_.store(true);
      if (watcher->idle_.load()) to_wake_.push_back(watcher->weak_from_this());
    }
  }
  wake();
}

Entry ResourceCache::find(const std::string& key) const {
  const std::shared_lock lock(mutex_);
  const auto place = objects_.find(key);
  return place == objects_.end() ? Entry() : place->second;
}

std::size_t ResourceCache::size() const {
  const std::shared_lock lock(mutex_);
  return objects_.size();
}

Revision ResourceCache::revision_locked() const {
  // Every event of this resource up to either has been applied, and none after the larger.
  return std::max(last_, progress_.load(std::memory_order_acquire));
}

ResourceCache::Snapshot ResourceCache::list(const Filter& filter, std::size_t limit) const {
  Snapshot out;
  const bool selects = !filter.labels.matches_everything() || !filter.fields.terms().empty();
  const std::shared_lock lock(mutex_);
  out.revision = revision_locked();

  const auto visit = [&](const std::string& key, const Entry& entry) {
    if (selects && !filter.matches(entry)) return;
    if (limit != 0 && out.items.size() == limit) {
      out.more = true;
      ++out.remaining;
      return;
    }
    out.items.push_back(entry.object);
    out.last_key = key;
  };

  const auto exact = options_.indexed_field.empty() ? std::nullopt : filter.fields.exact(options_.indexed_field);
  if (exact) {
    const auto keys = by_field_.find(*exact);
    if (keys == by_field_.end()) return out;
    for (const std::string& key : keys->second) visit(key, objects_.find(key)->second);
    return out;
  }
  const std::string prefix = options_.namespaced && !filter.ns.empty() ? filter.ns + "/" : "";
  const auto name = filter.fields.exact("metadata.name");
  if (name && (!options_.namespaced || !prefix.empty())) {
    if (const auto place = objects_.find(prefix + *name); place != objects_.end()) visit(place->first, place->second);
    return out;
  }
  for (auto it = objects_.lower_bound(prefix); it != objects_.end() && it->first.starts_with(prefix); ++it) {
    visit(it->first, it->second);
    if (out.more && selects) break;  // How many remain is only told of unfiltered lists.
  }
  return out;
}

Result<std::shared_ptr<Watcher>> ResourceCache::watch(WatchStart start) {
  std::shared_ptr<Watcher> watcher(new Watcher(*this, std::move(start)));
  const ResourceCache::WatchStart& wanted = watcher->start_;
  const bool from_state = wanted.from == 0 || wanted.replay;
  if (from_state) {
    Snapshot snapshot = list(wanted.filter, 0);
    watcher->initial_.assign(std::make_move_iterator(snapshot.items.begin()),
                             std::make_move_iterator(snapshot.items.end()));
    watcher->initial_revision_ = snapshot.revision;
    watcher->initial_end_due_ = wanted.initial_end;
  }
  const Revision from = from_state ? watcher->initial_revision_ : wanted.from;
  const std::unique_lock lock(mutex_);
  if (from < floor_) return expired(from, floor_);
  const auto first = std::upper_bound(ring_.begin(), ring_.end(), from, [](Revision revision, const Record& record) {
    return revision < record.revision;
  });
  watcher->next_ = ring_begin_ + static_cast<std::uint64_t>(first - ring_.begin());
  watcher->epoch_ = epoch_;
  watchers_.insert(watcher.get());
  return watcher;
}

void ResourceCache::forget(Watcher* watcher) {
  const std::unique_lock lock(mutex_);
  watchers_.erase(watcher);
}

Watcher::~Watcher() {
  notify({});
  cache_.forget(this);
}

Result<std::vector<client::WatchEvent>> Watcher::take(std::size_t max) {
  std::vector<client::WatchEvent> out;
  while (!initial_.empty() && out.size() < max) {
    out.push_back({client::EventType::Added, std::move(initial_.front())});
    initial_.pop_front();
  }
  if (!initial_.empty()) return out;
  if (initial_end_due_ && out.size() < max) {
    initial_end_due_ = false;
    out.push_back({client::EventType::Bookmark, bookmark(initial_revision_, true)});
  }
  const std::shared_lock lock(cache_.mutex_);
  if (epoch_ != cache_.epoch_ || next_ < cache_.ring_begin_) {
    if (!out.empty()) return out;
    return Error(Reason::Expired, "too old resource version: the watch fell behind");
  }
  const std::uint64_t end = cache_.ring_begin_ + cache_.ring_.size();
  for (; next_ < end && out.size() < max; ++next_) emit(cache_.ring_[next_ - cache_.ring_begin_], out);
  if (next_ < end) return out;
  if (start_.bookmarks && out.size() < max && bookmark_due_.exchange(false)) {
    out.push_back({client::EventType::Bookmark, bookmark(cache_.revision_locked(), false)});
  }
  idle_.store(true);
  return out;
}

void Watcher::emit(const ResourceCache::Record& record, std::vector<client::WatchEvent>& out) const {
  // A change of what a selector looks at makes an object appear or disappear for this watcher.
  const bool before = record.previous && start_.filter.matches(record.previous);
  const bool after = !record.deleted && start_.filter.matches(record.current);
  if (after) {
    out.push_back({before ? client::EventType::Modified : client::EventType::Added, record.current.object});
  } else if (before && record.deleted) {
    out.push_back({client::EventType::Deleted, record.current.object});
  } else if (before) {
    // The watcher is told the state it knew, at the revision at which it left.
    auto text = with_resource_version(record.previous.object.json(), record.revision);
    auto object = text ? api::Object::parse(*std::move(text)) : Result<api::Object>(record.current.object);
    out.push_back({client::EventType::Deleted, object ? *std::move(object) : record.current.object});
  }
}

api::Object Watcher::bookmark(Revision revision, bool initial_end) const {
  nlohmann::json document = {{"kind", cache_.options_.kind.kind},
                             {"apiVersion", cache_.options_.kind.api_version()},
                             {"metadata", {{"resourceVersion", std::to_string(revision)}}}};
  if (initial_end) document["metadata"]["annotations"] = {{"k8s.io/initial-events-end", "true"}};
  auto object = api::Object::from_json(document);
  return object ? *std::move(object) : api::Object();
}

void Watcher::notify(std::function<void()> ready) {
  const std::lock_guard lock(callback_mutex_);
  ready_ = std::move(ready);
  if (!ready_) return;
  bool pending = !initial_.empty() || initial_end_due_ || bookmark_due_.load();
  {
    const std::shared_lock cache_lock(cache_.mutex_);
    pending = pending || epoch_ != cache_.epoch_ || next_ < cache_.ring_begin_ + cache_.ring_.size();
    if (!pending) idle_.store(true);
  }
  if (pending) call();
}

void Watcher::call() {
  const std::lock_guard lock(callback_mutex_);
  const auto ready = ready_;
  if (ready) ready();
}

}  // namespace kubernel::apiserver
