// SPDX-License-Identifier: Apache-2.0
#include <kubernel/testing/fake_cluster.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <utility>

#include <nlohmann/json.hpp>

#include <kubernel/api/selector.h>
#include <kubernel/api/time.h>
#include <kubernel/schema/patch.h>
#include <kubernel/schema/schema.h>

namespace kubernel::testing {

using api::Object;
using api::ObjectKey;
using api::Resource;
using client::EventType;
using nlohmann::json;

namespace {

struct Served {
  std::string kind;
  bool namespaced = true;
};

std::map<Resource, Served> built_in_resources() {
  namespace r = api::resources;
  return {
      {r::kPods, {"Pod"}},
      {r::kNodes, {"Node", false}},
      {r::kNamespaces, {"Namespace", false}},
      {r::kServices, {"Service"}},
      {r::kEndpoints, {"Endpoints"}},
      {r::kEvents, {"Event"}},
      {r::kSecrets, {"Secret"}},
      {r::kConfigMaps, {"ConfigMap"}},
      {r::kServiceAccounts, {"ServiceAccount"}},
      {r::kReplicationControllers, {"ReplicationController"}},
      {r::kPersistentVolumeClaims, {"PersistentVolumeClaim"}},
      {r::kPersistentVolumes, {"PersistentVolume", false}},
      {r::kDeployments, {"Deployment"}},
      {r::kReplicaSets, {"ReplicaSet"}},
      {r::kStatefulSets, {"StatefulSet"}},
      {r::kDaemonSets, {"DaemonSet"}},
      {r::kJobs, {"Job"}},
      {r::kCronJobs, {"CronJob"}},
      {r::kEndpointSlices, {"EndpointSlice"}},
      {r::kLeases, {"Lease"}},
      {r::kPriorityClasses, {"PriorityClass", false}},
      {r::kRoles, {"Role"}},
      {r::kRoleBindings, {"RoleBinding"}},
      {r::kClusterRoles, {"ClusterRole", false}},
      {r::kClusterRoleBindings, {"ClusterRoleBinding", false}},
  };
}

[[noreturn]] void broken_fixture(std::string_view what, const std::string& why) {
  std::fprintf(stderr, "FakeCluster::%.*s: %s\n", static_cast<int>(what.size()), what.data(), why.c_str());
  std::abort();
}

ErrorDetails details(const Resource& resource, const std::string& name) {
  ErrorDetails out;
  out.name = name;
  out.group = resource.group;
  out.kind = resource.plural;
  return out;
}

Error not_found(const Resource& resource, const ObjectKey& key) {
  return Error(Reason::NotFound, to_string(resource) + " \"" + key.name + "\" not found", details(resource, key.name));
}

Error conflict(const Resource& resource, const ObjectKey& key, const std::string& why) {
  return Error(Reason::Conflict,
               "Operation cannot be fulfilled on " + to_string(resource) + " \"" + key.name + "\": " + why,
               details(resource, key.name));
}

json& child(json& parent, const char* name) {
  if (!parent.is_object()) parent = json::object();
  json& found = parent[name];
  if (found.is_null()) found = json::object();
  return found;
}

std::string text(const json& document, const char* name) {
  const auto found = document.find(name);
  return found != document.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// metadata.name=x: any dotted path works here.
std::string field_value(const Object& object, std::string_view field) {
  std::string path = "/" + std::string(field);
  std::ranges::replace(path, '.', '/');
  const api::Value value = object.pointer(path);
  if (value.is_string()) return std::string(value.string());
  return value && !value.is_null() ? value.dump() : std::string();
}

struct Selection {
  std::string ns;
  api::LabelSelector labels;
  api::FieldSelector fields;

  bool contains(const Object& object) const {
    return (ns.empty() || object.ns() == ns) && labels.matches(object.labels()) &&
           fields.matches([&](std::string_view field) { return field_value(object, field); });
  }
};

Result<Selection> selection(const std::string& ns, const std::string& labels, const std::string& fields) {
  KUBERNEL_TRY(auto label_selector, api::LabelSelector::parse(labels));
  KUBERNEL_TRY(auto field_selector, api::FieldSelector::parse(fields));
  return Selection{ns, std::move(label_selector), std::move(field_selector)};
}

bool has_finalizers(const json& document) {
  const auto& metadata = document.at("metadata");
  return metadata.contains("finalizers") && !metadata.at("finalizers").empty();
}

}  // namespace

struct Change {
  Resource resource;
  std::int64_t revision = 0;
  Object before;  // Empty: created.
  Object after;   // Empty: deleted.
};

// What a cursor's notify() left; outlives the cursor while it rings.
struct Bell {
  std::recursive_mutex mutex;  // Recursive: a callback may write, which rings again.
  std::function<void()> ready;

