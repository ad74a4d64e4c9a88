// SPDX-License-Identifier: Apache-2.0
//
// ResourceCache: the current objects of one resource and its recent events.
//
// All watchers read one shared ring of events, each through a cursor of its own. A slow reader costs the others
// nothing: it resumes where it stopped, or gets Expired when its place has left the ring.

#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <kubernel/api/object.h>
#include <kubernel/api/selector.h>
#include <kubernel/base/clock.h>
#include <kubernel/base/result.h>
#include <kubernel/client/client.h>

namespace kubernel::apiserver {

using Revision = std::int64_t;

/// An object and what selectors look at. The object's body stays unparsed: the cache holds text.
struct Entry {
  api::Object object;
  std::shared_ptr<const api::Document> selectable;  ///< {"labels":{...},"fields":{...}}; null when it has neither.

  explicit operator bool() const noexcept { return static_cast<bool>(object); }
};

/// The values of a kind's selectable fields beside metadata.name and metadata.namespace.
using FieldValues = std::vector<std::pair<std::string_view, std::string>>;
using FieldReader = FieldValues (*)(api::Value body);

/// Which objects a list or watch wants.
struct Filter {
  std::string ns;  ///< Empty: all.
  api::LabelSelector labels;
  api::FieldSelector fields;

  bool matches(const Entry& entry) const;
};

struct CacheOptions {
  api::GroupVersionKind kind;  ///< As stored; what bookmarks say.
  bool namespaced = false;
  FieldReader read_fields = nullptr;
  std::string indexed_field;  ///< Lists that require this field to equal a value read an index. Empty: none.
};

class Watcher;

class ResourceCache {
 public:
  /// `progress`: the revision up to which every event of every resource has been applied.
  ResourceCache(CacheOptions options, const Clock& clock, const std::atomic<Revision>& progress);
  ~ResourceCache();

  const CacheOptions& options() const noexcept { return options_; }

  /// Makes an entry from what the store holds. Errors: Internal for text that is no object.
  Result<Entry> make_entry(std::string_view stored, Revision revision) const;

  // The feeding side; one thread at a time (CacheSet's pump).
  /// Forgets everything; watchers get Expired.
  void reset(Revision revision);
  /// `key`: "namespace/name" or "name". Before the first event only.
  void load(std::string key, Entry entry);
  void put(const std::string& key, Entry entry, Revision revision);
  void remove(const std::string& key, Revision revision);
  /// Calls the watchers that have something new. Holds no lock of the cache meanwhile.
  void wake();
  /// Lets watchers that asked for bookmarks send one.
  void request_bookmarks();

  // The reading side; any thread.
  Entry find(const std::string& key) const;
  struct Snapshot {
    std::vector<api::Object> items;  ///< In key order.
    Revision revision = 0;
    bool more = false;  ///< The limit cut it; last_key says where.
    std::string last_key;
    std::int64_t remaining = 0;  ///< When cut and nothing was filtered out by a selector: how many follow.
  };
  Snapshot list(const Filter& filter, std::size_t limit) const;
  std::size_t size() const;

  struct WatchStart {
    Filter filter;
    Revision from = 0;  ///< Events after it; 0: ADDED for what exists, then events.
    bool bookmarks = false;
    bool initial_end = false;  ///< Sends the bookmark that ends the initial events (sendInitialEvents).
    bool replay = false;       ///< With `from`: initial events as for 0, from a state at least that new.
  };
  /// Errors: Expired when `from` is older than the ring.
  Result<std::shared_ptr<Watcher>> watch(WatchStart start);

 private:
  friend class Watcher;

  struct Record {
    Revision revision;
    Entry current;   // Delete: the last state, carrying the deletion's revision.
    Entry previous;  // Empty when it was created.
    bool deleted;
    Clock::TimePoint time;
  };

  void publish(Record record);
  void trim(Clock::TimePoint now);
  void index(const std::string& key, const Entry& entry, bool add);
  Revision revision_locked() const;
  void forget(Watcher* watcher);

  CacheOptions options_;
  const Clock& clock_;
  const std::atomic<Revision>& progress_;

  mutable std::shared_mutex mutex_;
  std::map<std::string, Entry, std::less<>> objects_;
  std::unordered_map<std::string, std::set<std::string, std::less<>>> by_field_;
  std::deque<Record> ring_;
  std::uint64_t ring_begin_ = 0;  // Sequence number of ring_.front().
  std::size_t capacity_;
  Revision floor_ = 0;  // Events up to it are not in the ring.
  Revision last_ = 0;
  std::uint64_t epoch_ = 0;  // Grows with reset().
  std::set<Watcher*> watchers_;

  std::mutex wake_mutex_;
  std::vector<std::weak_ptr<Watcher>> to_wake_;
};

/// One reader's cursor. Threads: one reader; notify's callback comes from the pump's thread.
class Watcher : public client::Watch, public std::enable_shared_from_this<Watcher> {
 public:
  ~Watcher() override;
  Result<std::vector<client::WatchEvent>> take(std::size_t max) override;
  void notify(std::function<void()> ready) override;

 private:
  friend class ResourceCache;
  Watcher(ResourceCache& cache, ResourceCache::WatchStart start) : cache_(cache), start_(std::move(start)) {}

  void call();
  void emit(const ResourceCache::Record& record, std::vector<client::WatchEvent>& out) const;
  api::Object bookmark(Revision revision, bool initial_end) const;

  ResourceCache& cache_;
  ResourceCache::WatchStart start_;
  std::deque<api::Object> initial_;
  bool initial_end_due_ = false;
  Revision initial_revision_ = 0;

  // Guarded by the cache's mutex.
  std::uint64_t next_ = 0;
  std::uint64_t epoch_ = 0;
  std::atomic<bool> idle_{false};  // Drained: the publisher moves the cursor past what does not match.
  std::atomic<bool> bookmark_due_{false};

  std::recursive_mutex callback_mutex_;
  std::function<void()> ready_;
};

}  // namespace kubernel::apiserver
