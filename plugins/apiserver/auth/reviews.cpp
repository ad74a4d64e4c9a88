// SPDX-License-Identifier: Apache-2.0
#include "auth/reviews.h"

#include <algorithm>
#include <utility>

#include <kubernel/api/time.h>

#include "auth/service_account_tokens.h"
#include "registry/errors.h"

namespace kubernel::apiserver {

namespace {

std::vector<std::string> string_list(const json& value) {
  std::vector<std::string> out;
  if (!value.is_array()) return out;
  for (const json& one : value) {
    if (one.is_string()) out.push_back(one.get<std::string>());
  }
  return out;
}

auth::User read_subject(const json& spec) {
  auth::User out{text(spec, {"user"}), text(spec, {"uid"}), string_list(member(spec, {"groups"})), {}};
  const json& extra = member(spec, {"extra"});
  if (!extra.is_object()) return out;
  for (const auto& [key, values] : extra.items()) out.extra[key] = string_list(values);
  return out;
}

// A selector given as a list of requirements, in query form. Only what can be said there counts, as upstream.
std::string label_text(const json& selector) {
  const std::string raw = text(selector, {"rawSelector"});
  if (!raw.empty()) return raw;
  std::string out;
  for (const json& one : member(selector, {"requirements"})) {
    const std::string key = text(one, {"key"});
    const std::string op = text(one, {"operator"});
    std::string values;
    for (const std::string& value : string_list(member(one, {"values"}))) values += (values.empty() ? "" : ",") + value;
    std::string term;
    if (op == "In" || op == "NotIn") term = key + (op == "In" ? " in (" : " notin (") + values + ")";
    if (op == "Exists") term = key;
    if (op == "DoesNotExist") term = "!" + key;
    if (!term.empty()) out += (out.empty() ? "" : ",") + term;
  }
  return out;
}

std::string field_text(const json& selector) {
  const std::string raw = text(selector, {"rawSelector"});
  if (!raw.empty()) return raw;
  std::string out;
  for (const json& one : member(selector, {"requirements"})) {
    const std::string op = text(one, {"operator"});
    const std::vector<std::string> values = string_list(member(one, {"values"}));
    if (values.size() != 1 || (op != "In" && op != "NotIn")) continue;
    out += (out.empty() ? "" : ",") + text(one, {"key"}) + (op == "In" ? "=" : "!=") + values.front();
  }
  return out;
}

auth::Attributes read_attributes(const json& spec, auth::User user) {
  auth::Attributes a;
  a.user = std::move(user);
  const json& path = member(spec, {"nonResourceAttributes"});
  if (path.is_object()) {
    a.is_resource_request = false;
    a.verb = text(path, {"verb"});
    a.path = text(path, {"path"});
    return a;
  }
  const json& about = member(spec, {"resourceAttributes"});
  a.verb = text(about, {"verb"});
  a.group = text(about, {"group"});
  a.version = text(about, {"version"});
  a.resource = text(about, {"resource"});
  a.subresource = text(about, {"subresource"});
  a.ns = text(about, {"namespace"});
  a.name = text(about, {"name"});
  // One that does not parse narrows nothing, so nothing more is allowed by it.
  if (auto labels = api::LabelSelector::parse(label_text(member(about, {"labelSelector"}))))
    a.label_selector = *std::move(labels);
  if (auto fields = api::FieldSelector::parse(field_text(member(about, {"fieldSelector"}))))
    a.field_selector = *std::move(fields);
  return a;
}

Causes check_spec(const json& spec, bool subject) {
  Causes out;
  const bool resource = member(spec, {"resourceAttributes"}).is_object();
  const bool path = member(spec, {"nonResourceAttributes"}).is_object();
  if (resource && path) {
    out.push_back(invalid_value("spec.nonResourceAttributes", member(spec, {"nonResourceAttributes"}).dump(),
                                "cannot be specified in combination with resourceAttributes"));
  }
  if (!resource && !path) {
    out.push_back(invalid_value("spec.resourceAttributes", "null",
                                "exactly one of nonResourceAttributes or resourceAttributes must be specified"));
  }
  if (subject && text(spec, {"user"}).empty() && member(spec, {"groups"}).empty()) {
    out.push_back(invalid_value("spec.user", "\"\"", "at least one of user or group must be specified"));
  }
  return out;
}

enum class About : std::uint8_t { Anybody, InNamespace, Self };

class AccessReviews final : public VirtualResource {
 public:
  AccessReviews(const Api& api, About about) : api_(api), about_(about) {}

