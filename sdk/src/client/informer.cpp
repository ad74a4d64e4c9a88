// SPDX-License-Identifier: Apache-2.0
#include <kubernel/client/informer.h>

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <tuple>
#include <utility>

#include <kubernel/base/random.h>

#include "client/store.h"
#include "client/turns.h"

namespace kubernel::client {
namespace {

using api::Object;
using api::ObjectKey;

constexpr std::chrono::milliseconds kFirstBackOff{800};
constexpr std::chrono::milliseconds kLastBackOff{30'000};
constexpr std::chrono::milliseconds kShortWatch{1'000};
constexpr std::size_t kBatch = 512;

// One subscriber. `active` turns true when it has been given what was there before.
struct HandlerEntry {
  explicit HandlerEntry(EventHandler h) : handler(std::move(h)) {}

  void added(const Object& object) {
    const std::lock_guard lock(mutex);
    if (!cancelled && handler.added) handler.added(object);
  }
  void updated(const Object& before, const Object& after) {
    const std::lock_guard lock(mutex);
    if (!cancelled && handler.updated) handler.updated(before, after);
  }
  void deleted(const Object& last) {
    const std::lock_guard lock(mutex);
    if (!cancelled && handler.deleted) handler.deleted(last);
  }

  const EventHandler handler;
  bool active = false;  // Touched in turns only.
  std::recursive_mutex
      mutex;  // Held while a callback runs; recursive, so that a callback may end its own subscription.
  bool cancelled = false;
};

class HandlerSubscription final : public Subscription {
 public:
  explicit HandlerSubscription(std::shared_ptr<HandlerEntry> entry) : entry_(std::move(entry)) {}
  ~HandlerSubscription() override {
    const std::lock_guard lock(entry_->mutex);
    entry_->cancelled = true;
  }
  HandlerSubscription(const HandlerSubscription&) = delete;
  HandlerSubscription& operator=(const HandlerSubscription&) = delete;

 private:
  std::shared_ptr<HandlerEntry> entry_;
};

// A reflector and its cache. Everything that changes the cache or calls a handler happens in turns, one at a time; a
// turn lists, opens the watch or takes what the watch has.
class WatchedInformer final : public Informer, public std::enable_shared_from_this<WatchedInformer> {
 public:
  WatchedInformer(const InformerContext& context, ApiClient& client, api::Resource resource, InformerOptions options)
      : context_(context),
        client_(client),
        resource_(std::move(resource)),
        options_(std::move(options)),
        turns_(std::make_shared<Turns>(context.blocking, context.clock)) {}

  void start() {
    turns_->run([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->step();
    });
  }

  void stop() {
    stop_.request_stop();
    turns_->stop();
    // No turn runs any more: nobody else touches these.
    watch_.reset();
    retry_.reset();
  }

  std::unique_ptr<Subscription> add_handler(EventHandler handler) override {
    auto entry = std::make_shared<HandlerEntry>(std::move(handler));
    {
      const std::lock_guard lock(mutex_);
      handlers_.push_back(entry);
    }
    turns_->run([weak = weak_from_this(), entry] {
      const auto self = weak.lock();
      if (!self || entry->active) return;
      entry->active = true;
      for (const Object& object : self->store_.list({}, {})) entry->added(object);
    });
    return std::make_unique<HandlerSubscription>(std::move(entry));
  }

  bool has_synced() const override {
    const std::lock_guard lock(mutex_);
    return synced_;
  }

  void on_synced(std::function<void()> synced) override {
    {
      const std::lock_guard lock(mutex_);
      if (!synced_) {
        on_synced_.push_back(std::move(synced));
        return;
      }
    }
    synced();
  }

  std::optional<Object> find(const ObjectKey& key) const override { return store_.find(key); }
  std::vector<Object> list(std::string_view ns, const api::LabelSelector& selector) const override {
    return store_.list(ns, selector);
  }
  std::vector<Object> owned_by(std::string_view owner_uid) const override { return store_.by_index({}, owner_uid); }
  void add_index(std::string name, std::function<std::vector<std::string>(const Object&)> keys) override {
    store_.add_index(std::move(name), std::move(keys));
  }
  std::vector<Object> by_index(std::string_view name, std::string_view value) const override {
    return store_.by_index(name, value);
  }

 private:
  enum class State : std::uint8_t { List, OpenWatch, Watching };

  // In a turn: goes on until there is nothing to take or something failed.
  void step() {
    if (stop_.stop_requested()) return;
    if (state_ == State::List) {
      if (auto listed = list_all(); !listed) return back_off("list", listed.error());
    }
    if (state_ == State::OpenWatch) {
      if (auto opened = open_watch(); !opened) return watch_failed(opened.error());
    }
    if (auto taken = take_events(); !taken) watch_failed(taken.error());
  }

  CallContext context() const { return CallContext{stop_.get_token()}; }

  Result<void> list_all() {
    ListOptions options{options_.ns, options_.label_selector, options_.field_selector};
    // Anything the server has will do the first time: the watch brings the rest. After Expired only the newest is sure
    // to be watchable.
    options.resource_version = relist_newest_ ? "" : "0";
    std::vector<Object> items;
    std::int64_t revision = 0;
    do {
      KUBERNEL_TRY(ObjectList page, client_.list(context(), resource_, options));
      items.insert(items.end(), std::make_move_iterator(page.items.begin()), std::make_move_iterator(page.items.end()));
      revision = page.resource_version;
      options.continue_token = page.continue_token;
    } while (!options.continue_token.empty() && !stop_.stop_requested());
    replace(std::move(items));
    revision_ = revision;
    relist_newest_ = false;
    state_ = State::OpenWatch;
    mark_synced();
    return {};
  }

  // Brings the cache to what a list found, telling handlers the difference.
  void replace(std::vector<Object> items) {
    std::set<ObjectKey> present;
    for (Object& item : items) {
      present.insert(item.key());
      upsert(std::move(item));
    }
    for (const Object& old : store_.list({}, {})) {
      if (!present.contains(old.key())) erase(old);
    }
  }

  void upsert(Object object) {
    const auto before = store_.put(object);
    if (!before) {
      for (const auto& entry : active_handlers()) entry->added(object);
      return;
    }
    // Deleted and made anew between two looks: two objects, not one that changed.
    if (before->uid() != object.uid()) {
      for (const auto& entry : active_handlers()) {
        entry->deleted(*before);
        entry->added(object);
      }
      return;
    }
    if (before->head().resource_version == object.head().resource_version) return;
    for (const auto& entry : active_handlers()) entry->updated(*before, object);
  }

  void erase(const Object& last) {
    if (!store_.remove(last.key())) return;
    for (const auto& entry : active_handlers()) entry->deleted(last);
  }

  std::vector<std::shared_ptr<HandlerEntry>> active_handlers() {
    const std::lock_guard lock(mutex_);
    std::erase_if(handlers_, [](const auto& entry) {
      const std::lock_guard entry_lock(entry->mutex);
      return entry->cancelled;
    });
    std::vector<std::shared_ptr<HandlerEntry>> out;
    for (const auto& entry : handlers_) {
      if (entry->active) out.push_back(entry);
    }
    return out;
  }

  void mark_synced() {
    std::vector<std::function<void()>> waiting;
    {
      const std::lock_guard lock(mutex_);
      if (synced_) return;
      synced_ = true;
      waiting.swap(on_synced_);
    }
    for (const auto& synced : waiting) synced();
  }

  Result<void> open_watch() {
    WatchOptions options{options_.ns, options_.label_selector, options_.field_selector, revision_};
    KUBERNEL_TRY(watch_, client_.watch(context(), resource_, options));
    state_ = State::Watching;
    opened_ = context_.clock.now();
    // Called on any thread, also from inside notify(): it only asks for a turn.
    watch_->notify([weak = weak_from_this(), turns = std::weak_ptr(turns_)] {
      const auto alive = turns.lock();
      if (!alive) return;
      alive->run_once([weak] {
        if (const auto self = weak.lock()) self->step();
      });
    });
    return {};
  }

  Result<void> take_events() {
    for (;;) {
      KUBERNEL_TRY(const std::vector<WatchEvent> events, watch_->take(kBatch));
      if (events.empty()) return {};
      back_off_ = kFirstBackOff;
      for (const WatchEvent& event : events) apply(event);
      if (stop_.stop_requested()) return {};
    }
  }

  void apply(const WatchEvent& event) {
    revision_ = std::max(revision_, event.object.head().resource_version);
    switch (event.type) {
      case EventType::Added:
      case EventType::Modified: upsert(event.object); break;
      case EventType::Deleted: erase(event.object); break;
      case EventType::Bookmark: break;
    }
  }

  void watch_failed(const Error& error) {
    watch_.reset();
    state_ = State::OpenWatch;
    // The server ends watches now and then; the next one goes on. Not at once again and again, though.
    if (error.reason() == Reason::Timeout && context_.clock.now() - opened_ >= kShortWatch) return start();
    if (error.reason() == Reason::Expired || error.reason() == Reason::Gone) {
      state_ = State::List;
      relist_newest_ = true;
    }
    back_off("watch", error);
  }

  void back_off(std::string_view what, const Error& error) {
    if (stop_.stop_requested()) return;
    log_warning(context_.log, "informer lost its source, will try again",
                {{"resource", to_string(resource_)}, {"during", what}, {"error", error}});
    // Up to as much again, so that all informers of a process do not come back at once.
    const auto wait = back_off_ + std::chrono::milliseconds(
                                      random_below(context_.random, static_cast<std::uint64_t>(back_off_.count())));
    back_off_ = std::min(back_off_ * 2, kLastBackOff);
    retry_ = context_.clock.call_at(context_.clock.now() + wait, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->start();
    });
  }

  const InformerContext context_;
  ApiClient& client_;
  const api::Resource resource_;
  const InformerOptions options_;
  const std::shared_ptr<Turns> turns_;
  std::stop_source stop_;
  Store store_;

  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<HandlerEntry>> handlers_;
  std::vector<std::function<void()>> on_synced_;
  bool synced_ = false;

  // Touched in turns only.
  State state_ = State::List;
  bool relist_newest_ = false;
  std::int64_t revision_ = 0;
  std::unique_ptr<Watch> watch_;
  Clock::TimePoint opened_{};
  std::chrono::milliseconds back_off_ = kFirstBackOff;
  std::unique_ptr<Subscription> retry_;
};

class SharedFactory final : public InformerFactory {
 public:
  SharedFactory(const InformerContext& context, ApiClient& client) : context_(context), client_(client) {}
  ~SharedFactory() override { stop(); }
  SharedFactory(const SharedFactory&) = delete;
  SharedFactory& operator=(const SharedFactory&) = delete;

  std::shared_ptr<Informer> informer(const api::Resource& resource, const InformerOptions& options) override {
    const Key key{resource, options.ns, options.label_selector, options.field_selector};
    const std::lock_guard lock(mutex_);
    auto& found = informers_[key];
    if (!found) {
      found = std::make_shared<WatchedInformer>(context_, client_, resource, options);
      if (started_ && !stopped_) found->start();
    }
    return found;
  }

  void start() override {
    const std::lock_guard lock(mutex_);
    if (started_) return;
    started_ = true;
    for (const auto& [key, informer] : informers_) informer->start();
  }

  bool has_synced() const override {
    const std::lock_guard lock(mutex_);
    return std::ranges::all_of(informers_, [](const auto& entry) { return entry.second->has_synced(); });
  }

  void stop() override {
    std::vector<std::shared_ptr<WatchedInformer>> all;
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
      for (const auto& [key, informer] : informers_) all.push_back(informer);
    }
    for (const auto& informer : all) informer->stop();
  }

 private:
  using Key = std::tuple<api::Resource, std::string, std::string, std::string>;

  const InformerContext context_;
  ApiClient& client_;
  mutable std::mutex mutex_;
  std::map<Key, std::shared_ptr<WatchedInformer>> informers_;
  bool started_ = false;
  bool stopped_ = false;
};

}  // namespace

std::unique_ptr<InformerFactory> make_informer_factory(const InformerContext& context, ApiClient& client) {
  return std::make_unique<SharedFactory>(context, client);
}

}  // namespace kubernel::client
