// SPDX-License-Identifier: Apache-2.0
//
// Deletes: grace periods, finalizers, propagation.
#include <algorithm>
#include <chrono>
#include <utility>

#include <kubernel/api/time.h>

#include "registry/store.h"

namespace kubernel::apiserver {

namespace {

constexpr const char* kOrphan = "orphan";
constexpr const char* kForeground = "foregroundDeletion";

bool has_finalizer(const json& document, const char* name) {
  const json& all = member(document, {"metadata", "finalizers"});
  return all.is_array() && std::find(all.begin(), all.end(), name) != all.end();
}

// What the garbage collector is to do is written down as a finalizer it will remove.
void set_propagation(json& document, client::Propagation asked, client::Propagation by_default) {
  if (asked == client::Propagation::Default) {
    if (has_finalizer(document, kOrphan) || has_finalizer(document, kForeground)) return;
    asked = by_default;
  }
  json& finalizers = make_member(document, {"metadata", "finalizers"});
  if (!finalizers.is_array()) finalizers = json::array();
  json kept = json::array();
  for (const json& one : finalizers) {
    if (one != kOrphan && one != kForeground) kept.push_back(one);
  }
  if (asked == client::Propagation::Orphan) kept.push_back(kOrphan);
  if (asked == client::Propagation::Foreground) kept.push_back(kForeground);
  if (kept.empty()) {
    erase_member(document, {"metadata"}, "finalizers");
  } else {
    finalizers = std::move(kept);
  }
}

void mark(json& document, api::WallTime when, std::int64_t grace) {
  json& meta = document["metadata"];
  meta["deletionTimestamp"] = api::format_time(when);
  meta["deletionGracePeriodSeconds"] = grace;
}

Result<void> check_preconditions(const schema::ResourceInfo& info, const json& document,
                                 const client::DeleteOptions& options) {
  const std::string name = text(document, {"metadata", "name"});
  const std::string uid = text(document, {"metadata", "uid"});
  if (!options.precondition_uid.empty() && options.precondition_uid != uid) {
    return conflict(
        info, name,
        "Precondition failed: UID in precondition: " + options.precondition_uid + ", UID in object meta: " + uid);
  }
  const std::string version = text(document, {"metadata", "resourceVersion"});
  if (!options.precondition_resource_version.empty() && options.precondition_resource_version != version) {
    return conflict(info, name,
                    "Precondition failed: ResourceVersion in precondition: " + options.precondition_resource_version +
                        ", ResourceVersion in object meta: " + version);
  }
  return {};
}

}  // namespace

Result<std::optional<Removed>> Store::try_remove(const CallContext& ctx, const DeleteRequest& request,
                                                 const api::Object& current, Revision modified,
                                                 std::optional<storage::KeyValue>& winner) const {
  const json old = current.to_json();
  KUBERNEL_CHECK_OK(check_preconditions(info_, old, request.options));
  if (request.validate) KUBERNEL_CHECK_OK(request.validate(current));

  json document = old;
  set_propagation(document, request.options.propagation, strategy_->traits().default_propagation);
  const bool deleting = old["metadata"].contains("deletionTimestamp");
  const std::optional<std::int64_t> asked = request.options.grace_period_seconds;
  std::int64_t grace = 0;
  if (deleting) {
    // A deletion under way may only be made faster.
    const std::int64_t period = number(old, {"metadata", "deletionGracePeriodSeconds"});
    grace = asked ? std::min(std::max<std::int64_t>(*asked, 0), period) : period;
    if (grace < period) {
      const auto due = api::parse_time(text(old, {"metadata", "deletionTimestamp"}));
      mark(document, (due ? *due : context_.clock.wall_now()) - std::chrono::seconds(period - grace), grace);
    }
  } else {
    grace = strategy_->grace_seconds(old, asked);
  }

  const std::string key = storage_key({current.ns(), current.name()});
  const bool held = strategy_->held(document) || !member(document, {"metadata", "finalizers"}).empty();
  if (grace == 0 && !held) {
    if (request.options.dry_run) return std::optional(Removed{current, true});
    KUBERNEL_TRY(storage::CasResult done, context_.backend.remove(ctx, key, modified));
    if (!done.applied) {
      winner = std::move(done.current);
      return std::optional<Removed>();
    }
    strategy_->release(ctx, old, nullptr);
    return std::optional(Removed{current, true});
  }
  if (!deleting) {
    mark(document, context_.clock.wall_now() + std::chrono::seconds(grace), grace);
    strategy_->mark_deleting(document);
    const std::int64_t generation = number(old, {"metadata", "generation"});
    if (generation > 0) document["metadata"]["generation"] = generation + 1;
  }
  if (document == old) return std::optional(Removed{current, false});
  const std::string stored = encode(document);
  if (request.options.dry_run) {
    KUBERNEL_TRY(api::Object result, make_object(stored, modified));
    return std::optional(Removed{std::move(result), false});
  }
  KUBERNEL_TRY(storage::CasResult done, put(ctx, key, stored, modified));
  if (!done.applied) {
    winner = std::move(done.current);
    return std::optional<Removed>();
  }
  KUBERNEL_TRY(api::Object result, make_object(stored, done.revision));
  return std::optional(Removed{std::move(result), false});
}

Result<Removed> Store::remove(const CallContext& ctx, const DeleteRequest& request) const {
  KUBERNEL_TRY(std::optional<storage::KeyValue> kv, context_.backend.get(ctx, storage_key(request.key), 0));
  for (;;) {
    if (ctx.stopping()) return Error(Reason::Cancelled, "request was cancelled");
    if (!kv) return not_found(info_, request.key.name);
    KUBERNEL_TRY(const api::Object current, make_object(kv->value, kv->modified));
    std::optional<storage::KeyValue> winner;
    KUBERNEL_TRY(std::optional<Removed> removed, try_remove(ctx, request, current, kv->modified, winner));
    if (removed) return *std::move(removed);
    kv = std::move(winner);
  }
}

}  // namespace kubernel::apiserver
