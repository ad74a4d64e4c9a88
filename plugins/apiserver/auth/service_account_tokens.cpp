// SPDX-License-Identifier: Apache-2.0
#include "auth/service_account_tokens.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include <kubernel/api/time.h>
#include <kubernel/crypto/pki.h>

#include "auth/node_authorizer.h"
#include "registry/errors.h"

namespace kubernel::apiserver {

namespace {

constexpr const char* kPrivate = "kubernetes.io";
constexpr std::size_t kMostVerified = 4096;
constexpr auto kDeletionLeeway = std::chrono::seconds(60);  // As upstream: the last requests of a pod that ends.

std::int64_t unix_seconds(Clock::WallTime time) {
  return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
}

Error refused(std::string why) {
  return Error(Reason::Unauthorized, std::move(why));
}

std::vector<std::string> string_list(const json& value) {
  std::vector<std::string> out;
  if (value.is_string()) out.push_back(value.get<std::string>());
  if (!value.is_array()) return out;
  for (const json& one : value) {
    if (one.is_string()) out.push_back(one.get<std::string>());
  }
  return out;
}

json named(std::string_view name, std::string_view uid) {
  json out = {{"name", name}};
  if (!uid.empty()) out["uid"] = uid;
  return out;
}

Result<void> check_duration(const Target& target, std::int64_t seconds) {
  std::string why;
  if (seconds < 600) why = "may not specify a duration less than 10 minutes";
  if (seconds > (std::int64_t{1} << 32)) why = "may not specify a duration larger than 2^32 seconds";
  if (why.empty()) return {};
  schema::ResourceInfo request = *target.info;
  request.group = "authentication.k8s.io";
  request.kind = "TokenRequest";
  return invalid(request, "", {invalid_value("spec.expirationSeconds", std::to_string(seconds), why)});
}

// A kubelet gets tokens for the pods on its node, and for nothing else (NodeRestriction).
Result<void> check_node(const Caller& caller, const json& reference, const json& claims) {
  const std::string_view node = node_name(caller.user);
  if (node.empty()) return {};
  if (text(reference, {"kind"}) != "Pod" || text(reference, {"apiVersion"}) != "v1") {
    return Error(Reason::Forbidden, "node requested token not bound to a pod");
  }
  if (text(reference, {"uid"}).empty())
    return Error(Reason::Forbidden, "node requested token with a pod binding without a uid");
  if (text(claims, {"node", "name"}) != node) {
    return Error(Reason::Forbidden, "node requested token bound to a pod scheduled on a different node");
  }
  return {};
}

}  // namespace

// What a token is bound to, as its private claims.
struct ServiceAccountTokens::Bound {
  json claims = json::object();
};

Result<api::Object> ServiceAccountTokens::find(const CallContext& ctx, std::string_view plural,
                                               const api::ObjectKey& key) const {
  const Store* store = api_.store(*api_.find("", "v1", plural));
  auto cached = store->get(ctx, key, "0");
  if (cached || cached.error().reason() != Reason::NotFound) return cached;
  return store->get(ctx, key, "");  // It may be newer than the cache.
}

Result<ServiceAccountTokens::Bound> ServiceAccountTokens::bound_objects(const Caller& caller,
                                                                        const api::ObjectKey& account,
                                                                        const json& request) const {
  Bound out;
  const json& reference = member(request, {"spec", "boundObjectRef"});
  if (reference.is_object()) {
    const std::string kind = text(reference, {"kind"});
    const std::string name = text(reference, {"name"});
    const api::GroupVersionKind gvk = api::make_gvk(text(reference, {"apiVersion"}), kind);
    if (!gvk.group.empty() || (kind != "Pod" && kind != "Secret" && kind != "Node")) {
      return bad_request("cannot bind token to object of type " + gvk.api_version() + ", Kind=" + kind);
    }
    const char* plural = kind == "Pod" ? "pods" : kind == "Secret" ? "secrets" : "nodes";
    KUBERNEL_TRY(const api::Object object, find(caller.ctx, plural, {kind == "Node" ? "" : account.ns, name}));
    if (kind == "Pod") {
      if (object["spec"]["serviceAccountName"].string() != account.name) {
        return bad_request("cannot bind token for serviceaccount " + quote(account.name) +
                           " to pod running with different serviceaccount name.");
      }
      if (const std::string node(object["spec"]["nodeName"].string()); !node.empty()) {
        const auto found = find(caller.ctx, "nodes", {"", node});
        if (!found && found.error().reason() != Reason::NotFound) return found.error();
        out.claims["node"] = named(node, found ? found->uid() : "");
      }
    }
    const std::string wanted = text(reference, {"uid"});
    if (!wanted.empty() && wanted != object.uid()) {
      return Error(Reason::Conflict,
                   "Operation cannot be fulfilled on " + kind + " " + quote(name) +
                       ": the UID in the bound object reference (" + wanted +
                       ") does not match the UID in record. The object might have been deleted and then recreated");
    }
    out.claims[kind == "Pod" ? "pod" : kind == "Secret" ? "secret" : "node"] = named(name, object.uid());
  }
  KUBERNEL_CHECK_OK(check_node(caller, reference, out.claims));
  return out;
}

Result<json> ServiceAccountTokens::issue(const Caller& caller, const api::ObjectKey& account, json request) const {
  const Target target{api_.find("", "v1", "serviceaccounts"), "token", account};
  KUBERNEL_TRY(const api::Object object, find(caller.ctx, "serviceaccounts", account));
  const std::int64_t seconds = number(request, {"spec", "expirationSeconds"}, 3600);
  KUBERNEL_CHECK_OK(check_duration(target, seconds));
  KUBERNEL_TRY(Bound bound, bound_objects(caller, account, request));

  json& spec = make_member(request, {"spec"});
  if (!spec.is_object()) spec = json::object();
  if (member(spec, {"audiences"}).empty()) spec["audiences"] = json::array({options_.issuer});
  spec["expirationSeconds"] = seconds;

  const Clock::WallTime now = api_.context().clock.wall_now();
  json& own = bound.claims;
  own["namespace"] = account.ns;
  own["serviceaccount"] = named(account.name, object.uid());
  const json claims = {{"iss", options_.issuer},
                       {"sub", "system:serviceaccount:" + account.ns + ":" + account.name},
                       {"aud", spec["audiences"]},
                       {"iat", unix_seconds(now)},
                       {"nbf", unix_seconds(now)},
                       {"exp", unix_seconds(now) + seconds},
                       {"jti", random_uuid(api_.context().random)},
                       {kPrivate, own}};
  KUBERNEL_TRY(const std::string token, crypto::sign_jwt(claims, options_.private_key_pem));
  request["metadata"] = {
      {"name", account.name}, {"namespace", account.ns}, {"creationTimestamp", api::format_time(now)}};
  request["status"] = {{"token", token},
                       {"expirationTimestamp", api::format_time(now + std::chrono::seconds(seconds))}};
  return request;
}

Result<std::shared_ptr<const json>> ServiceAccountTokens::verify(std::string_view token) const {
  const std::string digest = crypto::sha256_hex(token);
  {
    const std::lock_guard lock(mutex_);
    if (const auto known = verified_.find(digest); known != verified_.end()) return known->second;
  }
  KUBERNEL_TRY(json claims, crypto::verify_jwt(token, {options_.public_key_pem}));
  auto shared = std::make_shared<const json>(std::move(claims));
  const std::lock_guard lock(mutex_);
  if (verified_.size() >= kMostVerified) verified_.clear();
  verified_[digest] = shared;
  return std::shared_ptr<const json>(shared);
}

Result<void> ServiceAccountTokens::check_alive(const CallContext& ctx, std::string_view plural,
                                               const api::ObjectKey& key, std::string_view uid) const {
  const std::string what = std::string(plural) + " " + quote(api::to_string(key));
  const auto object = find(ctx, plural, key);
  if (!object) {
    if (object.error().reason() != Reason::NotFound) return object.error();
    return refused("the token's " + what + " does not exist");
  }
  if (object->uid() != uid) return refused("the token's " + what + " was deleted and made anew");
  const auto deleted = api::read_time((*object)["metadata"]["deletionTimestamp"]);
  if (deleted && *deleted < api_.context().clock.wall_now() - kDeletionLeeway)
    return refused("the token's " + what + " has been deleted");
  return {};
}

Result<TokenUser> ServiceAccountTokens::authenticate(const CallContext& ctx, std::string_view token,
                                                     const std::vector<std::string>& audiences) const {
  KUBERNEL_TRY(const std::shared_ptr<const json> verified, verify(token));
  const json& claims = *verified;
  const std::int64_t now = unix_seconds(api_.context().clock.wall_now());
  if (text(claims, {"iss"}) != options_.issuer) return refused("the token is from another issuer");
  if (now >= number(claims, {"exp"})) return refused("service account token has expired");
  if (now < number(claims, {"nbf"})) return refused("service account token is not valid yet");

  TokenUser out;
  const std::vector<std::string> wanted = audiences.empty() ? std::vector<std::string>{options_.issuer} : audiences;
  for (const std::string& audience : string_list(member(claims, {"aud"}))) {
    if (std::find(wanted.begin(), wanted.end(), audience) != wanted.end()) out.audiences.push_back(audience);
  }
  if (out.audiences.empty()) return refused("token audiences do not include any of the audiences asked for");

  const json& own = member(claims, {kPrivate});
  const std::string ns = text(own, {"namespace"});
  const std::string name = text(own, {"serviceaccount", "name"});
  const std::string user = "system:serviceaccount:" + ns + ":" + name;
  if (ns.empty() || name.empty() || text(claims, {"sub"}) != user)
    return refused("the token's claims are not a service account's");
  const std::string uid = text(own, {"serviceaccount", "uid"});
  KUBERNEL_CHECK_OK(check_alive(ctx, "serviceaccounts", {ns, name}, uid));
  const json& pod = member(own, {"pod"});
  const json& node = member(own, {"node"});
  const json& secret = member(own, {"secret"});
  if (pod.is_object()) KUBERNEL_CHECK_OK(check_alive(ctx, "pods", {ns, text(pod, {"name"})}, text(pod, {"uid"})));
  if (secret.is_object())
    KUBERNEL_CHECK_OK(check_alive(ctx, "secrets", {ns, text(secret, {"name"})}, text(secret, {"uid"})));
  // A pod's node is only told of; a token bound to the node itself ends with it.
  if (node.is_object() && !pod.is_object())
    KUBERNEL_CHECK_OK(check_alive(ctx, "nodes", {"", text(node, {"name"})}, text(node, {"uid"})));

  out.user = {user, uid, {"system:serviceaccounts", "system:serviceaccounts:" + ns, "system:authenticated"}, {}};
  const auto tell = [&](const char* key, std::string value) {
    if (!value.empty()) out.user.extra["authentication.kubernetes.io/" + std::string(key)] = {std::move(value)};
  };
  tell("pod-name", text(pod, {"name"}));
  tell("pod-uid", text(pod, {"uid"}));
  tell("node-name", text(node, {"name"}));
  tell("node-uid", text(node, {"uid"}));
  if (const std::string id = text(claims, {"jti"}); !id.empty()) tell("credential-id", "JTI=" + id);
  return out;
}

Result<std::string> ServiceAccountTokens::keys_document() const {
  KUBERNEL_TRY(const json key, crypto::to_jwk(options_.public_key_pem));
  return json{{"keys", json::array({key})}}.dump();
}

std::string ServiceAccountTokens::configuration_document() const {
  return json{{"issuer", options_.issuer},
              {"jwks_uri", options_.issuer + "/openid/v1/jwks"},
              {"response_types_supported", json::array({"id_token"})},
              {"subject_types_supported", json::array({"public"})},
              {"id_token_signing_alg_values_supported", json::array({"ES256"})}}
      .dump();
}

namespace {

class TokenAuthenticator final : public auth::Authenticator {
 public:
  explicit TokenAuthenticator(std::shared_ptr<const ServiceAccountTokens> tokens) : tokens_(std::move(tokens)) {}