  void ring() {
    const std::lock_guard lock(mutex);
    if (ready) ready();
  }
};

struct FakeCluster::State {
  explicit State(const Clock& c) : clock(c), served(built_in_resources()) {}

  struct Failure {
    std::string verb;
    Resource resource;
    Error error;
    int times;
  };

  const Clock& clock;
  mutable std::mutex mutex;
  std::map<Resource, Served> served;
  std::map<Resource, std::map<ObjectKey, Object>> objects;
  std::vector<Change> history;
  std::int64_t revision = 1;
  std::uint64_t names = 0;
  std::optional<std::size_t> frozen_at;  // Changes beyond it are not shown.
  std::deque<Failure> failures;
  std::function<Result<void>(std::string_view, const Resource&, const ObjectKey&)> hook;
  std::vector<std::string> users;
  std::vector<std::pair<Cursor*, std::shared_ptr<Bell>>>
      cursors;  // In order of their making, so that tests are deterministic.

  // Before every call: what a test has arranged to happen. Runs without the lock, so that it may change the cluster.
  Result<void> begin(std::string verb, std::string_view subresource, const Resource& resource, const ObjectKey& key) {
    if (!subresource.empty()) verb += "/" + std::string(subresource);
    std::function<Result<void>(std::string_view, const Resource&, const ObjectKey&)> meanwhile;
    {
      const std::lock_guard lock(mutex);
      for (auto it = failures.begin(); it != failures.end(); ++it) {
        if (it->verb != verb || it->resource != resource) continue;
        Error error = it->error;
        if (--it->times == 0) failures.erase(it);
        return error;
      }
      if (!served.contains(resource))
        return Error(Reason::NotFound, "the server could not find the requested resource");
      meanwhile = hook;
    }
    return meanwhile ? meanwhile(verb, resource, key) : Result<void>{};
  }

  const Object* find(const Resource& resource, const ObjectKey& key) const {
    const auto collection = objects.find(resource);
    if (collection == objects.end()) return nullptr;
    const auto found = collection->second.find(key);
    return found == collection->second.end() ? nullptr : &found->second;
  }

  std::string new_uid() {
    char uid[37];
    std::snprintf(uid, sizeof uid, "00000000-0000-4000-8000-%012llx", static_cast<unsigned long long>(++names));
    return uid;
  }

  // Five characters of upstream's alphabet, in counting order.
  std::string new_suffix() {
    static constexpr std::string_view kAlphabet = "bcdfghjklmnpqrstvwxz2456789";
    std::uint64_t n = ++names;
    std::string out(5, 'b');
    for (std::size_t i = out.size(); i-- > 0; n /= kAlphabet.size()) out[i] = kAlphabet[n % kAlphabet.size()];
    return out;
  }

  Result<Object> store(const Resource& resource, json document) {
    document["metadata"]["resourceVersion"] = std::to_string(revision + 1);
    KUBERNEL_TRY(Object object, Object::from_json(document));
    ++revision;
    Object& place = objects[resource][object.key()];
    history.push_back({resource, revision, place, object});
    place = object;
    return object;
  }

