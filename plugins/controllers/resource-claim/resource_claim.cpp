// SPDX-License-Identifier: Apache-2.0
#include "resource_claim.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

#include <kubernel/controller/owners.h>
#include <kubernel/controller/pods.h>

namespace kubernel::plugins::resource_claim {
namespace {

using api::Object;
using api::ObjectKey;
using api::Value;
using api::resources::kPods;
using controller::Next;
using nlohmann::json;

const api::Resource kClaims{"resource.k8s.io", "v1", "resourceclaims"};
const api::Resource kTemplates{"resource.k8s.io", "v1", "resourceclaimtemplates"};
constexpr const char* kByClaim = "resource-claim/claim";
constexpr const char* kPodClaimName =
    "resource.kubernetes.io/pod-claim-name";  // Which entry of the pod's spec a claim is for.
constexpr const char* kFinalizer = "resource.kubernetes.io/delete-protection";
constexpr std::size_t kMaxReservations = 256;  // ResourceClaimReservedForMaxSize.

// Pods and claims share the queue: a key's name begins with what it is.
constexpr std::string_view kPodPrefix = "pod/";
constexpr std::string_view kClaimPrefix = "claim/";

ObjectKey pod_key(std::string_view ns, std::string_view name) {
  return {std::string(ns), std::string(kPodPrefix) + std::string(name)};
}
ObjectKey claim_key(std::string_view ns, std::string_view name) {
  return {std::string(ns), std::string(kClaimPrefix) + std::string(name)};
}

// It will not run any more, or never has and never will.
bool is_done(const Object& pod) {
  return controller::pod_terminal(pod) || (pod.head().deleting && pod.pointer("/spec/nodeName").string().empty());
}

// The claim's name that the status has for an entry of spec.resourceClaims; missing when it has none.
Value made_claim(const Object& pod, std::string_view entry) {
  for (const Value status : pod.pointer("/status/resourceClaimStatuses")) {
    if (status["name"].string() == entry) return status["resourceClaimName"];
  }
  return {};
}

std::vector<std::string> claim_names(const Object& pod) {
  std::vector<std::string> out;
  for (const Value entry : pod.pointer("/spec/resourceClaims")) {
    const Value name = entry["resourceClaimName"];
    const Value known = name ? name : made_claim(pod, entry["name"].string());
    if (known) out.emplace_back(known.string());
  }
  return out;
}

bool reserved_for(const Object& claim, const Object& pod) {
  const Value users = claim.pointer("/status/reservedFor");
  return std::any_of(users.begin(), users.end(), [&](Value user) { return user["uid"].string() == pod.uid(); });
}

bool has_finalizer(const Object& claim) {
  const Value finalizers = claim.pointer("/metadata/finalizers");
  return std::any_of(finalizers.begin(), finalizers.end(), [](Value one) { return one.string() == kFinalizer; });
}

json claim_from_template(const Object& pod, std::string_view entry, const Object& claim_template) {
  json out = json::object();
  const Value written = claim_template.pointer("/spec/metadata");
  json& metadata = out["metadata"];
  if (written["labels"]) metadata["labels"] = written["labels"].to_json();
  if (written["annotations"]) metadata["annotations"] = written["annotations"].to_json();
  metadata["annotations"][kPodClaimName] = entry;
  metadata["namespace"] = pod.ns();
  metadata["generateName"] = pod.name() + "-" + std::string(entry) + "-";
  metadata["ownerReferences"] = json::array({controller::controller_reference(pod)});
  out["spec"] = claim_template.pointer("/spec/spec").to_json();
  return out;
}

class ResourceClaims final : public controller::Reconciler {
 public:
  explicit ResourceClaims(const controller::ControllerContext& context) : context_(context) {}

  Result<void> watch(client::InformerFactory& informers, controller::KeyQueue& queue) override {
    pods_ = informers.informer(kPods, {});
    claims_ = informers.informer(kClaims, {});
    templates_ = informers.informer(kTemplates, {});
    pods_->add_index(kByClaim, [](const Object& pod) {
      std::vector<std::string> keys;
      for (const std::string& name : claim_names(pod)) keys.push_back(pod.ns() + "/" + name);
      return keys;
    });
    const auto see_pod = [&queue](const Object& pod) {
      if (pod.pointer("/spec/resourceClaims").empty()) return;
      queue.add(pod_key(pod.ns(), pod.name()));
      if (!is_done(pod)) return;
      for (const std::string& name : claim_names(pod)) queue.add(claim_key(pod.ns(), name));
    };
    const auto lose_pod = [&queue](const Object& pod) {
      for (const std::string& name : claim_names(pod)) queue.add(claim_key(pod.ns(), name));
    };
    const auto see_claim = [this, &queue](const Object& claim) {
      queue.add(claim_key(claim.ns(), claim.name()));
      for (const Object& pod : pods_->by_index(kByClaim, claim.ns() + "/" + claim.name()))
        queue.add(pod_key(pod.ns(), pod.name()));
    };
    // Pods whose claims could not be made.
    const auto see_template = [this, &queue](const Object& claim_template) {
      for (const Object& pod : pods_->list(claim_template.ns(), api::LabelSelector::everything())) {
        const Value entries = pod.pointer("/spec/resourceClaims");
        const bool wants = std::any_of(entries.begin(), entries.end(), [&](Value entry) {
          return entry["resourceClaimTemplateName"].string() == claim_template.name();
        });
        if (wants) queue.add(pod_key(pod.ns(), pod.name()));
      }
    };
    subscriptions_.push_back(
        pods_->add_handler({see_pod, [see_pod](const Object&, const Object& pod) { see_pod(pod); }, lose_pod}));
    subscriptions_.push_back(claims_->add_handler(
        {see_claim, [see_claim](const Object&, const Object& claim) { see_claim(claim); }, see_claim}));
    subscriptions_.push_back(templates_->add_handler({.added = see_template}));
    return {};
  }

