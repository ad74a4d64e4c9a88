// SPDX-License-Identifier: Apache-2.0
#include "server/auth.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include <kubernel/crypto/pki.h>

namespace kubernel::kubelet {

namespace {

using nlohmann::json;

const api::Resource kTokenReviews{"authentication.k8s.io", "v1", "tokenreviews"};
const api::Resource kAccessReviews{"authorization.k8s.io", "v1", "subjectaccessreviews"};

// Upstream's webhook cache times: five minutes for a yes, half a minute for a no, two minutes for a token.
constexpr std::chrono::minutes kAllowedFor{5};
constexpr std::chrono::seconds kDeniedFor{30};
constexpr std::chrono::minutes kTokenFor{2};
constexpr std::size_t kMaxKept = 4096;

Error unauthorized() {
  return Error(Reason::Unauthorized, "Unauthorized");
}

auth::User user_of(api::Value info) {
  auth::User user;
  user.name = info["username"].string();
  user.uid = info["uid"].string();
  for (const api::Value group : info["groups"]) user.groups.emplace_back(group.string());
  const api::Value extra = info["extra"];
  for (auto at = extra.begin(); at != extra.end(); ++at) {
    for (const api::Value value : *at) user.extra[std::string(at.key())].emplace_back(value.string());
  }
  if (std::find(user.groups.begin(), user.groups.end(), "system:authenticated") == user.groups.end()) {
    user.groups.emplace_back("system:authenticated");
  }
  return user;
}

}  // namespace

NodeAuth::NodeAuth(client::ApiClient& api, Clock& clock, std::string node_name)
    : api_(api), clock_(clock), node_name_(std::move(node_name)) {}

std::string verb_of(std::string_view method) {
  if (method == "POST") return "create";
  if (method == "PUT") return "update";
  if (method == "PATCH") return "patch";
  if (method == "DELETE") return "delete";
  return "get";
}

std::vector<std::string> subresources_of(std::string_view path) {
  const auto below = [&](std::string_view prefix) {
    return path == prefix || path.starts_with(std::string(prefix) + "/");
  };
  if (below("/stats")) return {"stats"};
  if (below("/metrics")) return {"metrics"};
  if (below("/logs")) return {"log"};
  if (path == "/pods" || path == "/runningpods" || path == "/runningpods/") return {"pods", "proxy"};
  if (below("/healthz")) return {"healthz", "proxy"};
  return {"proxy"};
}

void NodeAuth::drop_old() {
  const auto now = clock_.now();
  std::erase_if(decisions_, [now](const auto& entry) { return entry.second.until <= now; });
  std::erase_if(tokens_, [now](const auto& entry) { return entry.second.until <= now; });
  if (decisions_.size() > kMaxKept) decisions_.clear();
  if (tokens_.size() > kMaxKept) tokens_.clear();
}

Result<auth::User> NodeAuth::authenticate(const CallContext& ctx, const net::Request& request) {
  if (request.peer_certificate && !request.peer_certificate->common_name.empty()) {
    auth::User user;
    user.name = request.peer_certificate->common_name;
    user.groups = request.peer_certificate->organizations;
    user.groups.emplace_back("system:authenticated");
    return user;
  }
  constexpr std::string_view kBearer = "bearer ";
  const std::string_view header = request.headers.get("authorization");
  const bool is_bearer = header.size() > kBearer.size() && std::equal(kBearer.begin(), kBearer.end(), header.begin(),
                                                                      [](char a, char b) { return a == (b | 0x20); });
  if (!is_bearer) return unauthorized();
  const std::string token(header.substr(kBearer.size()));
  const std::string hash = crypto::sha256_hex(token);
  {
    const std::lock_guard lock(mutex_);
    drop_old();
    if (const auto at = tokens_.find(hash); at != tokens_.end()) return at->second.user;
  }
  json review = json::parse(R"({"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview"})");
  review["spec"]["token"] = token;
  KUBERNEL_TRY(const auto answer, api_.create(ctx, kTokenReviews, {}, review, {}));
  const api::Value status = answer["status"];
  if (!status["authenticated"].boolean()) return unauthorized();
  auth::User user = user_of(status["user"]);
  const std::lock_guard lock(mutex_);
  tokens_[hash] = {user, clock_.now() + kTokenFor};
  return user;
}

Result<bool> NodeAuth::review(const CallContext& ctx, const auth::User& user, const std::string& verb,
                              const std::string& subresource) {
  json spec = json::object();
  spec["user"] = user.name;
  spec["groups"] = user.groups;
  if (!user.uid.empty()) spec["uid"] = user.uid;
  if (!user.extra.empty()) spec["extra"] = user.extra;
  spec["resourceAttributes"] = json::parse(R"({"group":"","version":"v1","resource":"nodes"})");
  spec["resourceAttributes"]["verb"] = verb;
  spec["resourceAttributes"]["name"] = node_name_;
  spec["resourceAttributes"]["subresource"] = subresource;
  const std::string key = spec.dump();
  {
    const std::lock_guard lock(mutex_);
    drop_old();
    if (const auto at = decisions_.find(key); at != decisions_.end()) return at->second.allowed;
  }
  json document = json::parse(R"({"apiVersion":"authorization.k8s.io/v1","kind":"SubjectAccessReview"})");
  document["spec"] = std::move(spec);
  KUBERNEL_TRY(const auto answer, api_.create(ctx, kAccessReviews, {}, document, {}));
  const bool allowed = answer["status"]["allowed"].boolean();
  const std::lock_guard lock(mutex_);
  decisions_[key] = {allowed, clock_.now() + (allowed ? std::chrono::seconds(kAllowedFor) : kDeniedFor)};
  return allowed;
}

Result<void> NodeAuth::authorize(const CallContext& ctx, const auth::User& user, const net::Request& request) {
  const std::string verb = verb_of(request.method);
  const auto subresources = subresources_of(request.path);
  for (const auto& subresource : subresources) {
    KUBERNEL_TRY(const bool allowed, review(ctx, user, verb, subresource));
    if (allowed) return {};
  }
  std::string list;
  for (const auto& subresource : subresources) list += (list.empty() ? "" : " ") + subresource;
  return Error(Reason::Forbidden,
               "Forbidden (user=" + user.name + ", verb=" + verb + ", resource=nodes, subresource(s)=[" + list + "])");
}

}  // namespace kubernel::kubelet