  Result<std::optional<auth::User>> authenticate(const CallContext& ctx, const net::Request& request) override {
    constexpr std::string_view kScheme = "bearer ";
    std::string_view value = request.headers.get("authorization");
    if (value.size() <= kScheme.size()) return std::optional<auth::User>();
    const bool bearer = std::equal(kScheme.begin(), kScheme.end(), value.begin(),
                                   [](char wanted, char c) { return wanted == (c >= 'A' && c <= 'Z' ? c + 32 : c); });
    if (!bearer) return std::optional<auth::User>();
    value.remove_prefix(kScheme.size());
    KUBERNEL_TRY(TokenUser found, tokens_->authenticate(ctx, value, {}));
    return std::optional(std::move(found.user));
  }

 private:
  std::shared_ptr<const ServiceAccountTokens> tokens_;
};

class TokenRequests final : public VirtualResource {
 public:
  explicit TokenRequests(std::shared_ptr<const ServiceAccountTokens> tokens) : tokens_(std::move(tokens)) {}
  Result<json> create(const Caller& caller, const Target& target, json document) override {
    return tokens_->issue(caller, target.key, std::move(document));
  }

 private:
  std::shared_ptr<const ServiceAccountTokens> tokens_;
};

class TokenReviews final : public VirtualResource {
 public:
  explicit TokenReviews(std::shared_ptr<const ServiceAccountTokens> tokens) : tokens_(std::move(tokens)) {}

