// SPDX-License-Identifier: Apache-2.0
//
// Creates and updates.
#include <utility>

#include <kubernel/api/time.h>
#include <kubernel/schema/codec.h>

#include "registry/store.h"
#include "watch_cache/splice.h"

namespace kubernel::apiserver {

namespace {

constexpr int kNameAttempts = 8;        // As upstream: a collision of generated names is tried again this often.
constexpr std::size_t kMaxPrefix = 58;  // 63 less the five characters that are added.

// Runs `undo` unless release() was called: what was reserved for a write that did not happen is given back.
class Reservation {
 public:
  explicit Reservation(Undo undo) : undo_(std::move(undo)) {}
  Reservation(const Reservation&) = delete;
  Reservation& operator=(const Reservation&) = delete;
  ~Reservation() {
    if (undo_) undo_();
  }
  void keep() { undo_ = {}; }

 private:
  Undo undo_;
};

}  // namespace

Result<api::Object> Store::create(const CallContext& ctx, const api::ObjectKey& parent, json document,
                                  const WriteHooks& hooks, bool dry_run) const {
  if (!text(document, {"metadata", "resourceVersion"}).empty()) {
    return bad_request("resourceVersion should not be set on objects to be created");
  }
  json& meta = make_member(document, {"metadata"});
  for (const char* field :
       {"resourceVersion", "selfLink", "managedFields", "deletionTimestamp", "deletionGracePeriodSeconds"}) {
    meta.erase(field);
  }
  if (info_.namespaced) meta["namespace"] = parent.ns;
  meta["uid"] = random_uuid(context_.random);
  meta["creationTimestamp"] = api::format_time(context_.clock.wall_now());

  const bool generate =
      text(document, {"metadata", "name"}).empty() && !text(document, {"metadata", "generateName"}).empty();
  if (!generate) return create_once(ctx, std::move(document), hooks, dry_run);
  const std::string prefix = text(document, {"metadata", "generateName"}).substr(0, kMaxPrefix);
  for (int attempt = 1;; ++attempt) {
    document["metadata"]["name"] = prefix + random_suffix(context_.random, 5);
    auto created = create_once(ctx, document, hooks, dry_run);
    if (created || created.error().reason() != Reason::AlreadyExists || attempt == kNameAttempts) return created;
  }
}

Result<api::Object> Store::create_once(const CallContext& ctx, json document, const WriteHooks& hooks,
                                       bool dry_run) const {
  if (hooks.mutate) KUBERNEL_CHECK_OK(hooks.mutate(document, nullptr));
  strategy_->prepare_create(document);
  const std::string name = text(document, {"metadata", "name"});

  Causes causes;
  validate_meta(document, info_.namespaced, strategy_->traits().name_rule, causes);
  schema::validate(*info_.type, document, causes);
  strategy_->validate(document, causes);
  strategy_->validate_create(document, causes);
  if (!causes.empty()) {
    validation::arrange(*info_.type, causes);
    return invalid(info_, name, std::move(causes));
  }

  KUBERNEL_TRY(Undo undo, strategy_->reserve(ctx, document, nullptr, dry_run));
  Reservation reservation(std::move(undo));
  if (hooks.validate) KUBERNEL_CHECK_OK(hooks.validate(document, nullptr));

  const api::ObjectKey key{text(document, {"metadata", "namespace"}), name};
  const std::string stored = encode(document);
  if (dry_run) {
    KUBERNEL_TRY(const auto there, context_.backend.get(ctx, storage_key(key), 0));
    if (there) return already_exists(info_, name);
    return api::Object::parse(stored);
  }
  KUBERNEL_TRY(const storage::CasResult written, put(ctx, storage_key(key), stored, 0));
  if (!written.applied) return already_exists(info_, name);
  reservation.keep();
  return make_object(stored, written.revision);
}

Result<void> Store::keep_metadata(json& document, const json& old) const {
  json& meta = make_member(document, {"metadata"});
  const json& before = member(old, {"metadata"});
  const std::string name = text(before, {"name"});
  const std::string version = text(meta, {"resourceVersion"});
  if (!version.empty() && version != "0" && version != text(before, {"resourceVersion"})) {
    return conflict(info_, name, kModified);
  }
  if ((version.empty() || version == "0") && !strategy_->traits().unconditional_update) {
    return invalid(info_, name, {invalid_value("metadata.resourceVersion", "0", "must be specified for an update")});
  }
  const std::string uid = text(meta, {"uid"});
  if (!uid.empty() && uid != text(before, {"uid"})) {
    return conflict(
        info_, name,
        "Precondition failed: UID in precondition: " + uid + ", UID in object meta: " + text(before, {"uid"}));
  }
  // Clients may leave these out; they cannot change them.
  copy_member(meta, before, "uid");
  copy_member(meta, before, "resourceVersion");
  if (text(meta, {"creationTimestamp"}).empty()) copy_member(meta, before, "creationTimestamp");
  if (before.contains("deletionTimestamp")) {
    copy_member(meta, before, "deletionTimestamp");
    copy_member(meta, before, "deletionGracePeriodSeconds");
  }
  meta.erase("selfLink");
  meta.erase("managedFields");
  return {};
}

Result<void> Store::check_update(const json& document, const json& old, Part part) const {
  Causes causes;
  validate_meta(document, info_.namespaced, strategy_->traits().name_rule, causes);
  validate_meta_update(document, old, causes);
  // A write of the status, or by a controller's subresource, is not refused for a spec that was legal when it was
  // written.
  if (part == Part::Object) {
    schema::validate(*info_.type, document, causes);
    strategy_->validate(document, causes);
    strategy_->validate_update(document, old, causes);
  } else if (part == Part::Status) {
    strategy_->validate_status(document, old, causes);
  }
  if (!causes.empty()) {
    validation::arrange(*info_.type, causes);
    return invalid(info_, text(old, {"metadata", "name"}), std::move(causes));
  }
  return {};
}

Result<json> Store::prepare_update(const UpdateRequest& request, const api::Object& current, const json& old) const {
  KUBERNEL_TRY(json document, request.desired(current));
  KUBERNEL_CHECK_OK(keep_metadata(document, old));
  if (request.hooks.mutate) KUBERNEL_CHECK_OK(request.hooks.mutate(document, &current));
  if (request.part == Part::Object) strategy_->prepare_update(document, old);
  if (request.part == Part::Status) strategy_->prepare_status(document, old);
  return document;
}

// A deleting object goes with the last thing that held it.
bool Store::may_be_removed(const json& document, const json& old) const {
  return old["metadata"].contains("deletionTimestamp") && member(document, {"metadata", "finalizers"}).empty() &&
         number(old, {"metadata", "deletionGracePeriodSeconds"}) == 0 && !strategy_->held(document);
}

Result<Store::Current> Store::current_of(const std::optional<storage::KeyValue>& kv) const {
  Current current{.fresh = true};
  if (!kv) return current;
  KUBERNEL_TRY(current.object, make_object(kv->value, kv->modified));
  current.revision = kv->modified;
  return current;
}

Result<Store::Current> Store::stored(const CallContext& ctx, const api::ObjectKey& key) const {
  KUBERNEL_TRY(const auto kv, context_.backend.get(ctx, storage_key(key), 0));
  return current_of(kv);
}

// What the cache has, which is nearly always what the store has, and costs no read of it.
Result<Store::Current> Store::cached(const CallContext& ctx, const api::ObjectKey& key) const {
  const Entry entry = cache_.find(cache_key(key));
  if (!entry) return stored(ctx, key);
  return Current{entry.object.copy(), entry.object.head().resource_version, false};
}

Result<Store::Attempt> Store::try_update(const CallContext& ctx, const UpdateRequest& request,
                                         const Current& current) const {
  const json old = current.object.to_json();
  KUBERNEL_TRY(json document, prepare_update(request, current.object, old));
  KUBERNEL_CHECK_OK(check_update(document, old, request.part));
  KUBERNEL_TRY(Undo undo, strategy_->reserve(ctx, document, &old, request.dry_run));
  Reservation reservation(std::move(undo));
  if (request.hooks.validate) KUBERNEL_CHECK_OK(request.hooks.validate(document, &current.object));

  const std::string text = encode(document);
  KUBERNEL_TRY(std::string same, with_resource_version(text, current.revision));
  const bool removes = may_be_removed(document, old);
  Attempt attempt;
  if (request.dry_run || (!removes && same == current.object.json())) {
    KUBERNEL_TRY(attempt.result.object, api::Object::parse(std::move(same)));
    return attempt;
  }
  const std::string key = storage_key(request.key);
  KUBERNEL_TRY(storage::CasResult done,
               removes ? context_.backend.remove(ctx, key, current.revision) : put(ctx, key, text, current.revision));
  if (!done.applied) {
    attempt.lost = true;
    attempt.winner = std::move(done.current);
    return attempt;
  }
  reservation.keep();
  strategy_->release(ctx, old, removes ? nullptr : &document);
  attempt.written = true;
  KUBERNEL_TRY(attempt.result.object, make_object(text, done.revision));
  return attempt;
}

Result<Updated> Store::update(const CallContext& ctx, const UpdateRequest& request) const {
  KUBERNEL_TRY(Current current, cached(ctx, request.key));
  for (;;) {
    if (ctx.stopping()) return Error(Reason::Cancelled, "request was cancelled");
    if (!current.object) {
      if (!request.created || !strategy_->traits().create_on_update) return not_found(info_, request.key.name);
      KUBERNEL_TRY(json document, request.created());
      KUBERNEL_TRY(api::Object made, create(ctx, request.key, std::move(document), request.hooks, request.dry_run));
      return Updated{std::move(made), true};
    }
    auto attempt = try_update(ctx, request, current);
    if (attempt && attempt->lost) {
      KUBERNEL_TRY(current, current_of(attempt->winner));
      continue;
    }
    if (!current.fresh && !(attempt && attempt->written)) {
      // Refused, or nothing to do: that must not come from a cache that is behind.
      const Revision judged = current.revision;
      KUBERNEL_TRY(current, stored(ctx, request.key));
      if (!current.object || current.revision != judged) continue;
    }
    if (!attempt) return std::move(attempt).error();
    return std::move(attempt->result);
  }
}

}  // namespace kubernel::apiserver