  Result<Next> reconcile(const CallContext& ctx, const ObjectKey& key) override {
    const bool is_pod = key.name.starts_with(kPodPrefix);
    const ObjectKey object{key.ns, key.name.substr((is_pod ? kPodPrefix : kClaimPrefix).size())};
    KUBERNEL_CHECK_OK(is_pod ? sync_pod(ctx, object) : sync_claim(ctx, object));
    return Next::done();
  }

 private:
  // Makes what the pod's templates ask for, and reserves claims for a pod that was bound without the scheduler.
  Result<void> sync_pod(const CallContext& ctx, const ObjectKey& key) {
    const auto pod = pods_->find(key);
    if (!pod || pod->head().deleting || is_done(*pod)) return {};
    std::map<std::string, std::string> made;
    Result<void> outcome;
    for (const Value entry : pod->pointer("/spec/resourceClaims")) {
      if (!entry["resourceClaimTemplateName"]) continue;
      auto name = ensure_claim(ctx, *pod, entry);
      if (!name) {
        context_.events.record(
            *pod, "Warning", "FailedResourceClaimCreation",
            "PodResourceClaim " + std::string(entry["name"].string()) + ": " + name.error().message());
        outcome = std::move(name).error();
        break;
      }
      if (made_claim(*pod, entry["name"].string()).string() != *name) made.emplace(entry["name"].string(), *name);
    }
    if (!made.empty()) KUBERNEL_CHECK_OK(write_statuses(ctx, *pod, made));
    KUBERNEL_CHECK_OK(std::move(outcome));
    if (pod->pointer("/spec/nodeName").string().empty()) return {};
    for (const std::string& name : claim_names(*pod)) KUBERNEL_CHECK_OK(reserve(ctx, *pod, name));
    return {};
  }

  // The name of the pod's claim for an entry of its spec.
  Result<std::string> ensure_claim(const CallContext& ctx, const Object& pod, Value entry) {
    const std::string_view entry_name = entry["name"].string();
    if (const Value known = made_claim(pod, entry_name)) {
      const auto claim = claims_->find({pod.ns(), std::string(known.string())});
      if (claim && claim->head().controller_uid == pod.uid()) return claim->name();
    }
    for (const Object& claim : claims_->owned_by(pod.uid())) {
      if (claim.annotations()[kPodClaimName].string() == entry_name) return claim.name();
    }
    if (const auto recent = recently_made(ctx, pod, entry_name)) return *recent;
    const std::string template_name(entry["resourceClaimTemplateName"].string());
    const auto claim_template = templates_->find({pod.ns(), template_name});
    if (!claim_template) {
      return Error(Reason::NotFound, "resource claim template \"" + template_name +
                                         "\": resourceclaimtemplate.resource.k8s.io \"" + template_name +
                                         "\" not found");
    }
    auto created =
        context_.api.create(ctx, kClaims, {pod.ns(), {}}, claim_from_template(pod, entry_name, *claim_template), {});
    if (!created) return std::move(created).error().wrap("create ResourceClaim");
    return created->name();
  }

  // The cache may not show what was made for the pod a moment ago; its status then does not either, so the API is asked
  // before another one is made.
  std::optional<std::string> recently_made(const CallContext& ctx, const Object& pod, std::string_view entry_name) {
    const auto found = context_.api.list(ctx, kClaims, {.ns = pod.ns()});
    if (!found) return std::nullopt;
    for (const Object& claim : found->items) {
      if (claim.head().controller_uid == pod.uid() && claim.annotations()[kPodClaimName].string() == entry_name)
        return claim.name();
    }
    return std::nullopt;
  }

  Result<void> write_statuses(const CallContext& ctx, const Object& pod,
                              const std::map<std::string, std::string>& made) {
    json statuses = json::array();
    for (const auto& [entry, claim] : made)
      statuses.push_back(json::object({{"name", entry}, {"resourceClaimName", claim}}));
    const auto patch = json::object({{"metadata", json::object({{"uid", pod.uid()}})},
                                     {"status", json::object({{"resourceClaimStatuses", std::move(statuses)}})}});
    auto written =
        context_.api.patch(ctx, kPods, pod.key(), client::PatchType::StrategicMerge, patch, {.subresource = "status"});
    if (!written && written.error().reason() != Reason::NotFound)
      return std::move(written).error().wrap("update pod status");
    return {};
  }