  Object drop(const Resource& resource, const ObjectKey& key) {
    const Object last = objects[resource][key];
    objects[resource].erase(key);
    ++revision;
    auto marked =
        last.with([&](json& document) { document["metadata"]["resourceVersion"] = std::to_string(revision); });
    if (!marked) broken_fixture("drop", marked.error().message());
    history.push_back({resource, revision, *marked, {}});
    return *marked;
  }

  // Writes `document` over `before` as an update does; removes it when nothing holds a deleted object any more.
  Result<Object> replace(const Resource& resource, const Object& before, json document) {
    const json old = before.to_json();
    json& metadata = child(document, "metadata");
    for (const char* fixed :
         {"uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"}) {
      if (old["metadata"].contains(fixed)) {
        metadata[fixed] = old["metadata"][fixed];
      } else {
        metadata.erase(fixed);
      }
    }
    metadata["resourceVersion"] = old["metadata"]["resourceVersion"];
    if (document == old) return before;
    json without = old, with = document;
    for (json* side : {&without, &with}) {
      side->erase("metadata");
      side->erase("status");
    }
    if (without != with && metadata.contains("generation"))
      metadata["generation"] = metadata["generation"].get<std::int64_t>() + 1;
    const bool namespace_held = resource == api::resources::kNamespaces && document.contains("spec") &&
                                document["spec"].contains("finalizers") && !document["spec"]["finalizers"].empty();
    KUBERNEL_TRY(Object stored, store(resource, document));
    const bool graceful = document["metadata"].value("deletionGracePeriodSeconds", 0) > 0;
    if (stored.head().deleting && !has_finalizers(document) && !namespace_held && !graceful) {
      return drop(resource, stored.key());
    }
    return stored;
  }

  Result<Object> add(const Resource& resource, const ObjectKey& parent, json document) {
    const Served& info = served.at(resource);
    if (!document.contains("kind")) document["kind"] = info.kind;
    if (!document.contains("apiVersion")) {
      document["apiVersion"] = resource.group.empty() ? resource.version : resource.group + "/" + resource.version;
    }
    json& metadata = child(document, "metadata");
    if (info.namespaced && !metadata.contains("namespace"))
      metadata["namespace"] = parent.ns.empty() ? "default" : parent.ns;
    if (text(metadata, "name").empty()) {
      if (text(metadata, "generateName").empty()) {
        return Error(Reason::Invalid,
                     info.kind + " \"\" is invalid: metadata.name: Required value: name or generateName is required");
      }
      metadata["name"] = text(metadata, "generateName") + new_suffix();
    }
    const ObjectKey key{info.namespaced ? text(metadata, "namespace") : "", text(metadata, "name")};
    if (find(resource, key) != nullptr) {
      return Error(Reason::AlreadyExists, to_string(resource) + " \"" + key.name + "\" already exists",
                   details(resource, key.name));
    }
    if (const Object* ns = find(api::resources::kNamespaces, {"", key.ns}); ns != nullptr && ns->head().deleting) {
      ErrorDetails why = details(resource, key.name);
      why.causes.push_back(
          {"NamespaceTerminating", "namespace " + key.ns + " is being terminated", "metadata.namespace"});
      return Error(Reason::Forbidden,
                   to_string(resource) + " \"" + key.name +
                       "\" is forbidden: unable to create new content in namespace " + key.ns +
                       " because it is being terminated",
                   std::move(why));
    }
    if (!metadata.contains("uid")) metadata["uid"] = new_uid();
    if (!metadata.contains("creationTimestamp")) metadata["creationTimestamp"] = api::format_time(clock.wall_now());
    if (document.contains("spec") && !metadata.contains("generation")) metadata["generation"] = 1;
    return store(resource, std::move(document));
  }

  void tell_watchers();
};

/// A place in the history.
class FakeCluster::Cursor final : public client::Watch {
 public:
  Cursor(std::shared_ptr<State> state, Resource resource, Selection wanted, std::size_t next,
         std::deque<client::WatchEvent> first)
      : state_(std::move(state)),
        resource_(std::move(resource)),
        wanted_(std::move(wanted)),
        next_(next),
        pending_(std::move(first)) {
    const std::lock_guard lock(state_->mutex);
    state_->cursors.emplace_back(this, bell_);
  }
  ~Cursor() override {
    {
      const std::lock_guard lock(state_->mutex);
      std::erase_if(state_->cursors, [this](const auto& entry) { return entry.first == this; });
    }
    const std::lock_guard wait(bell_->mutex);  // For a callback that is running.
    bell_->ready = nullptr;
  }

