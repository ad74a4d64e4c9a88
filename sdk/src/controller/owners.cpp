// SPDX-License-Identifier: Apache-2.0
#include <kubernel/controller/owners.h>

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

namespace kubernel::controller {

using api::Object;
using api::Value;
using nlohmann::json;

Value controller_of(const Object& object) {
  for (const Value reference : object.pointer("/metadata/ownerReferences")) {
    if (reference["controller"].boolean()) return reference;
  }
  return {};
}

json controller_reference(const Object& owner) {
  const auto& head = owner.head();
  return {{"apiVersion", head.gvk.api_version()},
          {"kind", head.gvk.kind},
          {"name", head.key.name},
          {"uid", head.uid},
          {"controller", true},
          {"blockOwnerDeletion", true}};
}

std::optional<Object> resolve_controller(const client::Informer& owners, std::string_view kind, const Object& object) {
  const Value reference = controller_of(object);
  if (!reference || reference["kind"].string() != kind) return std::nullopt;
  auto owner = owners.find({object.ns(), std::string(reference["name"].string())});
  if (!owner || owner->uid() != reference["uid"].string()) return std::nullopt;
  return owner;
}

std::vector<api::ObjectKey> possible_adopters(const client::Informer& owners, const Object& object) {
  std::vector<api::ObjectKey> out;
  const auto labels = object.labels();
  for (const Object& owner : owners.list(object.ns(), {})) {
    const auto selector = api::LabelSelector::from_api(owner.pointer("/spec/selector"));
    if (selector && !selector->matches_everything() && selector->matches(labels)) out.push_back(owner.key());
  }
  return out;
}

namespace {

// Reads the owner live once, and remembers the answer.
class MayAdopt {
 public:
  MayAdopt(const CallContext& ctx, client::ApiClient& api, const api::Resource& resource, const Object& owner)
      : ctx_(ctx), api_(api), resource_(resource), owner_(owner) {}

  Result<void> operator()() {
    if (checked_) return outcome_;
    checked_ = true;
    outcome_ = check();
    return outcome_;
  }

 private:
  Result<void> check() {
    KUBERNEL_TRY(const Object live, api_.get(ctx_, resource_, owner_.key(), {}));
    if (live.uid() != owner_.uid()) {
      return Error(Reason::Conflict, "original " + to_string(resource_) + " " + to_string(owner_.key()) +
                                         " is gone: got uid " + live.uid() + ", wanted " + owner_.uid());
    }
    if (live.head().deleting) {
      return Error(Reason::Conflict, to_string(owner_.key()) + " has just been deleted at " +
                                         std::string(live.pointer("/metadata/deletionTimestamp").string()));
    }
    return {};
  }

  const CallContext& ctx_;
  client::ApiClient& api_;
  const api::Resource& resource_;
  const Object& owner_;
  bool checked_ = false;
  Result<void> outcome_;
};

// Replaces the list of owners of exactly the version we saw.
Result<Object> write_owners(const CallContext& ctx, client::ApiClient& api, const api::Resource& resource,
                            const Object& object, json references) {
  const json patch = {{"metadata",
                       {{"uid", object.uid()},
                        {"resourceVersion", std::to_string(object.head().resource_version)},
                        {"ownerReferences", references.empty() ? json() : std::move(references)}}}};
  return api.patch(ctx, resource, object.key(), client::PatchType::Merge, patch, {});
}

}  // namespace

Result<std::vector<Object>> claim(const CallContext& ctx, client::ApiClient& api, const api::Resource& owner_resource,
                                  const Object& owner, const api::Resource& resource,
                                  const api::LabelSelector& selector, const std::vector<Object>& candidates) {
  MayAdopt may_adopt(ctx, api, owner_resource, owner);
  std::vector<Object> claimed;
  std::optional<Error> first;
  for (const Object& object : candidates) {
    const bool matches = selector.matches(object.labels());
    const Value controller = controller_of(object);
    if (controller) {
      if (controller["uid"].string() != owner.uid()) continue;
      if (matches) {
        claimed.push_back(object);
        continue;
      }
      if (owner.head().deleting) continue;
      json references = object.pointer("/metadata/ownerReferences").to_json();
      std::erase_if(references.get_ref<json::array_t&>(),
                    [&](const json& r) { return r.value("uid", "") == owner.uid(); });
      const auto released = write_owners(ctx, api, resource, object, std::move(references));
      if (!released && released.error().reason() != Reason::NotFound && !first) first = released.error();
      continue;
    }
    if (!matches || owner.head().deleting || object.head().deleting || object.ns() != owner.ns()) continue;
    auto allowed = may_adopt();
    if (allowed) {
      const Value existing = object.pointer("/metadata/ownerReferences");
      json references = existing.is_array() ? existing.to_json() : json::array();
      references.push_back(controller_reference(owner));
      auto adopted = write_owners(ctx, api, resource, object, std::move(references));
      if (adopted) {
        claimed.push_back(*std::move(adopted));
        continue;
      }
      if (adopted.error().reason() == Reason::NotFound) continue;
      allowed = adopted.error();
    }
    if (!first) first = allowed.error();
  }
  if (first) return *first;
  return claimed;
}

BatchOutcome slow_start(int count, const std::function<Result<void>(int index)>& act) {
  BatchOutcome out;
  int next = 0;
  for (int batch = 1; next < count; batch *= 2) {
    for (int i = 0; i < batch && next < count; ++i) {
      const auto done = act(next++);
      if (done) {
        ++out.succeeded;
      } else if (!out.error) {
        out.error = done.error();
      }
    }
    if (out.error) break;
  }
  return out;
}

std::string template_hash(const json& pod_template, std::int64_t collision_count) {
  // FNV-1a over the canonical text (json keeps members sorted). Unlike upstream's, which depends on how Go prints a
  // struct, the value never changes with a release; only its shape (digits in the safe alphabet) is the same.
  std::uint32_t hash = 2166136261U;
  const auto mix = [&](const std::string& text) {
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
  };
  mix(pod_template.dump());
  if (collision_count > 0) mix(std::to_string(collision_count));
  static constexpr std::string_view kSafe = "bcdfghjklmnpqrstvwxz2456789";
  std::string out;
  for (const char digit : std::to_string(hash)) out += kSafe[static_cast<std::size_t>(digit) % kSafe.size()];
  return out;
}

}  // namespace kubernel::controller
