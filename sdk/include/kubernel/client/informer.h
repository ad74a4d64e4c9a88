// SPDX-License-Identifier: Apache-2.0
//
// Informer: a local, indexed, eventually consistent copy of one resource, kept by list and watch.
//
// Consistency (client-go's SharedInformer contract): for each object the informer passes through a subsequence of its
// states, in order, and ends at the latest; different objects may be seen at different times. It is never ahead of the
// API server and never torn.

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/api/object.h>
#include <kubernel/api/selector.h>
#include <kubernel/base/clock.h>
#include <kubernel/base/executor.h>
#include <kubernel/base/export.h>
#include <kubernel/base/log.h>
#include <kubernel/base/random.h>
#include <kubernel/client/client.h>

namespace kubernel::client {

/// Called one at a time, in order, on the blocking executor. Must be quick: usually it adds a key to a work queue. Any
/// member may be empty.
struct EventHandler {
  std::function<void(const api::Object& object)> added;
  std::function<void(const api::Object& before, const api::Object& after)> updated;
  std::function<void(const api::Object& last_known)> deleted;
};

/// Threads: all members may be called concurrently.
class KUBERNEL_EXPORT Informer {
 public:
  virtual ~Informer() = default;

  /// A handler added late first gets `added` for everything that is there.
  [[nodiscard]] virtual std::unique_ptr<Subscription> add_handler(EventHandler handler) = 0;
  /// True once the first list is in the cache.
  virtual bool has_synced() const = 0;
  /// Calls `synced` once, when has_synced() turns true, or at once.
  virtual void on_synced(std::function<void()> synced) = 0;

  virtual std::optional<api::Object> find(const api::ObjectKey& key) const = 0;
  /// In key order. `ns` empty: all.
  virtual std::vector<api::Object> list(std::string_view ns, const api::LabelSelector& selector) const = 0;
  /// Objects whose controlling owner (ownerReferences, controller: true) has `owner_uid`.
  virtual std::vector<api::Object> owned_by(std::string_view owner_uid) const = 0;

  /// Adds an index before the first event. `keys` gives the values an object is found under.
  virtual void add_index(std::string name, std::function<std::vector<std::string>(const api::Object&)> keys) = 0;
  virtual std::vector<api::Object> by_index(std::string_view name, std::string_view value) const = 0;
};

struct InformerOptions {
  std::string ns;
  std::string label_selector;
  std::string field_selector;
};

/// One informer per resource and options, shared by all who ask. start() begins the lists; informers asked for later
/// start at once.
///
/// A broken or expired watch is renewed with back-off (0.8 s to 30 s, doubled, with jitter); a list is only repeated
/// after Expired. Threads: all members may be called concurrently.
class KUBERNEL_EXPORT InformerFactory {
 public:
  static constexpr std::string_view kService = "informers";
  virtual ~InformerFactory() = default;
  virtual std::shared_ptr<Informer> informer(const api::Resource& resource, const InformerOptions& options) = 0;
  virtual void start() = 0;
  /// True when every informer asked for so far has synced.
  virtual bool has_synced() const = 0;
  /// Ends all watches; returns when no handler runs.
  virtual void stop() = 0;
};

struct InformerContext {
  Logger& log;
  Clock& clock;
  Random& random;
  Executor& blocking;
};

/// `client` outlives the factory.
[[nodiscard]] KUBERNEL_EXPORT std::unique_ptr<InformerFactory> make_informer_factory(const InformerContext& context,
                                                                                     ApiClient& client);

}  // namespace kubernel::client