  Result<std::vector<client::WatchEvent>> take(std::size_t max) override {
    const std::lock_guard lock(state_->mutex);
    if (broken_) return Error(*broken_, *broken_ == Reason::Expired ? "too old resource version" : "watch closed");
    std::vector<client::WatchEvent> out;
    while (!pending_.empty() && out.size() < max) {
      out.push_back(std::move(pending_.front()));
      pending_.pop_front();
    }
    const std::size_t end = state_->frozen_at.value_or(state_->history.size());
    for (; next_ < end && out.size() < max; ++next_) show(state_->history[next_], out);
    return out;
  }

  void notify(std::function<void()> ready) override {
    {
      const std::lock_guard lock(bell_->mutex);
      bell_->ready = std::move(ready);
    }
    bell_->ring();
  }

  void end(Reason reason) { broken_ = reason; }

 private:
  // An object that enters or leaves the selection appears or disappears for this watcher.
  void show(const Change& change, std::vector<client::WatchEvent>& out) const {
    if (change.resource != resource_) return;
    const bool was = change.before && wanted_.contains(change.before);
    const bool is = change.after && wanted_.contains(change.after);
    if (is) {
      out.push_back({was ? EventType::Modified : EventType::Added, change.after});
    } else if (was) {
      out.push_back({EventType::Deleted, change.after ? change.after : change.before});
    }
  }

  const std::shared_ptr<State> state_;
  const Resource resource_;
  const Selection wanted_;
  std::size_t next_;
  std::deque<client::WatchEvent> pending_;
  std::optional<Reason> broken_;
  const std::shared_ptr<Bell> bell_ = std::make_shared<Bell>();
};

void FakeCluster::State::tell_watchers() {
  std::vector<std::shared_ptr<Bell>> bells;
  {
    const std::lock_guard lock(mutex);
    for (const auto& [cursor, bell] : cursors) bells.push_back(bell);
  }
  for (const auto& bell : bells) bell->ring();
}

FakeCluster::FakeCluster(const Clock& clock) : state_(std::make_shared<State>(clock)) {}
FakeCluster::~FakeCluster() = default;

Object FakeCluster::put(const Resource& resource, const json& document) {
  Result<Object> stored = [&]() -> Result<Object> {
    const std::lock_guard lock(state_->mutex);
    if (!state_->served.contains(resource)) broken_fixture("put", to_string(resource) + " is not served");
    const json metadata = document.value("metadata", json::object());
    const bool namespaced = state_->served.at(resource).namespaced;
    const std::string ns = text(metadata, "namespace");
    const ObjectKey key{namespaced ? (ns.empty() ? "default" : ns) : "", text(metadata, "name")};
    const Object* before = state_->find(resource, key);
    if (before == nullptr) return state_->add(resource, key, document);
    json changed = document;
    const json old = before->to_json();
    for (const char* kept : {"apiVersion", "kind"}) changed[kept] = old[kept];
    if (key.ns.empty() == false) changed["metadata"]["namespace"] = key.ns;
    return state_->replace(resource, *before, std::move(changed));
  }();
  if (!stored) broken_fixture("put", stored.error().message());
  state_->tell_watchers();
  return *stored;
}

Object FakeCluster::put_text(const Resource& resource, std::string_view json_text) {
  json document = json::parse(json_text, nullptr, false);
  if (document.is_discarded()) broken_fixture("put_text", "no JSON: " + std::string(json_text));
  return put(resource, document);
}

Object FakeCluster::edit(const Resource& resource, const ObjectKey& key, const std::function<void(json&)>& change) {
  Result<Object> stored = [&]() -> Result<Object> {
    const std::lock_guard lock(state_->mutex);
    const Object* before = state_->find(resource, key);
    if (before == nullptr) broken_fixture("edit", not_found(resource, key).message());
    const Object old = *before;
    json document = old.to_json();
    change(document);
    return state_->replace(resource, old, std::move(document));
  }();
  if (!stored) broken_fixture("edit", stored.error().message());
  state_->tell_watchers();
  return *stored;
}

void FakeCluster::erase(const Resource& resource, const ObjectKey& key) {
  {
    const std::lock_guard lock(state_->mutex);
    if (state_->find(resource, key) == nullptr) return;
    state_->drop(resource, key);
  }
  state_->tell_watchers();
}

std::vector<Object> FakeCluster::all(const Resource& resource, std::string_view ns) const {
  const std::lock_guard lock(state_->mutex);
  std::vector<Object> out;
  const auto collection = state_->objects.find(resource);
  if (collection == state_->objects.end()) return out;
  for (const auto& [key, object] : collection->second) {
    if (ns.empty() || key.ns == ns) out.push_back(object);
  }
  return out;
}

std::optional<Object> FakeCluster::find(const Resource& resource, const ObjectKey& key) const {
  const std::lock_guard lock(state_->mutex);
  const Object* found = state_->find(resource, key);
  if (found == nullptr) return std::nullopt;
  return *found;
}

void FakeCluster::serve(const Resource& resource, std::string kind, bool namespaced) {
  const std::lock_guard lock(state_->mutex);
  state_->served[resource] = {std::move(kind), namespaced};
}

void FakeCluster::freeze_cache() {
  const std::lock_guard lock(state_->mutex);
  if (!state_->frozen_at) state_->frozen_at = state_->history.size();
}

void FakeCluster::thaw_cache() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->frozen_at.reset();
  }
  state_->tell_watchers();
}

