// SPDX-License-Identifier: Apache-2.0
//
// Reading, and what reading and writing share. Creates and updates: store_write.cpp; deletes: store_delete.cpp.
#include "registry/store.h"

#include <charconv>
#include <utility>

#include <kubernel/crypto/pki.h>
#include <kubernel/schema/codec.h>

#include "watch_cache/splice.h"

namespace kubernel::apiserver {

namespace {

constexpr std::size_t kPage = 500;

Error stale_continue() {
  return Error(
      Reason::Expired,
      "The provided continue parameter is too old to display a consistent list result. You must start a new list "
      "without the continue parameter.");
}

}  // namespace

Store::Store(const StoreContext& context, const schema::ResourceInfo& info, std::unique_ptr<Strategy> strategy,
             ResourceCache& cache)
    : context_(context),
      info_(info),
      strategy_(std::move(strategy)),
      cache_(cache),
      prefix_(std::string(info.etcd_prefix) + "/") {}

std::string Store::cache_key(const api::ObjectKey& key) {
  return key.ns.empty() ? key.name : key.ns + "/" + key.name;
}

std::string Store::storage_key(const api::ObjectKey& key) const {
  return prefix_ + cache_key(key);
}

Result<api::Object> Store::make_object(std::string_view stored, Revision revision) const {
  KUBERNEL_TRY(std::string text, with_resource_version(stored, revision));
  return api::Object::parse(std::move(text));
}

std::string Store::encode(const json& document) const {
  if (member(document, {"metadata", "resourceVersion"}).is_null() &&
      member(document, {"metadata", "managedFields"}).is_null()) {
    return schema::encode_json(*info_.type, document);
  }
  json bare = document;
  erase_member(bare, {"metadata"}, "resourceVersion");
  erase_member(bare, {"metadata"}, "managedFields");
  return schema::encode_json(*info_.type, bare);
}

Result<storage::CasResult> Store::put(const CallContext& ctx, std::string_view key, std::string_view value,
                                      Revision expected) const {
  storage::LeaseId lease = 0;
  if (strategy_->traits().expires) {
    KUBERNEL_TRY(lease, context_.expiry.take(ctx));
  }
  return context_.backend.put(ctx, key, value, expected, lease);
}

Result<api::Object> Store::get(const CallContext& ctx, const api::ObjectKey& key,
                               std::string_view resource_version) const {
  if (resource_version.empty()) {
    KUBERNEL_CHECK_OK(context_.caches.sync(ctx));
  } else if (resource_version != "0") {
    KUBERNEL_TRY(const Revision revision, parse_resource_version(resource_version));
    KUBERNEL_CHECK_OK(context_.caches.wait_for(ctx, revision));
  }
  Entry entry = cache_.find(cache_key(key));
  if (!entry) return not_found(info_, key.name);
  return std::move(entry.object);
}

Result<ListResult> Store::list(const CallContext& ctx, const ListQuery& query) const {
  if (!query.continue_token.empty()) {
    if (!query.resource_version.empty() && query.resource_version != "0") {
      return bad_request("specifying resource version is not allowed when using continue");
    }
    KUBERNEL_TRY(ContinueToken token, decode_continue(query.continue_token));
    auto page = list_at(ctx, query.filter, query.limit, std::move(token.start), token.revision);
    if (!page && page.error().reason() == Reason::Expired) return stale_continue();
    return page;
  }
  if (query.resource_version_match == "Exact") {
    KUBERNEL_TRY(const Revision revision, parse_resource_version(query.resource_version));
    KUBERNEL_CHECK_OK(context_.caches.wait_for(ctx, revision));
    const std::string start = info_.namespaced && !query.filter.ns.empty() ? query.filter.ns + "/" : "";
    return list_at(ctx, query.filter, query.limit, start, revision);
  }
  if (query.resource_version.empty()) {
    KUBERNEL_CHECK_OK(context_.caches.sync(ctx));
  } else if (query.resource_version != "0") {
    KUBERNEL_TRY(const Revision revision, parse_resource_version(query.resource_version));
    KUBERNEL_CHECK_OK(context_.caches.wait_for(ctx, revision));
  }
  ResourceCache::Snapshot found = cache_.list(query.filter, static_cast<std::size_t>(query.limit));
  ListResult out{std::move(found.items), found.revision, {}, std::nullopt};
  if (found.more) {
    out.continue_token = encode_continue({found.revision, found.last_key + '\0'});
    const bool selects = !query.filter.labels.matches_everything() || !query.filter.fields.terms().empty();
    if (!selects) out.remaining = found.remaining;
  }
  return out;
}

Result<ListResult> Store::list_at(const CallContext& ctx, const Filter& filter, std::int64_t limit, std::string start,
                                  Revision revision) const {
  // The scope is one namespace, or everything: the key after its last one ends the range ('0' follows '/').
  const std::string scope = prefix_ + (info_.namespaced && !filter.ns.empty() ? filter.ns + "/" : "");
  std::string end = scope;
  end.back() = '0';
  storage::RangeOptions range{prefix_ + start, end, kPage, revision, false};
  if (range.start < scope || range.start >= end)
    return bad_request("continue key is not valid: it is outside of the list");
  ListResult out;
  out.revision = revision;
  std::string last;
  for (;;) {
    KUBERNEL_TRY(const storage::Page page, context_.backend.range(ctx, range));
    for (const storage::KeyValue& kv : page.items) {
      KUBERNEL_TRY(const Entry entry, cache_.make_entry(kv.value, kv.modified));
      if (!filter.matches(entry)) continue;
      if (limit > 0 && out.items.size() == static_cast<std::size_t>(limit)) {
        out.continue_token = encode_continue({revision, last + '\0'});
        return out;
      }
      out.items.push_back(entry.object);
      last = kv.key.substr(prefix_.size());
    }
    if (!page.more || page.items.empty()) return out;
    range.start = page.items.back().key + '\0';
  }
}

Result<std::shared_ptr<Watcher>> Store::watch(const CallContext& ctx, const WatchQuery& query) const {
  ResourceCache::WatchStart start{query.filter, 0, query.bookmarks, query.send_initial_events && query.bookmarks,
                                  query.send_initial_events};
  if (query.resource_version.empty()) {
    KUBERNEL_CHECK_OK(context_.caches.sync(ctx));
  } else if (query.resource_version != "0") {
    KUBERNEL_TRY(start.from, parse_resource_version(query.resource_version));
    if (query.send_initial_events) KUBERNEL_CHECK_OK(context_.caches.wait_for(ctx, start.from));
  }
  return cache_.watch(std::move(start));
}

std::string encode_continue(const ContinueToken& token) {
  const json document = {{"v", "meta.k8s.io/v1"}, {"rv", token.revision}, {"start", token.start}};
  return crypto::base64url_encode(document.dump());
}

Result<ContinueToken> decode_continue(std::string_view text_in) {
  std::string padded(text_in);
  for (char& c : padded) c = c == '-' ? '+' : c == '_' ? '/' : c;
  while (padded.size() % 4 != 0) padded += '=';
  const auto bytes = crypto::base64_decode(padded);
  const json document = bytes ? json::parse(*bytes, nullptr, false) : json();
  if (!document.is_object() || text(document, {"v"}) != "meta.k8s.io/v1" || number(document, {"rv"}) <= 0 ||
      text(document, {"start"}).empty()) {
    return bad_request("continue key is not valid");
  }
  return ContinueToken{number(document, {"rv"}), text(document, {"start"})};
}

Result<Revision> parse_resource_version(std::string_view text_in) {
  Revision revision = 0;
  const auto [end, problem] = std::from_chars(text_in.data(), text_in.data() + text_in.size(), revision);
  if (problem != std::errc() || end != text_in.data() + text_in.size() || revision < 0) {
    return bad_request("Invalid value: " + quote(text_in) + ": resourceVersion must be a non-negative integer");
  }
  return revision;
}

}  // namespace kubernel::apiserver