  Result<json> create(const Caller& caller, const Target&, json document) override {
    const std::string token = text(document, {"spec", "token"});
    if (token.empty()) return bad_request("token is required for TokenReview in authentication");
    const auto found = tokens_->authenticate(caller.ctx, token, string_list(member(document, {"spec", "audiences"})));
    if (found) {
      document["status"] = {{"authenticated", true}, {"user", user_info(found->user)}, {"audiences", found->audiences}};
    } else if (found.error().reason() == Reason::Unauthorized) {
      document["status"] = {{"user", json::object()}, {"error", found.error().message()}};
    } else {
      return found.error();
    }
    return document;
  }

 private:
  std::shared_ptr<const ServiceAccountTokens> tokens_;
};

}  // namespace

std::shared_ptr<auth::Authenticator> make_token_authenticator(std::shared_ptr<const ServiceAccountTokens> tokens) {
  return std::make_shared<TokenAuthenticator>(std::move(tokens));
}

void serve_tokens(Api& api, const std::shared_ptr<const ServiceAccountTokens>& tokens) {
  api.serve_virtual("", "serviceaccounts", "token", std::make_shared<TokenRequests>(tokens));
  api.serve_virtual("authentication.k8s.io", "tokenreviews", "", std::make_shared<TokenReviews>(tokens));
}

json user_info(const auth::User& user) {
  json out = json::object();
  if (!user.name.empty()) out["username"] = user.name;
  if (!user.uid.empty()) out["uid"] = user.uid;
  if (!user.groups.empty()) out["groups"] = user.groups;
  if (!user.extra.empty()) out["extra"] = user.extra;
  return out;
}

}  // namespace kubernel::apiserver