void FakeCluster::break_watches(Reason reason) {
  {
    const std::lock_guard lock(state_->mutex);
    for (const auto& [cursor, bell] : state_->cursors) cursor->end(reason);
  }
  state_->tell_watchers();
}

void FakeCluster::fail_next(std::string verb, const Resource& resource, Error error, int times) {
  const std::lock_guard lock(state_->mutex);
  state_->failures.push_back({std::move(verb), resource, std::move(error), times});
}

void FakeCluster::on_call(std::function<Result<void>(std::string_view, const Resource&, const ObjectKey&)> hook) {
  const std::lock_guard lock(state_->mutex);
  state_->hook = std::move(hook);
}

std::vector<std::string> FakeCluster::users() const {
  const std::lock_guard lock(state_->mutex);
  return state_->users;
}

namespace {

// A client with an identity; the fake does not authorize, so it only passes on.
class Connected final : public client::ApiClient {
 public:
  explicit Connected(client::ApiClient& cluster) : cluster_(cluster) {}

  Result<Object> get(const CallContext& ctx, const Resource& resource, const ObjectKey& key,
                     std::string_view subresource) override {
    return cluster_.get(ctx, resource, key, subresource);
  }
  Result<client::ObjectList> list(const CallContext& ctx, const Resource& resource,
                                  const client::ListOptions& options) override {
    return cluster_.list(ctx, resource, options);
  }
  Result<std::unique_ptr<client::Watch>> watch(const CallContext& ctx, const Resource& resource,
                                               const client::WatchOptions& options) override {
    return cluster_.watch(ctx, resource, options);
  }
  Result<Object> create(const CallContext& ctx, const Resource& resource, const ObjectKey& parent, const json& document,
                        const client::WriteOptions& options) override {
    return cluster_.create(ctx, resource, parent, document, options);
  }
  Result<Object> update(const CallContext& ctx, const Resource& resource, const ObjectKey& key, const json& document,
                        const client::WriteOptions& options) override {
    return cluster_.update(ctx, resource, key, document, options);
  }
  Result<Object> patch(const CallContext& ctx, const Resource& resource, const ObjectKey& key, client::PatchType type,
                       const json& patch, const client::WriteOptions& options) override {
    return cluster_.patch(ctx, resource, key, type, patch, options);
  }
  Result<Object> remove(const CallContext& ctx, const Resource& resource, const ObjectKey& key,
                        const client::DeleteOptions& options) override {
    return cluster_.remove(ctx, resource, key, options);
  }
  Result<void> remove_all(const CallContext& ctx, const Resource& resource, const client::ListOptions& which,
                          const client::DeleteOptions& options) override {
    return cluster_.remove_all(ctx, resource, which, options);
  }
  Result<std::vector<DiscoveredResource>> discover(const CallContext& ctx) override { return cluster_.discover(ctx); }