  Result<void> reserve(const CallContext& ctx, const Object& pod, const std::string& name) {
    const auto claim = claims_->find({pod.ns(), name});
    if (!claim || !claim->pointer("/status/allocation") || reserved_for(*claim, pod)) return {};
    const Value users = claim->pointer("/status/reservedFor");
    if (users.size() >= kMaxReservations) return {};
    json document = claim->to_json();
    auto& list = document["status"]["reservedFor"];
    if (list.is_null()) list = json::array();
    list.push_back(json::object({{"resource", "pods"}, {"name", pod.name()}, {"uid", pod.uid()}}));
    return write_status(ctx, *claim, document, "reserve ResourceClaim for pod");
  }

  Result<void> write_status(const CallContext& ctx, const Object& claim, const json& document, const char* what) {
    auto written = context_.api.update(ctx, kClaims, claim.key(), document, {.subresource = "status"});
    if (!written && written.error().reason() != Reason::NotFound) return std::move(written).error().wrap(what);
    return {};
  }

  // Ends reservations of pods that are done; a claim without users loses its allocation and may go.
  Result<void> sync_claim(const CallContext& ctx, const ObjectKey& key) {
    const auto claim = claims_->find(key);
    if (!claim) return {};
    const Value users = claim->pointer("/status/reservedFor");
    json kept = json::array();
    for (const Value user : users) {
      KUBERNEL_TRY(const bool in_use, still_uses(ctx, key.ns, user));
      if (in_use) kept.push_back(user.to_json());
    }
    const bool unused = kept.empty();
    if (kept.size() < users.size() || (unused && claim->head().deleting && has_finalizer(*claim))) {
      KUBERNEL_CHECK_OK(shrink(ctx, *claim, std::move(kept)));
    }
    return unused ? delete_if_ownerless(ctx, *claim) : Result<void>();
  }

  // Pods are asked for live before a reservation is dropped: the cache may not know a new one yet. Other users keep
  // theirs.
  Result<bool> still_uses(const CallContext& ctx, const std::string& ns, Value user) {
    if (user["resource"].string() != "pods" || !user["apiGroup"].string().empty()) return true;
    const ObjectKey key{ns, std::string(user["name"].string())};
    if (const auto pod = pods_->find(key); pod && pod->uid() == user["uid"].string()) return !is_done(*pod);
    auto live = context_.api.get(ctx, kPods, key, {});
    if (!live && live.error().reason() == Reason::NotFound) return false;
    if (!live) return std::move(live).error();
    return live->uid() == user["uid"].string() && !is_done(*live);
  }

  Result<void> shrink(const CallContext& ctx, const Object& claim, json kept) {
    json document = claim.to_json();
    const bool unused = kept.empty();
    document["status"].erase("reservedFor");
    if (unused) {
      document["status"].erase("allocation");
    } else {
      document["status"]["reservedFor"] = std::move(kept);
    }
    auto written = context_.api.update(ctx, kClaims, claim.key(), document, {.subresource = "status"});
    if (!written && written.error().reason() == Reason::NotFound) return {};
    if (!written) return std::move(written).error();
    if (!unused || !has_finalizer(*written)) return {};
    document = written->to_json();
    auto& finalizers = document["metadata"]["finalizers"];
    finalizers.erase(std::remove(finalizers.begin(), finalizers.end(), json(kFinalizer)), finalizers.end());
    written = context_.api.update(ctx, kClaims, claim.key(), document, {});
    if (!written && written.error().reason() != Reason::NotFound) return std::move(written).error();
    return {};
  }

  // A claim made for a pod that is done or was replaced is not waited for until the pod itself goes.
  Result<void> delete_if_ownerless(const CallContext& ctx, const Object& claim) {
    const Value owner = controller::controller_of(claim);
    if (claim.head().deleting || owner["kind"].string() != "Pod" || owner["apiVersion"].string() != "v1") return {};
    const auto pod = pods_->find({claim.ns(), std::string(owner["name"].string())});
    if (!pod || (pod->uid() == owner["uid"].string() && !is_done(*pod))) return {};
    const auto removed = context_.api.remove(ctx, kClaims, claim.key(), {.precondition_uid = claim.uid()});
    if (!removed && removed.error().reason() != Reason::NotFound && removed.error().reason() != Reason::Conflict)
      return removed.error();
    return {};
  }

  const controller::ControllerContext context_;
  std::shared_ptr<client::Informer> pods_, claims_, templates_;
  std::vector<std::unique_ptr<Subscription>> subscriptions_;
};

}  // namespace

Result<std::unique_ptr<controller::Reconciler>> make_reconciler(const controller::ControllerContext& context) {
  return std::make_unique<ResourceClaims>(context);
}

}  // namespace kubernel::plugins::resource_claim
