// SPDX-License-Identifier: Apache-2.0
#include "http/impersonation.h"

#include <algorithm>
#include <string>

#include "registry/errors.h"

namespace kubernel::apiserver {

namespace {

constexpr std::string_view kExtra = "impersonate-extra-";
constexpr std::string_view kServiceAccount = "system:serviceaccount:";

Result<void> may(const Api& api, const CallContext& ctx, const auth::User& user, const std::string& group,
                 const std::string& resource, const std::string& subresource, const std::string& ns,
                 const std::string& name) {
  auth::Attributes a;
  a.user = user;
  a.verb = "impersonate";
  a.group = group;
  a.version = "v1";
  a.resource = resource;
  a.subresource = subresource;
  a.ns = ns;
  a.name = name;
  if (api.authorizer() != nullptr) {
    KUBERNEL_TRY(const auth::Decision decision, api.authorizer()->authorize(ctx, a));
    if (decision.allowed) return {};
  }
  const std::string full = subresource.empty() ? resource : resource + "/" + subresource;
  return Error(Reason::Forbidden,
               full + " " + quote(name) + " is forbidden: User " + quote(user.name) + " cannot impersonate resource " +
                   quote(full) + " in API group " + quote(group) +
                   (ns.empty() ? " at the cluster scope" : " in the namespace " + quote(ns)),
               ErrorDetails{name, group, resource, "", {}, 0});
}

Result<void> may_be_user(const Api& api, const CallContext& ctx, const auth::User& user, const std::string& name) {
  if (name.starts_with(kServiceAccount)) {
    const std::string rest = name.substr(kServiceAccount.size());
    if (const std::size_t colon = rest.find(':'); colon != std::string::npos) {
      return may(api, ctx, user, "", "serviceaccounts", "", rest.substr(0, colon), rest.substr(colon + 1));
    }
  }
  return may(api, ctx, user, "", "users", "", "", name);
}

void add_implied_groups(auth::User& out) {
  const auto add = [&](const std::string& group) {
    if (std::find(out.groups.begin(), out.groups.end(), group) == out.groups.end()) out.groups.push_back(group);
  };
  if (out.name.starts_with(kServiceAccount)) {
    const std::string rest = out.name.substr(kServiceAccount.size());
    add("system:serviceaccounts");
    if (const std::size_t colon = rest.find(':'); colon != std::string::npos)
      add("system:serviceaccounts:" + rest.substr(0, colon));
  }
  add(out.name == "system:anonymous" ? "system:unauthenticated" : "system:authenticated");
}

}  // namespace

Result<auth::User> impersonate(const Api& api, const CallContext& ctx, const net::Request& request,
                               const auth::User& user) {
  auth::User out;
  out.name = request.headers.get("impersonate-user");
  out.uid = request.headers.get("impersonate-uid");
  for (const std::string_view group : request.headers.all("impersonate-group")) out.groups.emplace_back(group);
  for (const auto& [name, value] : request.headers.fields()) {
    if (name.starts_with(kExtra)) out.extra[name.substr(kExtra.size())].push_back(value);
  }
  if (out.name.empty()) {
    if (out.groups.empty() && out.extra.empty() && out.uid.empty()) return user;
    return bad_request("requested groups, uid or extra information to impersonate without impersonating a user");
  }
  KUBERNEL_CHECK_OK(may_be_user(api, ctx, user, out.name));
  for (const std::string& group : out.groups) KUBERNEL_CHECK_OK(may(api, ctx, user, "", "groups", "", "", group));
  if (!out.uid.empty()) KUBERNEL_CHECK_OK(may(api, ctx, user, "authentication.k8s.io", "uids", "", "", out.uid));
  for (const auto& [key, values] : out.extra) {
    for (const std::string& value : values) {
      KUBERNEL_CHECK_OK(may(api, ctx, user, "authentication.k8s.io", "userextras", key, "", value));
    }
  }
  add_implied_groups(out);
  return out;
}

}  // namespace kubernel::apiserver
