// SPDX-License-Identifier: Apache-2.0
//
// Api: the pipeline every request goes through, from HTTP or from this process:
// authorize, decode, default, mutate, validate, store. Authentication and encoding are the door's (http/,
// local_client.h).

#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include <kubernel/admission/admission.h>
#include <kubernel/api/object.h>
#include <kubernel/auth/authorizer.h>
#include <kubernel/base/clock.h>
#include <kubernel/base/context.h>
#include <kubernel/base/executor.h>
#include <kubernel/base/log.h>
#include <kubernel/base/random.h>
#include <kubernel/base/result.h>
#include <kubernel/client/client.h>
#include <kubernel/schema/codec.h>
#include <kubernel/schema/schema.h>
#include <kubernel/storage/backend.h>

#include "registry/store.h"
#include "watch_cache/cache_set.h"

namespace kubernel::apiserver {

/// Who asks, and how strict to be with what it sends.
struct Caller {
  const CallContext& ctx;
  const auth::User& user;
  schema::Strictness strictness = schema::Strictness::Ignore;
  std::vector<std::string>* warnings = nullptr;  ///< Where warnings for the client go; null: nowhere.
};

/// What a request is about. `key.name` is empty for collections.
struct Target {
  const schema::ResourceInfo* info = nullptr;
  std::string subresource;
  api::ObjectKey key;
};

/// What a client sent.
struct Body {
  enum class Form : std::uint8_t { Document, Json, Protobuf };
  Form form = Form::Document;
  const json* document = nullptr;  ///< Form::Document.
  std::string_view bytes;          ///< The others.
  bool patched = false;            ///< Made by a patch: errors name no kind.
};

struct Selectors {
  std::string labels;
  std::string fields;
};

/// A resource (or subresource) that is computed, not stored: reviews, tokens, component statuses. It has the verbs that
/// the schema gives it, and one that it does not override is refused with MethodNotAllowed.
///
/// Threads: all members may be called concurrently.
class VirtualResource {
 public:
  virtual ~VirtualResource() = default;
  /// `document`: decoded, with defaults; apiVersion and kind set. Returns the answer of the same kind.
  virtual Result<json> create(const Caller& caller, const Target& target, json document);
  /// All objects; a get picks one by its name.
  virtual Result<std::vector<api::Object>> list(const Caller& caller, const Target& target);
};

struct ApiContext {
  storage::Backend& backend;
  Clock& clock;
  Random& random;
  Executor& blocking;
  Logger& log;
  std::string service_cidr = "10.96.0.0/12";
  std::chrono::seconds event_ttl = std::chrono::hours(1);
};

/// Threads: all members may be called concurrently after start().
class Api {
 public:
  explicit Api(const ApiContext& context);
  ~Api();
  Api(const Api&) = delete;
  Api& operator=(const Api&) = delete;

  // Before start().
  void set_authorizer(std::shared_ptr<auth::Authorizer> authorizer) { authorizer_ = std::move(authorizer); }
  void add_admission(std::unique_ptr<admission::Admission> admission) { admission_.push_back(std::move(admission)); }
  /// `subresource` empty: the resource itself.
  void serve_virtual(std::string group, std::string plural, std::string subresource,
                     std::shared_ptr<VirtualResource> resource);

  /// Fills the caches.
  Result<void> start(const CallContext& ctx);
  void stop();

  /// The served resource; null when there is none.
  const schema::ResourceInfo* find(std::string_view group, std::string_view version, std::string_view plural) const;
  /// All that is served, in discovery order.
  const std::vector<const schema::ResourceInfo*>& served() const noexcept { return served_; }
  /// Whether a request for it is answered; `subresource` empty: for the resource itself.
  bool offers(const schema::ResourceInfo& info, std::string_view subresource) const;
  /// A subresource that the door serves by itself (pods/log); before the first request.
  void add_connect(std::string plural, std::string subresource) {
    connects_.emplace(std::move(plural), std::move(subresource));
  }
  /// Null for virtual resources.
  const Store* store(const schema::ResourceInfo& info) const;
  CacheSet& caches() noexcept { return caches_; }
  const ApiContext& context() const noexcept { return context_; }

