// SPDX-License-Identifier: Apache-2.0
#include "pipeline/local_client.h"

#include <utility>

#include "pipeline/conversion.h"

namespace kubernel::apiserver {

namespace {

// Owns a share of the watcher and makes sure that no callback runs once it is gone.
class LocalWatch final : public client::Watch {
 public:
  LocalWatch(const schema::ResourceInfo& info, std::shared_ptr<Watcher> watcher)
      : info_(info), watcher_(std::move(watcher)) {}
  ~LocalWatch() override { watcher_->notify({}); }
  Result<std::vector<client::WatchEvent>> take(std::size_t max) override {
    auto events = watcher_->take(max);
    if (!events || find_conversion(info_) == nullptr) return events;
    for (client::WatchEvent& event : *events) {
      KUBERNEL_TRY(event.object, convert_out(info_, event.object));
    }
    return events;
  }
  void notify(std::function<void()> ready) override { watcher_->notify(std::move(ready)); }

 private:
  const schema::ResourceInfo& info_;
  std::shared_ptr<Watcher> watcher_;
};

class LocalClient final : public client::ApiClient {
 public:
  LocalClient(Api& api, auth::User user) : api_(api), user_(std::move(user)) {}

  Result<api::Object> get(const CallContext& ctx, const api::Resource& resource, const api::ObjectKey& key,
                          std::string_view subresource) override {
    KUBERNEL_TRY(const Target target, find(resource, key, subresource));
    return api_.get({ctx, user_}, target, "");
  }

  Result<client::ObjectList> list(const CallContext& ctx, const api::Resource& resource,
                                  const client::ListOptions& options) override {
    KUBERNEL_TRY(const Target target, find(resource, {options.ns, ""}, ""));
    KUBERNEL_TRY(ListResult found,
                 api_.list({ctx, user_}, target, {options.label_selector, options.field_selector}, query_of(options)));
    return client::ObjectList{std::move(found.items), found.revision, std::move(found.continue_token)};
  }

  Result<std::unique_ptr<client::Watch>> watch(const CallContext& ctx, const api::Resource& resource,
                                               const client::WatchOptions& options) override {
    KUBERNEL_TRY(const Target target, find(resource, {options.ns, ""}, ""));
    WatchQuery query;
    if (options.resource_version != 0) query.resource_version = std::to_string(options.resource_version);
    query.bookmarks = options.bookmarks;
    KUBERNEL_TRY(auto watcher,
                 api_.watch({ctx, user_}, target, {options.label_selector, options.field_selector}, std::move(query)));
    return std::unique_ptr<client::Watch>(std::make_unique<LocalWatch>(*target.info, std::move(watcher)));
  }

  Result<api::Object> create(const CallContext& ctx, const api::Resource& resource, const api::ObjectKey& parent,
                             const json& document, const client::WriteOptions& options) override {
    const api::ObjectKey key{parent.ns, options.subresource.empty() ? "" : parent.name};
    KUBERNEL_TRY(const Target target, find(resource, key, options.subresource));
    return api_.create({ctx, user_}, target, Body{Body::Form::Document, &document, {}}, options.dry_run);
  }

  Result<api::Object> update(const CallContext& ctx, const api::Resource& resource, const api::ObjectKey& key,
                             const json& document, const client::WriteOptions& options) override {
    KUBERNEL_TRY(const Target target, find(resource, key, options.subresource));
    KUBERNEL_TRY(Updated updated,
                 api_.update({ctx, user_}, target, Body{Body::Form::Document, &document, {}}, options.dry_run));
    return std::move(updated.object);
  }

  Result<api::Object> patch(const CallContext& ctx, const api::Resource& resource, const api::ObjectKey& key,
                            client::PatchType type, const json& patch, const client::WriteOptions& options) override {
    KUBERNEL_TRY(const Target target, find(resource, key, options.subresource));
    KUBERNEL_TRY(Updated updated, api_.patch({ctx, user_}, target, type, patch, options.dry_run));
    return std::move(updated.object);
  }

  Result<api::Object> remove(const CallContext& ctx, const api::Resource& resource, const api::ObjectKey& key,
                             const client::DeleteOptions& options) override {
    KUBERNEL_TRY(const Target target, find(resource, key, ""));
    KUBERNEL_TRY(Removed removed, api_.remove({ctx, user_}, target, options));
    return std::move(removed.object);
  }

  Result<void> remove_all(const CallContext& ctx, const api::Resource& resource, const client::ListOptions& which,
                          const client::DeleteOptions& options) override {
    KUBERNEL_TRY(const Target target, find(resource, {which.ns, ""}, ""));
    KUBERNEL_CHECK_OK(
        api_.remove_all({ctx, user_}, target, {which.label_selector, which.field_selector}, query_of(which), options));
    return {};
  }

  Result<std::vector<DiscoveredResource>> discover(const CallContext&) override {
    std::vector<DiscoveredResource> out;
    for (const schema::ResourceInfo* info : api_.served()) {
      if (!preferred(*info)) continue;
      out.push_back(
          {info->resource(), std::string(info->kind), info->namespaced, {info->verbs.begin(), info->verbs.end()}});
    }
    return out;
  }

 private:
  Result<Target> find(const api::Resource& resource, const api::ObjectKey& key, std::string_view subresource) const {
    const schema::ResourceInfo* info = api_.find(resource.group, resource.version, resource.plural);
    if (info == nullptr) return Error(Reason::NotFound, "the server could not find the requested resource");
    return Target{info, std::string(subresource), key};
  }

  static ListQuery query_of(const client::ListOptions& options) {
    return ListQuery{
        {}, options.limit, options.continue_token, options.resource_version, options.resource_version_match};
  }

  // The group's preferred version, or the first that is served when that version has no such resource.
  bool preferred(const schema::ResourceInfo& info) const {
    for (const schema::GroupInfo& group : schema::groups()) {
      if (group.group != info.group) continue;
      return group.preferred_version == info.version ||
             api_.find(info.group, group.preferred_version, info.plural) == nullptr;
    }
    return true;
  }

  Api& api_;
  auth::User user_;
};

}  // namespace

std::unique_ptr<client::ApiClient> LocalConnector::connect(const auth::User& user) {
  return std::make_unique<LocalClient>(api_, user);
}

}  // namespace kubernel::apiserver
