// SPDX-License-Identifier: Apache-2.0
#include "garbage_collector.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <unordered_set>
#include <utility>

#include <nlohmann/json.hpp>

#include "graph.h"

namespace kubernel::plugins::garbage_collector {
namespace {

using api::Object;
using api::ObjectKey;
using api::Resource;
using client::ApiClient;
using controller::Next;
using nlohmann::json;

// A uid is never used again: an owner once found absent stays so.
constexpr std::size_t kAbsentRemembered = 500;
// Keys are {"", uid}; this one is the look at discovery.
const ObjectKey kDiscovery{"discovery", ""};
const Resource kCustomResources{"apiextensions.k8s.io", "v1", "customresourcedefinitions"};

struct Served {
  Resource resource;
  bool namespaced = false;
};

class GarbageCollector final : public controller::Reconciler {
 public:
  explicit GarbageCollector(const controller::ControllerContext& context) : context_(context) {}

  Result<void> watch(client::InformerFactory& informers, controller::KeyQueue& queue) override {
    informers_ = &informers;
    queue_ = &queue;
    // What is served now is synced before the first decision; a failure is tried again from the queue.
    if (auto found = discover({}); !found) {
      log_warning(context_.log, "discovery failed, will try again", {{"error", found.error()}});
      queue.add(kDiscovery);
    }
    return {};
  }

  Result<Next> reconcile(const CallContext& ctx, const ObjectKey& key) override {
    if (key == kDiscovery) {
      KUBERNEL_CHECK_OK(discover(ctx));
      return Next::done();
    }
    const auto node = graph_.find(key.name);
    if (!node) return Next::done();
    if (node->orphan) return orphan(ctx, *node);
    if (node->deleting && !node->foreground) return Next::done();  // Its own finalizers or grace period hold it.
    const auto served = find_served(node->gvk.group, node->gvk.kind);
    if (!served) {
      return Error(Reason::ServiceUnavailable,
                   "owner reference to unknown kind " + node->gvk.api_version() + " " + node->gvk.kind);
    }
    auto live = context_.api.get(ctx, served->resource, place(*served, node->key), {});
    if (!live && live.error().reason() != Reason::NotFound) return live.error();
    if (!live || live->uid() != node->uid) {
      if (node->observed) {
        gone(node->uid);
      } else {
        // Not where this reference points to; each dependent is judged by its own.
        look_at({node->dependents.begin(), node->dependents.end()});
      }
      return Next::done();
    }
    if (!node->observed) return Next::done();  // It lives; its watch will show it.
    if (has_finalizer(*live, kForeground) && live->head().deleting)
      return wait_for_dependents(ctx, *served, *node, *live);
    return judge(ctx, *served, *node, *live);
  }

 private:
  enum class Standing : std::uint8_t { Solid, Absent, WaitingForDependents };

  // --- What there is to watch.

  Result<void> discover(const CallContext& ctx) {
    KUBERNEL_TRY(const auto found, context_.api.discover(ctx));
    for (const auto& entry : found) {
      const Resource& resource = entry.resource;
      {
        const std::lock_guard lock(mutex_);
        served_[{resource.group, entry.kind}] = {resource, entry.namespaced};
      }
      const auto can = [&](const char* verb) { return std::ranges::find(entry.verbs, verb) != entry.verbs.end(); };
      if (resource.plural == "events" || !can("list") || !can("watch") || !can("delete")) continue;
      monitor(resource);
    }
    return {};
  }

  void monitor(const Resource& resource) {
    const std::lock_guard lock(mutex_);
    if (monitors_.contains(resource)) return;
    Monitor& made = monitors_[resource];
    made.informer = informers_->informer(resource, {});
    made.subscription = made.informer->add_handler(
        {.added = [this, resource](const Object& object) { seen(object, resource); },
         .updated = [this, resource](const Object&, const Object& after) { seen(after, resource); },
         .deleted = [this, resource](const Object& last) { deleted(last, resource); }});
  }

  void seen(const Object& object, const Resource& resource) {
    look_at(graph_.put(object, resource));
    if (resource == kCustomResources) queue_->add(kDiscovery);
  }

  void deleted(const Object& last, const Resource& resource) {
    gone(last.uid());
    if (resource == kCustomResources) queue_->add(kDiscovery);
  }

  void gone(const std::string& uid) {
    remember_absent(uid);
    look_at(graph_.remove(uid));
  }

  void look_at(const std::vector<std::string>& uids) {
    for (const std::string& uid : uids) queue_->add({"", uid});
  }