 private:
  client::ApiClient& cluster_;
};

}  // namespace

std::unique_ptr<client::ApiClient> FakeCluster::connect(const auth::User& user) {
  const std::lock_guard lock(state_->mutex);
  state_->users.push_back(user.name);
  return std::make_unique<Connected>(*this);
}

Result<Object> FakeCluster::get(const CallContext&, const Resource& resource, const ObjectKey& key,
                                std::string_view subresource) {
  KUBERNEL_CHECK_OK(state_->begin("get", subresource, resource, key));
  const std::lock_guard lock(state_->mutex);
  const Object* found = state_->find(resource, key);
  if (found == nullptr) return not_found(resource, key);
  return *found;
}

Result<client::ObjectList> FakeCluster::list(const CallContext&, const Resource& resource,
                                             const client::ListOptions& options) {
  KUBERNEL_CHECK_OK(state_->begin("list", {}, resource, {options.ns, ""}));
  KUBERNEL_TRY(const Selection wanted, selection(options.ns, options.label_selector, options.field_selector));
  client::ObjectList out;
  const std::lock_guard lock(state_->mutex);
  out.resource_version = state_->revision;
  for (const auto& [key, object] : state_->objects[resource]) {
    if (wanted.contains(object)) out.items.push_back(object);
  }
  return out;
}

Result<std::unique_ptr<client::Watch>> FakeCluster::watch(const CallContext&, const Resource& resource,
                                                          const client::WatchOptions& options) {
  KUBERNEL_CHECK_OK(state_->begin("watch", {}, resource, {options.ns, ""}));
  KUBERNEL_TRY(Selection wanted, selection(options.ns, options.label_selector, options.field_selector));
  std::deque<client::WatchEvent> first;
  std::size_t next = 0;
  {
    const std::lock_guard lock(state_->mutex);
    if (options.resource_version == 0) {
      for (const auto& [key, object] : state_->objects[resource]) {
        if (wanted.contains(object)) first.push_back({EventType::Added, object});
      }
      next = state_->history.size();
    } else {
      while (next < state_->history.size() && state_->history[next].revision <= options.resource_version) ++next;
    }
  }
  return std::make_unique<Cursor>(state_, resource, std::move(wanted), next, std::move(first));
}

Result<Object> FakeCluster::create(const CallContext&, const Resource& resource, const ObjectKey& parent,
                                   const json& document, const client::WriteOptions& options) {
  KUBERNEL_CHECK_OK(state_->begin("create", options.subresource, resource, parent));
  Result<Object> made = [&]() -> Result<Object> {
    const std::lock_guard lock(state_->mutex);
    if (options.subresource == "binding") {
      const Object* pod = state_->find(resource, parent);
      if (pod == nullptr) return not_found(resource, parent);
      const Object before = *pod;
      if (!before.pointer("/spec/nodeName").string().empty()) {
        return conflict(resource, parent,
                        "pod " + parent.name + " is already assigned to node \"" +
                            std::string(before.pointer("/spec/nodeName").string()) + "\"");
      }
      json bound = before.to_json();
      bound["spec"]["nodeName"] = document.at("target").at("name");
      json& conditions = child(bound, "status")["conditions"];
      if (conditions.is_null()) conditions = json::array();
      conditions.push_back({{"type", "PodScheduled"}, {"status", "True"}});
      return state_->replace(resource, before, std::move(bound));
    }
    if (options.subresource == "eviction") {
      const Object* pod = state_->find(resource, parent);
      if (pod == nullptr) return not_found(resource, parent);
      return state_->drop(resource, parent);
    }
    if (!options.subresource.empty()) {
      return Error(Reason::MethodNotAllowed, "the fake cluster has no create on " + options.subresource);
    }
    json fresh = document;
    // Status is written through its subresource only.
    if (fresh.contains("spec")) fresh.erase("status");
    if (resource == api::resources::kPods) fresh["status"] = {{"phase", "Pending"}};
    for (const char* server_owned :
         {"uid", "creationTimestamp", "deletionTimestamp", "resourceVersion", "generation"}) {
      if (fresh.contains("metadata")) fresh["metadata"].erase(server_owned);
    }
    return state_->add(resource, parent, std::move(fresh));
  }();
  if (made) state_->tell_watchers();
  return made;
}