  Result<json> create(const Caller& caller, const Target& target, json document) override {
    const json& spec = member(document, {"spec"});
    if (Causes causes = check_spec(spec, about_ != About::Self); !causes.empty())
      return invalid(*target.info, "", std::move(causes));
    if (about_ == About::InNamespace) KUBERNEL_CHECK_OK(check_namespace(target, spec));
    const auth::Attributes attributes = read_attributes(spec, about_ == About::Self ? caller.user : read_subject(spec));
    const auto decision = api_.authorizer()->authorize(caller.ctx, attributes);
    json status = {{"allowed", decision && decision->allowed}};
    if (!decision) {
      status["evaluationError"] = decision.error().message();
    } else {
      if (decision->denied) status["denied"] = true;
      if (!decision->reason.empty()) status["reason"] = decision->reason;
    }
    document["status"] = std::move(status);
    return document;
  }

 private:
  static Result<void> check_namespace(const Target& target, const json& spec) {
    if (member(spec, {"nonResourceAttributes"}).is_object()) {
      return invalid(*target.info, "",
                     {invalid_value("spec.nonResourceAttributes", member(spec, {"nonResourceAttributes"}).dump(),
                                    "disallowed on this kind of request")});
    }
    if (text(spec, {"resourceAttributes", "namespace"}) == target.key.ns) return {};
    return bad_request("spec.resourceAttributes.namespace must match namespace: " + target.key.ns);
  }

  const Api& api_;
  const About about_;
};

json resource_rule(const PolicyRule& rule) {
  json out = {{"verbs", rule.verbs}};
  if (!rule.api_groups.empty()) out["apiGroups"] = rule.api_groups;
  if (!rule.resources.empty()) out["resources"] = rule.resources;
  if (!rule.resource_names.empty()) out["resourceNames"] = rule.resource_names;
  return out;
}

class RulesReviews final : public VirtualResource {
 public:
  explicit RulesReviews(std::shared_ptr<Rbac> rbac) : rbac_(std::move(rbac)) {}

  Result<json> create(const Caller& caller, const Target&, json document) override {
    const std::string ns = text(document, {"spec", "namespace"});
    if (ns.empty()) return bad_request("no namespace on request");
    UserRules found = rbac_->rules_for(caller.user, ns);
    json resources = json::array();
    json paths = json::array();
    for (const PolicyRule& rule : found.rules) {
      if (!rule.resources.empty()) resources.push_back(resource_rule(rule));
      if (!rule.urls.empty()) paths.push_back({{"verbs", rule.verbs}, {"nonResourceURLs", rule.urls}});
    }
    const auto& groups = caller.user.groups;
    if (std::find(groups.begin(), groups.end(), "system:nodes") != groups.end()) {
      found.problems.emplace_back("node authorizer does not support user rule resolution");
    }
    std::string problems;
    for (const std::string& problem : found.problems) problems += (problems.empty() ? "" : ", ") + problem;
    document["status"] = {{"resourceRules", resources}, {"nonResourceRules", paths}, {"incomplete", !problems.empty()}};
    if (!problems.empty()) document["status"]["evaluationError"] = problems;
    return document;
  }

 private:
  std::shared_ptr<Rbac> rbac_;
};

class SelfReviews final : public VirtualResource {
 public:
  explicit SelfReviews(const Clock& clock) : clock_(clock) {}
  Result<json> create(const Caller& caller, const Target&, json document) override {
    document["metadata"] = {{"creationTimestamp", api::format_time(clock_.wall_now())}};
    document["status"] = {{"userInfo", user_info(caller.user)}};
    return document;
  }

 private:
  const Clock& clock_;
};

}  // namespace

void serve_reviews(Api& api, std::shared_ptr<Rbac> rbac) {
  const std::string group = "authorization.k8s.io";
  api.serve_virtual(group, "subjectaccessreviews", "", std::make_shared<AccessReviews>(api, About::Anybody));
  api.serve_virtual(group, "localsubjectaccessreviews", "", std::make_shared<AccessReviews>(api, About::InNamespace));
  api.serve_virtual(group, "selfsubjectaccessreviews", "", std::make_shared<AccessReviews>(api, About::Self));
  api.serve_virtual(group, "selfsubjectrulesreviews", "", std::make_shared<RulesReviews>(std::move(rbac)));
  api.serve_virtual("authentication.k8s.io", "selfsubjectreviews", "",
                    std::make_shared<SelfReviews>(api.context().clock));
}

}  // namespace kubernel::apiserver