  Result<api::Object> get(const Caller& caller, const Target& target, std::string_view resource_version) const;
  Result<ListResult> list(const Caller& caller, const Target& target, const Selectors& selectors,
                          ListQuery query) const;
  Result<std::shared_ptr<Watcher>> watch(const Caller& caller, const Target& target, const Selectors& selectors,
                                         WatchQuery query) const;

  Result<api::Object> create(const Caller& caller, const Target& target, const Body& body, bool dry_run) const;
  Result<Updated> update(const Caller& caller, const Target& target, const Body& body, bool dry_run) const;
  Result<Updated> patch(const Caller& caller, const Target& target, client::PatchType type, const json& patch,
                        bool dry_run) const;
  Result<Removed> remove(const Caller& caller, const Target& target, const client::DeleteOptions& options) const;
  /// Returns what was there.
  Result<ListResult> remove_all(const Caller& caller, const Target& target, const Selectors& selectors, ListQuery query,
                                const client::DeleteOptions& options) const;

  /// Errors: Forbidden with upstream's message.
  Result<void> authorize(const Caller& caller, std::string_view verb, const Target& target,
                         const Selectors& selectors) const;
  Result<void> authorize_path(const Caller& caller, std::string_view verb, std::string_view path) const;
  const std::shared_ptr<auth::Authorizer>& authorizer() const noexcept { return authorizer_; }

 private:
  using VirtualKey = std::tuple<std::string, std::string, std::string>;

  Result<void> ask(const Caller& caller, const auth::Attributes& attributes,
                   const std::function<Error(std::string)>& refuse) const;
  Result<const Store*> store_for(const Target& target, std::string_view verb) const;
  VirtualResource* find_virtual(const Target& target) const;
  /// `fields`: what can be selected beside name and namespace.
  Result<Filter> make_filter(const Target& target, const std::vector<std::string>& fields,
                             const Selectors& selectors) const;

  Result<json> decode(const Caller& caller, const schema::Type& type, const api::GroupVersionKind& gvk,
                      const Body& body) const;
  Result<void> check_names(const Target& target, json& document) const;
  WriteHooks hooks(const Caller& caller, const Target& target, admission::Operation operation, bool dry_run) const;

  /// Admission of a deletion. Lifetime: `caller` outlives it.
  std::function<Result<void>(const api::Object& current)> deletion_hook(const Caller& caller, const Target& target,
                                                                        bool dry_run) const;

  using Wish = std::function<Result<json>(const json& current)>;
  Result<Updated> update_object(const Caller& caller, const Target& target, const Wish& wish,
                                std::function<Result<json>()> created, bool dry_run) const;
  Result<Updated> update_scale(const Caller& caller, const Target& target, const Wish& wish, bool dry_run) const;
  Result<api::Object> bind_pod(const Caller& caller, const Target& target, const json& binding, bool dry_run) const;
  Result<api::Object> evict_pod(const Caller& caller, const Target& target, const json& eviction, bool dry_run) const;
  Result<void> use_disruption_budget(const Caller& caller, const api::Object& pod, bool dry_run) const;

  ApiContext context_;
  CacheSet caches_;
  LeasePool expiry_;
  std::vector<const schema::ResourceInfo*> served_;
  std::map<const schema::ResourceInfo*, std::unique_ptr<Store>> stores_;
  std::map<VirtualKey, std::shared_ptr<VirtualResource>> virtual_;
  std::set<std::pair<std::string, std::string>> connects_;
  std::shared_ptr<auth::Authorizer> authorizer_;
  std::vector<std::unique_ptr<admission::Admission>> admission_;
};

/// The type a request to `target` carries: the resource's own, or the subresource's ("autoscaling/v1 Scale").
struct WireType {
  const schema::Type* type = nullptr;
  api::GroupVersionKind gvk;
};
WireType wire_type(const Target& target);

/// What pods/ephemeralcontainers makes of `pod` when a client sends `wanted`: only spec.ephemeralContainers may differ,
/// and only by new ones. Errors: Invalid.
Result<json> add_ephemeral_containers(const schema::ResourceInfo& pods, const json& pod, const json& wanted);
/// What pods/resize makes of `pod`: the resources of its containers may differ, within what a running pod can take.
/// Errors: Invalid.
Result<json> resize_pod(const schema::ResourceInfo& pods, const json& pod, const json& wanted);

/// The Scale of a workload. Errors: Internal when the kind has none.
json make_scale(const json& workload);

}  // namespace kubernel::apiserver