  std::optional<Served> find_served(const std::string& group, const std::string& kind) const {
    const std::lock_guard lock(mutex_);
    const auto found = served_.find({group, kind});
    if (found == served_.end()) return std::nullopt;
    return found->second;
  }

  // A reference has no namespace: a namespaced owner is in its dependent's.
  static ObjectKey place(const Served& served, const ObjectKey& key) {
    return {served.namespaced ? key.ns : std::string(), key.name};
  }

  // A uid whose object was seen to go, or a whole reference that leads nowhere.
  void remember_absent(const std::string& uid) {
    const std::lock_guard lock(mutex_);
    if (absent_.size() >= kAbsentRemembered) absent_.clear();
    absent_.insert(uid);
  }
  bool known_absent(const std::string& uid) const {
    const std::lock_guard lock(mutex_);
    return absent_.contains(uid);
  }

  // --- What becomes of one object.

  Result<Next> judge(const CallContext& ctx, const Served& served, const Node& node, const Object& live) {
    const auto owners = owners_of(live);
    if (owners.empty()) return Next::done();
    std::vector<std::string> leave;  // References that hold nothing.
    bool solid = false, waiting = false;
    for (const Owner& owner : owners) {
      KUBERNEL_TRY(const Standing standing, standing_of(ctx, owner, live));
      solid = solid || standing == Standing::Solid;
      waiting = waiting || standing == Standing::WaitingForDependents;
      if (standing != Standing::Solid) leave.push_back(owner.uid);
    }
    if (solid) {
      if (!leave.empty()) KUBERNEL_CHECK_OK(drop_owners(ctx, served.resource, live, leave));
      return Next::done();
    }
    if (live.head().deleting) return Next::done();
    client::DeleteOptions options;
    options.precondition_uid = live.uid();
    options.precondition_resource_version = std::to_string(live.head().resource_version);
    options.propagation = policy(live);
    if (waiting && !node.dependents.empty()) {
      // Its own dependents go first. In a cycle everybody would wait for everybody: then it stops blocking.
      const auto dependents = graph_.dependents(node.uid);
      if (std::ranges::any_of(dependents, &Node::foreground)) {
        KUBERNEL_TRY(const Object unblocked, unblock_owners(ctx, served.resource, live));
        options.precondition_resource_version = std::to_string(unblocked.head().resource_version);
      }
      options.propagation = client::Propagation::Foreground;
    }
    log_debug(context_.log, "deleting an object without owners",
              {{"resource", to_string(served.resource)}, {"object", to_string(live.key())}});
    const auto removed = context_.api.remove(ctx, served.resource, live.key(), options);
    if (!removed && removed.error().reason() != Reason::NotFound) return removed.error();
    return Next::done();
  }

  static client::Propagation policy(const Object& live) {
    if (has_finalizer(live, kOrphan)) return client::Propagation::Orphan;
    if (has_finalizer(live, kForeground)) return client::Propagation::Foreground;
    return client::Propagation::Background;
  }

  // Reads the owner live, unless its uid is known to be gone for good.
  Result<Standing> standing_of(const CallContext& ctx, const Owner& owner, const Object& dependent) {
    const std::string reference =
        owner.uid + ' ' + owner.api_version + ' ' + owner.kind + ' ' + owner.name + ' ' + dependent.ns();
    if (known_absent(owner.uid) || known_absent(reference)) return Standing::Absent;
    const auto gvk = api::make_gvk(owner.api_version, owner.kind);
    const auto served = find_served(gvk.group, gvk.kind);
    if (!served) {
      queue_->add(kDiscovery);
      return Error(Reason::ServiceUnavailable,
                   to_string(dependent.key()) + ": owner of unknown kind " + owner.api_version + " " + owner.kind);
    }
    if (served->namespaced && dependent.ns().empty()) {
      // Nobody can say which namespace is meant: never a reason to delete.
      log_warning(context_.log, "cluster-scoped object refers to a namespaced owner",
                  {{"object", dependent.name()}, {"owner", owner.kind + " " + owner.name}});
      return Standing::Solid;
    }
    const auto live = context_.api.get(ctx, served->resource, place(*served, {dependent.ns(), owner.name}), {});
    if (!live && live.error().reason() != Reason::NotFound) return live.error();
    if (!live || live->uid() != owner.uid) {
      remember_absent(reference);  // Not by its uid alone: it may live in another namespace.
      return Standing::Absent;
    }
    const bool waits = live->head().deleting && has_finalizer(*live, kForeground);
    return waits ? Standing::WaitingForDependents : Standing::Solid;
  }

