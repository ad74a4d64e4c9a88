// SPDX-License-Identifier: Apache-2.0
#include "namespace_content.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include <kubernel/api/time.h>
#include <kubernel/controller/conditions.h>

namespace kubernel::plugins::namespaces {

using api::Object;
using api::Resource;
using api::Value;
using client::ApiClient;
using nlohmann::json;
using std::chrono::seconds;

namespace {

// "pods." for the core group, as upstream prints it.
std::string group_resource(const Resource& resource) {
  return resource.plural + "." + resource.group;
}

class Deleter {
 public:
  Deleter(const CallContext& ctx, ApiClient& api, const std::string& ns, Content& content)
      : ctx_(ctx), api_(api), ns_(ns), content_(content) {}

  // Deletes all objects of one resource and counts those that are still there.
  void empty(const ApiClient::DiscoveredResource& found) {
    const auto can = [&](const char* verb) { return std::ranges::find(found.verbs, verb) != found.verbs.end(); };
    const Resource& resource = found.resource;
    client::ListOptions all;
    all.ns = ns_;
    bool collected = false;
    if (can("deletecollection")) {
      const auto removed = api_.remove_all(ctx_, resource, all, {.propagation = client::Propagation::Background});
      if (!removed && removed.error().reason() != Reason::MethodNotAllowed &&
          removed.error().reason() != Reason::NotFound) {
        return failed(resource, removed.error());
      }
      collected = removed.has_value();
    }
    if (!can("list")) return;
    if (!collected && can("delete")) each(resource, all);
    const auto left = api_.list(ctx_, resource, all);
    if (!left) {
      if (left.error().reason() == Reason::NotFound || left.error().reason() == Reason::MethodNotAllowed) return;
      return failed(resource, left.error());
    }
    count(resource, left->items);
  }

 private:
  void each(const Resource& resource, const client::ListOptions& all) {
    const auto found = api_.list(ctx_, resource, all);
    if (!found) return failed(resource, found.error());
    for (const Object& object : found->items) {
      const auto removed = api_.remove(ctx_, resource, object.key(), {.propagation = client::Propagation::Background});
      if (!removed && removed.error().reason() != Reason::NotFound) failed(resource, removed.error());
    }
  }

  void count(const Resource& resource, const std::vector<Object>& left) {
    if (left.empty()) return;
    content_.remaining[group_resource(resource)] += static_cast<int>(left.size());
    seconds estimate(0);
    for (const Object& object : left) {
      const Value finalizers = object.pointer("/metadata/finalizers");
      for (const Value finalizer : finalizers) ++content_.finalizers_remaining[std::string(finalizer.string())];
      if (!finalizers.empty()) estimate = std::max(estimate, seconds(15));
      if (resource == api::resources::kPods && object.head().deleting) {
        estimate = std::max(estimate, seconds(object.pointer("/metadata/deletionGracePeriodSeconds").integer()));
      }
    }
    content_.estimate = std::max({content_.estimate, estimate, seconds(5)});
  }

  void failed(const Resource& resource, const Error& error) {
    content_.delete_errors.push_back("unable to delete " + group_resource(resource) + ": " + error.message());
  }

  const CallContext& ctx_;
  ApiClient& api_;
  const std::string& ns_;
  Content& content_;
};

}  // namespace

Content delete_content(const CallContext& ctx, ApiClient& api, const std::string& ns) {
  Content content;
  const auto discovered = api.discover(ctx);
  if (!discovered) {
    content.discovery_errors.push_back(discovered.error().message());
    return content;
  }
  Deleter deleter(ctx, api, ns, content);
  // Pods first, and nothing else before they are gone: while they stop they may need their secrets, volumes and
  // policies.
  for (const auto& found : *discovered) {
    if (found.resource == api::resources::kPods) deleter.empty(found);
  }
  if (!content.remaining.empty()) return content;
  for (const auto& found : *discovered) {
    if (ctx.stopping()) break;
    if (!found.namespaced || found.resource == api::resources::kPods) continue;
    // What cannot be deleted (reviews, bindings) holds nothing.
    const bool deletable = std::ranges::any_of(
        found.verbs, [](const std::string& verb) { return verb == "delete" || verb == "deletecollection"; });
    if (deletable) deleter.empty(found);
  }
  if (ctx.stopping()) content.delete_errors.emplace_back("stopping");
  return content;
}

namespace {

std::string joined(const std::vector<std::string>& parts, const char* between) {
  std::string out;
  for (const std::string& part : parts) out += (out.empty() ? "" : between) + part;
  return out;
}

}  // namespace

json Content::conditions(const json& before, Clock::WallTime now) const {
  json out = before.is_array() ? before : json::array();
  const auto set = [&](const char* type, bool bad, const char* reason, const char* good_reason,
                       const std::string& bad_message, const char* good_message) {
    json condition = {{"type", type},
                      {"status", bad ? "True" : "False"},
                      {"reason", bad ? reason : good_reason},
                      {"message", bad ? bad_message : good_message},
                      {"lastTransitionTime", api::format_time(now)}};
    json* current = controller::find_condition(out, type);
    if (current == nullptr) {
      out.push_back(std::move(condition));
      return;
    }
    // The time is that of the last change of status; the message may change without it.
    if (current->value("status", "") == condition["status"])
      condition["lastTransitionTime"] = (*current)["lastTransitionTime"];
    *current = std::move(condition);
  };
  std::vector<std::string> resources, holders;
  for (const auto& [resource, count] : remaining)
    resources.push_back(resource + " has " + std::to_string(count) + " resource instances");
  for (const auto& [finalizer, count] : finalizers_remaining)
    holders.push_back(finalizer + " in " + std::to_string(count) + " resource instances");
  set("NamespaceDeletionDiscoveryFailure", !discovery_errors.empty(), "DiscoveryFailed", "ResourcesDiscovered",
      "Discovery failed for some groups, " + std::to_string(discovery_errors.size()) +
          " failing: " + joined(discovery_errors, ", "),
      "All resources successfully discovered");
  set("NamespaceDeletionGroupVersionParsingFailure", false, "", "ParsedGroupVersions", "",
      "All legacy kube types successfully parsed");
  set("NamespaceDeletionContentFailure", !delete_errors.empty(), "ContentDeletionFailed", "ContentDeleted",
      "Failed to delete all resource types, " + std::to_string(delete_errors.size()) +
          " remaining: " + joined(delete_errors, ", "),
      "All content successfully deleted, may be waiting on finalization");
  set("NamespaceContentRemaining", !remaining.empty(), "SomeResourcesRemain", "ContentRemoved",
      "Some resources are remaining: " + joined(resources, ", "), "All content successfully removed");
  set("NamespaceFinalizersRemaining", !finalizers_remaining.empty(), "SomeFinalizersRemain", "ContentHasNoFinalizers",
      "Some content in the namespace has finalizers remaining: " + joined(holders, ", "),
      "All content-preserving finalizers finished");
  return out;
}

}  // namespace kubernel::plugins::namespaces
