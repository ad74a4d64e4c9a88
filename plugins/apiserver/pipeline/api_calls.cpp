// SPDX-License-Identifier: Apache-2.0
//
// The verbs. Subresources with rules of their own: subresources.cpp.
#include <algorithm>
#include <utility>

#include <kubernel/schema/patch.h>

#include "pipeline/api.h"
#include "pipeline/conversion.h"
#include "registry/errors.h"

namespace kubernel::apiserver {

namespace {

Error no_namespace() {
  return bad_request("an empty namespace may not be set during creation");
}

// What a client sends, in the version that is stored; and what is stored, in the version it speaks.
void to_stored(const Target& target, json& document) {
  const Conversion* conversion = find_conversion(*target.info);
  if (conversion != nullptr && target.subresource != "scale") conversion->to_stored(document);
}

json as_served(const Target& target, const api::Object& object) {
  json document = object.to_json();
  if (const Conversion* conversion = find_conversion(*target.info)) conversion->from_stored(document);
  return document;
}

Result<Updated> convert_out(const Target& target, Result<Updated> updated) {
  if (!updated) return updated;
  KUBERNEL_TRY(updated->object, apiserver::convert_out(*target.info, updated->object));
  return updated;
}

Result<ListResult> convert_out(const Target& target, Result<ListResult> list) {
  if (!list || find_conversion(*target.info) == nullptr) return list;
  for (api::Object& object : list->items) {
    KUBERNEL_TRY(object, apiserver::convert_out(*target.info, object));
  }
  return list;
}

Result<json> apply_patch(client::PatchType type, const schema::Type& schema_type, const json& current,
                         const json& patch) {
  switch (type) {
    case client::PatchType::Json: return schema::apply_json_patch(current, patch);
    case client::PatchType::Merge: return schema::apply_merge_patch(current, patch);
    case client::PatchType::StrategicMerge: return schema::apply_strategic_merge_patch(schema_type, current, patch);
    case client::PatchType::Apply: break;
  }
  return Error(Reason::UnsupportedMediaType, "server-side apply is not supported by this server");
}

}  // namespace

Result<api::Object> Api::get(const Caller& caller, const Target& target, std::string_view resource_version) const {
  KUBERNEL_CHECK_OK(authorize(caller, "get", target, {}));
  if (VirtualResource* computed = find_virtual(target); computed != nullptr && target.subresource.empty()) {
    KUBERNEL_TRY(const std::vector<api::Object> all, computed->list(caller, target));
    const auto place =
        std::find_if(all.begin(), all.end(), [&](const api::Object& one) { return one.name() == target.key.name; });
    return place == all.end() ? Result<api::Object>(not_found(*target.info, target.key.name)) : *place;
  }
  KUBERNEL_TRY(const Store* store, store_for(target, "get"));
  KUBERNEL_TRY(api::Object object, store->get(caller.ctx, target.key, resource_version));
  if (target.subresource != "scale") return apiserver::convert_out(*target.info, object);
  return api::Object::from_json(make_scale(object.to_json()));
}

Result<ListResult> Api::list(const Caller& caller, const Target& target, const Selectors& selectors,
                             ListQuery query) const {
  KUBERNEL_CHECK_OK(authorize(caller, "list", target, selectors));
  if (VirtualResource* computed = find_virtual(target)) {
    KUBERNEL_TRY(const Filter filter, make_filter(target, {}, selectors));
    ListResult out;
    KUBERNEL_TRY(out.items, computed->list(caller, target));
    std::erase_if(out.items, [&](const api::Object& one) { return !filter.matches({one, nullptr}); });
    return out;
  }
  KUBERNEL_TRY(const Store* store, store_for(target, "list"));
  KUBERNEL_TRY(query.filter, make_filter(target, store->strategy().traits().field_labels, selectors));
  if (query.limit < 0) query.limit = 0;
  return convert_out(target, store->list(caller.ctx, query));
}

Result<std::shared_ptr<Watcher>> Api::watch(const Caller& caller, const Target& target, const Selectors& selectors,
                                            WatchQuery query) const {
  KUBERNEL_CHECK_OK(authorize(caller, "watch", target, selectors));
  KUBERNEL_TRY(const Store* store, store_for(target, "watch"));
  KUBERNEL_TRY(query.filter, make_filter(target, store->strategy().traits().field_labels, selectors));
  return store->watch(caller.ctx, query);
}

Result<api::Object> Api::create(const Caller& caller, const Target& target, const Body& body, bool dry_run) const {
  KUBERNEL_CHECK_OK(authorize(caller, "create", target, {}));
  const WireType wire = wire_type(target);
  if (VirtualResource* computed = find_virtual(target)) {
    KUBERNEL_TRY(json document, decode(caller, *wire.type, wire.gvk, body));
    KUBERNEL_TRY(const json answer, computed->create(caller, target, std::move(document)));
    return api::Object::from_json(answer);
  }
  if (target.info->plural == "bindings" && target.info->group.empty()) {
    KUBERNEL_TRY(json document, decode(caller, *wire.type, wire.gvk, body));
    Target pod{find("", "v1", "pods"), "binding", {target.key.ns, text(document, {"metadata", "name"})}};
    return bind_pod(caller, pod, document, dry_run);
  }
  KUBERNEL_TRY(const Store* store, store_for(target, "create"));
  if (target.info->namespaced && target.key.ns.empty()) return no_namespace();
  KUBERNEL_TRY(json document, decode(caller, *wire.type, wire.gvk, body));
  KUBERNEL_CHECK_OK(check_names(target, document));
  if (target.subresource == "binding") return bind_pod(caller, target, document, dry_run);
  if (target.subresource == "eviction") return evict_pod(caller, target, document, dry_run);
  if (!target.subresource.empty()) return method_not_supported(*target.info, "create");
  to_stored(target, document);
  KUBERNEL_TRY(const api::Object made,
               store->create(caller.ctx, target.key, std::move(document),
                             hooks(caller, target, admission::Operation::Create, dry_run), dry_run));
  return apiserver::convert_out(*target.info, made);
}

Result<Updated> Api::update_object(const Caller& caller, const Target& target, const Wish& wish,
                                   std::function<Result<json>()> created, bool dry_run) const {
  KUBERNEL_TRY(const Store* store, store_for(target, "update"));
  UpdateRequest request;
  request.key = target.key;
  request.dry_run = dry_run;
  request.part = target.subresource.empty()       ? Part::Object
                 : target.subresource == "status" ? Part::Status
                                                  : Part::Anything;
  request.desired = [&](const api::Object& current) -> Result<json> {
    KUBERNEL_TRY(json document, wish(as_served(target, current)));
    to_stored(target, document);
    return document;
  };
  request.created = std::move(created);
  request.hooks = hooks(caller, target, admission::Operation::Update, dry_run);
  return convert_out(target, store->update(caller.ctx, request));
}

Result<Updated> Api::update(const Caller& caller, const Target& target, const Body& body, bool dry_run) const {
  KUBERNEL_CHECK_OK(authorize(caller, "update", target, {}));
  KUBERNEL_TRY(const Store* store, store_for(target, "update"));
  const WireType wire = wire_type(target);
  KUBERNEL_TRY(json document, decode(caller, *wire.type, wire.gvk, body));
  KUBERNEL_CHECK_OK(check_names(target, document));
  if (target.subresource == "scale")
    return update_scale(
        caller, target, [&](const json&) { return document; }, dry_run);
  std::function<Result<json>()> created;
  if (target.subresource.empty() && store->strategy().traits().create_on_update) {
    created = [&]() -> Result<json> {
      KUBERNEL_CHECK_OK(authorize(caller, "create", target, {}));
      json fresh = document;
      erase_member(fresh, {"metadata"}, "resourceVersion");
      to_stored(target, fresh);
      return fresh;
    };
  }
  const Wish wish = [&](const json& current) -> Result<json> {
    if (target.subresource == "finalize") {
      json out = current;
      copy_member(make_member(out, {"spec"}), member(document, {"spec"}), "finalizers");
      copy_member(make_member(out, {"metadata"}), member(document, {"metadata"}), "resourceVersion");
      return out;
    }
    if (target.subresource == "approval") {
      json out = current;
      copy_member(make_member(out, {"status"}), member(document, {"status"}), "conditions");
      copy_member(make_member(out, {"metadata"}), member(document, {"metadata"}), "resourceVersion");
      return out;
    }
    if (target.subresource == "ephemeralcontainers") return add_ephemeral_containers(*target.info, current, document);
    if (target.subresource == "resize") return resize_pod(*target.info, current, document);
    return document;
  };
  return update_object(caller, target, wish, std::move(created), dry_run);
}

Result<Updated> Api::patch(const Caller& caller, const Target& target, client::PatchType type, const json& patch,
                           bool dry_run) const {
  KUBERNEL_CHECK_OK(authorize(caller, "patch", target, {}));
  KUBERNEL_CHECK_OK(store_for(target, "patch"));
  const WireType wire = wire_type(target);
  const Wish wish = [&](const json& current) -> Result<json> {
    KUBERNEL_TRY(const json patched, apply_patch(type, *wire.type, current, patch));
    const std::string bytes = patched.dump();
    KUBERNEL_TRY(json document, decode(caller, *wire.type, wire.gvk, Body{Body::Form::Json, nullptr, bytes, true}));
    KUBERNEL_CHECK_OK(check_names(target, document));
    if (target.subresource == "ephemeralcontainers") return add_ephemeral_containers(*target.info, current, document);
    if (target.subresource == "resize") return resize_pod(*target.info, current, document);
    return document;
  };
  if (target.subresource == "scale") return update_scale(caller, target, wish, dry_run);
  return update_object(caller, target, wish, {}, dry_run);
}

Result<Removed> Api::remove(const Caller& caller, const Target& target, const client::DeleteOptions& options) const {
  KUBERNEL_CHECK_OK(authorize(caller, "delete", target, {}));
  KUBERNEL_TRY(const Store* store, store_for(target, "delete"));
  const DeleteRequest request{target.key, options, deletion_hook(caller, target, options.dry_run)};
  KUBERNEL_TRY(Removed removed, store->remove(caller.ctx, request));
  KUBERNEL_TRY(removed.object, apiserver::convert_out(*target.info, removed.object));
  return removed;
}

Result<ListResult> Api::remove_all(const Caller& caller, const Target& target, const Selectors& selectors,
                                   ListQuery query, const client::DeleteOptions& options) const {
  KUBERNEL_CHECK_OK(authorize(caller, "deletecollection", target, selectors));
  KUBERNEL_TRY(const Store* store, store_for(target, "deletecollection"));
  KUBERNEL_TRY(query.filter, make_filter(target, store->strategy().traits().field_labels, selectors));
  KUBERNEL_TRY(ListResult found, store->list(caller.ctx, query));
  const auto admit = deletion_hook(caller, target, options.dry_run);
  for (const api::Object& object : found.items) {
    if (caller.ctx.stopping()) return Error(Reason::Cancelled, "request was cancelled");
    auto removed = store->remove(caller.ctx, DeleteRequest{object.key(), options, admit});
    if (!removed && removed.error().reason() != Reason::NotFound) return std::move(removed).error();
  }
  return convert_out(target, std::move(found));
}

}  // namespace kubernel::apiserver