Result<Object> FakeCluster::update(const CallContext&, const Resource& resource, const ObjectKey& key,
                                   const json& document, const client::WriteOptions& options) {
  KUBERNEL_CHECK_OK(state_->begin("update", options.subresource, resource, key));
  Result<Object> written = [&]() -> Result<Object> {
    const std::lock_guard lock(state_->mutex);
    const Object* found = state_->find(resource, key);
    if (found == nullptr) return not_found(resource, key);
    const Object before = *found;
    const json old = before.to_json();
    const json metadata = document.value("metadata", json::object());
    const std::string uid = text(metadata, "uid");
    if (!uid.empty() && uid != before.uid()) {
      return conflict(resource, key,
                      "Precondition failed: UID in precondition: " + uid + ", UID in object meta: " + before.uid());
    }
    const std::string revision = text(metadata, "resourceVersion");
    if (!revision.empty() && revision != text(old["metadata"], "resourceVersion")) {
      return conflict(resource, key,
                      "the object has been modified; please apply your changes to the latest version and try again");
    }
    json changed = document;
    if (options.subresource == "status") {
      changed = old;
      changed["status"] = document.value("status", json::object());
      // As most of upstream's status strategies let pass.
      if (metadata.contains("annotations")) changed["metadata"]["annotations"] = metadata["annotations"];
    } else if (options.subresource == "finalize") {
      changed = old;
      changed["spec"] = document.value("spec", json::object());
    } else if (!options.subresource.empty()) {
      return Error(Reason::MethodNotAllowed, "the fake cluster has no update on " + options.subresource);
    } else if (old.contains("spec")) {
      changed.erase("status");
      if (old.contains("status")) changed["status"] = old["status"];
    }
    for (const char* kept : {"apiVersion", "kind"}) changed[kept] = old[kept];
    child(changed, "metadata")["name"] = key.name;
    if (!key.ns.empty()) changed["metadata"]["namespace"] = key.ns;
    return state_->replace(resource, before, std::move(changed));
  }();
  if (written) state_->tell_watchers();
  return written;
}

Result<Object> FakeCluster::patch(const CallContext& ctx, const Resource& resource, const ObjectKey& key,
                                  client::PatchType type, const json& patch, const client::WriteOptions& options) {
  KUBERNEL_CHECK_OK(state_->begin("patch", options.subresource, resource, key));
  json document;
  {
    const std::lock_guard lock(state_->mutex);
    const Object* found = state_->find(resource, key);
    if (found == nullptr) return not_found(resource, key);
    document = found->to_json();
  }
  // A patch overwrites unless it names a revision itself.
  document["metadata"].erase("resourceVersion");
  switch (type) {
    case client::PatchType::Json: {
      KUBERNEL_TRY(document, catch_as_error("json patch", [&]() -> Result<json> { return document.patch(patch); }));
      break;
    }
    case client::PatchType::Merge: document.merge_patch(patch); break;
    case client::PatchType::StrategicMerge: {
      const schema::ResourceInfo* info = schema::find_resource(resource.group, resource.version, resource.plural);
      if (info == nullptr)
        return Error(Reason::UnsupportedMediaType, "strategic merge patches need a built-in resource");
      KUBERNEL_TRY(document, schema::apply_strategic_merge_patch(*info->type, document, patch));
      break;
    }
    case client::PatchType::Apply:
      return Error(Reason::UnsupportedMediaType, "the fake cluster does not know server-side apply");
  }
  return update(ctx, resource, key, document, options);
}