  Result<Next> wait_for_dependents(const CallContext& ctx, const Served& served, const Node& node, const Object& live) {
    bool blocked = false;
    for (const Node& dependent : graph_.dependents(node.uid)) {
      const auto reference = std::ranges::find(dependent.owners, node.uid, &Owner::uid);
      if (reference == dependent.owners.end() || !reference->blocks) continue;
      blocked = true;
      if (!dependent.deleting) queue_->add({"", dependent.uid});
    }
    if (blocked) return Next::done();  // The last one to go brings us back.
    KUBERNEL_CHECK_OK(drop_finalizer(ctx, served.resource, live, kForeground));
    return Next::done();
  }

  Result<Next> orphan(const CallContext& ctx, const Node& node) {
    for (const Node& dependent : graph_.dependents(node.uid)) {
      const auto served = find_served(dependent.gvk.group, dependent.gvk.kind);
      if (!served) continue;
      const auto live = context_.api.get(ctx, served->resource, dependent.key, {});
      if (!live && live.error().reason() != Reason::NotFound) return live.error();
      if (live && live->uid() == dependent.uid)
        KUBERNEL_CHECK_OK(drop_owners(ctx, served->resource, *live, {node.uid}));
    }
    const auto live = context_.api.get(ctx, node.resource, node.key, {});
    if (!live && live.error().reason() == Reason::NotFound) return Next::done();
    if (!live) return live.error();
    if (live->uid() == node.uid) KUBERNEL_CHECK_OK(drop_finalizer(ctx, node.resource, *live, kOrphan));
    return Next::done();
  }

  // --- Writes, each on exactly the version that was read.

  Result<Object> write_metadata(const CallContext& ctx, const Resource& resource, const Object& live, const char* field,
                                json value) {
    const json patch = {{"metadata",
                         {{"uid", live.uid()},
                          {"resourceVersion", std::to_string(live.head().resource_version)},
                          {field, value.empty() ? json() : std::move(value)}}}};
    auto written = context_.api.patch(ctx, resource, live.key(), client::PatchType::Merge, patch, {});
    if (!written && written.error().reason() == Reason::NotFound) return live;  // Gone meanwhile, which is as good.
    return written;
  }

  Result<void> drop_owners(const CallContext& ctx, const Resource& resource, const Object& live,
                           const std::vector<std::string>& uids) {
    json references = live.pointer("/metadata/ownerReferences").to_json();
    if (!references.is_array()) return {};
    const auto before = references.size();
    std::erase_if(references.get_ref<json::array_t&>(), [&](const json& reference) {
      return std::ranges::find(uids, reference.value("uid", "")) != uids.end();
    });
    if (references.size() == before) return {};
    KUBERNEL_CHECK_OK(write_metadata(ctx, resource, live, "ownerReferences", std::move(references)));
    return {};
  }

  Result<Object> unblock_owners(const CallContext& ctx, const Resource& resource, const Object& live) {
    json references = live.pointer("/metadata/ownerReferences").to_json();
    const json before = references;
    for (json& reference : references) {
      if (reference.value("blockOwnerDeletion", false)) reference["blockOwnerDeletion"] = false;
    }
    if (references == before) return live;
    return write_metadata(ctx, resource, live, "ownerReferences", std::move(references));
  }

  Result<void> drop_finalizer(const CallContext& ctx, const Resource& resource, const Object& live,
                              std::string_view finalizer) {
    json finalizers = live.pointer("/metadata/finalizers").to_json();
    if (!finalizers.is_array()) return {};
    std::erase(finalizers.get_ref<json::array_t&>(), json(std::string(finalizer)));
    KUBERNEL_CHECK_OK(write_metadata(ctx, resource, live, "finalizers", std::move(finalizers)));
    return {};
  }

  struct Monitor {
    std::shared_ptr<client::Informer> informer;
    std::unique_ptr<Subscription> subscription;
  };

  const controller::ControllerContext context_;
  client::InformerFactory* informers_ = nullptr;
  controller::KeyQueue* queue_ = nullptr;
  Graph graph_;
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, std::string>, Served> served_;  // By group and kind.
  std::unordered_set<std::string> absent_;
  std::map<Resource, Monitor> monitors_;  // Last: their handlers use all of the above.
};

}  // namespace

Result<std::unique_ptr<controller::Reconciler>> make_reconciler(const controller::ControllerContext& context) {
  return std::make_unique<GarbageCollector>(context);
}

}  // namespace kubernel::plugins::garbage_collector