Result<Object> FakeCluster::remove(const CallContext&, const Resource& resource, const ObjectKey& key,
                                   const client::DeleteOptions& options) {
  KUBERNEL_CHECK_OK(state_->begin("delete", {}, resource, key));
  Result<Object> left = [&]() -> Result<Object> {
    const std::lock_guard lock(state_->mutex);
    const Object* found = state_->find(resource, key);
    if (found == nullptr) return not_found(resource, key);
    const Object before = *found;
    if (!options.precondition_uid.empty() && options.precondition_uid != before.uid()) {
      return conflict(resource, key,
                      "the UID in the precondition (" + options.precondition_uid +
                          ") does not match the UID in record (" + before.uid() +
                          "). The object might have been deleted and then recreated");
    }
    json document = before.to_json();
    if (!options.precondition_resource_version.empty() &&
        options.precondition_resource_version != text(document["metadata"], "resourceVersion")) {
      return conflict(resource, key, "the ResourceVersion in the precondition does not match");
    }
    json& metadata = document["metadata"];
    json finalizers = metadata.value("finalizers", json::array());
    const auto hold = [&](const char* finalizer) {
      if (std::ranges::find(finalizers, finalizer) == finalizers.end()) finalizers.push_back(finalizer);
    };
    if (options.propagation == client::Propagation::Foreground) hold("foregroundDeletion");
    if (options.propagation == client::Propagation::Orphan) hold("orphan");
    if (!finalizers.empty()) metadata["finalizers"] = finalizers;
    std::int64_t grace = 0;
    if (resource == api::resources::kPods) {
      grace = options.grace_period_seconds.value_or(before.pointer("/spec/terminationGracePeriodSeconds").integer(30));
      const std::string_view phase = before.pointer("/status/phase").string();
      if (before.pointer("/spec/nodeName").string().empty() || phase == "Succeeded" || phase == "Failed") grace = 0;
    }
    const bool namespace_held =
        resource == api::resources::kNamespaces && before.pointer("/spec/finalizers").size() > 0;
    if (finalizers.empty() && grace == 0 && !namespace_held) return state_->drop(resource, key);
    if (!before.head().deleting) {
      metadata["deletionTimestamp"] = api::format_time(state_->clock.wall_now() + std::chrono::seconds(grace));
      if (resource == api::resources::kNamespaces) child(document, "status")["phase"] = "Terminating";
    }
    metadata["deletionGracePeriodSeconds"] = grace;
    return document == before.to_json() ? before : state_->store(resource, std::move(document));
  }();
  if (left) state_->tell_watchers();
  return left;
}

Result<void> FakeCluster::remove_all(const CallContext& ctx, const Resource& resource, const client::ListOptions& which,
                                     const client::DeleteOptions& options) {
  KUBERNEL_CHECK_OK(state_->begin("deletecollection", {}, resource, {which.ns, ""}));
  KUBERNEL_TRY(const auto found, list(ctx, resource, which));
  for (const Object& object : found.items) {
    if (const auto removed = remove(ctx, resource, object.key(), options);
        !removed && removed.error().reason() != Reason::NotFound) {
      return removed.error();
    }
  }
  return {};
}

Result<std::vector<client::ApiClient::DiscoveredResource>> FakeCluster::discover(const CallContext&) {
  const std::lock_guard lock(state_->mutex);
  std::vector<DiscoveredResource> out;
  for (const auto& [resource, info] : state_->served) {
    out.push_back({resource,
                   info.kind,
                   info.namespaced,
                   {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}});
  }
  return out;
}

}  // namespace kubernel::testing
