// SPDX-License-Identifier: Apache-2.0
//
// Configurations of admission webhooks (admissionregistration/validation).
#include <algorithm>
#include <set>

#include "validation/object_rules.h"

namespace kubernel::apiserver::validation {

namespace {

bool has_star(const Field& list) {
  bool found = false;
  list.each([&](const Field& one, std::size_t) { found = found || one.text() == "*"; });
  return found;
}

void check_star_alone(const Field& list, const char* what) {
  if (list.size() > 1 && has_star(list)) list.invalid(std::string("if '*' is present, must not specify other ") + what);
}

void check_resources(const Field& resources) {
  if (resources.zero()) resources.required();
  std::set<std::string> all_subresources_of;
  std::set<std::string> subresource_of_all;
  bool plain = false;
  bool star = false;
  bool both = false;
  resources.each([&](const Field& resource, std::size_t) {
    const std::string text = resource.text();
    if (text.empty()) return resource.required();
    both = both || text == "*/*";
    star = star || text == "*";
    const std::size_t slash = text.find('/');
    if (slash == std::string::npos) {
      plain = plain || text != "*";
      return;
    }
    const std::string name = text.substr(0, slash);
    const std::string sub = text.substr(slash + 1);
    if (all_subresources_of.contains(name))
      resource.invalid("if '" + name + "/*' is present, must not specify " + text);
    if (subresource_of_all.contains(sub)) resource.invalid("if '*/" + sub + "' is present, must not specify " + text);
    if (sub == "*") all_subresources_of.insert(name);
    if (name == "*") subresource_of_all.insert(sub);
  });
  if (resources.size() > 1 && both) resources.invalid("if '*/*' is present, must not specify other resources");
  if (star && plain) resources.invalid("if '*' is present, must not specify other resources without subresources");
}

void check_rule(const Field& rule) {
  const Field operations = rule["operations"];
  if (operations.zero()) operations.required();
  check_star_alone(operations, "operations");
  for (const char* field : {"apiGroups", "apiVersions"}) {
    if (rule[field].zero()) rule[field].required();
  }
  check_star_alone(rule["apiGroups"], "API groups");
  check_star_alone(rule["apiVersions"], "API versions");
  rule["apiVersions"].each([](const Field& version, std::size_t) {
    if (version.zero()) version.required();
  });
  check_resources(rule["resources"]);
}

// A name of at least three words: webhooks of several vendors must not meet.
void check_qualified_name(const Field& name) {
  if (name.zero()) return name.required();
  const std::string text = name.text();
  if (const auto problems = check_name(NameRule::Subdomain, text, false); !problems.empty()) {
    name.invalid(problems);
  } else if (std::count(text.begin(), text.end(), '.') < 2) {
    name.invalid("should be a domain with at least three segments separated by dots");
  }
}

void check_url(const Field& url) {
  constexpr std::string_view kForm = "; desired format: https://host[/path]";
  const std::string text = url.text();
  const std::size_t colon = text.find("://");
  const std::string scheme = colon == std::string::npos ? "" : text.substr(0, colon);
  if (scheme != "https") url.invalid_as(quote(scheme), "'https' is the only allowed URL scheme" + std::string(kForm));
  std::string rest = colon == std::string::npos ? text : text.substr(colon + 3);
  if (const std::size_t hash = rest.find('#'); hash != std::string::npos) {
    if (hash + 1 < rest.size()) url.invalid_as(quote(rest.substr(hash + 1)), "fragments are not permitted in the URL");
    rest.resize(hash);
  }
  if (const std::size_t query = rest.find('?'); query != std::string::npos) {
    if (query + 1 < rest.size())
      url.invalid_as(quote(rest.substr(query + 1)), "query parameters are not permitted in the URL");
    rest.resize(query);
  }
  std::string host = colon == std::string::npos ? "" : rest.substr(0, rest.find('/'));
  if (const std::size_t at = host.rfind('@'); at != std::string::npos) {
    url.invalid_as(quote(host.substr(0, at)), "user information is not permitted in the URL");
    host.erase(0, at + 1);
  }
  if (host.empty()) url.invalid_as("\"\"", "host must be specified" + std::string(kForm));
}

void check_service_path(const Field& path) {
  const std::string text = path.text();
  if (text.empty() || text == "/") return;
  if (text == "//") return path.invalid("segment[0] may not be empty");
  if (!text.starts_with('/')) path.invalid("must start with a '/'");
  std::string rest = text.substr(1);
  if (rest.ends_with('/')) rest.pop_back();
  for (std::size_t i = 0;; ++i) {
    const std::size_t slash = rest.find('/');
    const std::string step = rest.substr(0, slash);
    const std::string place = "segment[" + std::to_string(i) + "]";
    if (step.empty()) {
      path.invalid(place + " may not be empty");
    } else {
      for (const std::string& why : check_name(NameRule::Subdomain, step, false)) path.invalid(place + ": " + why);
    }
    if (slash == std::string::npos) return;
    rest.erase(0, slash + 1);
  }
}

void check_client(const Field& client) {
  const Field service = client["service"];
  if (client["url"].set() == service.set()) return client.required("exactly one of url or service is required");
  if (client["url"].set()) return check_url(client["url"]);
  if (service["name"].zero()) service["name"].required("service name is required");
  if (service["namespace"].zero()) service["namespace"].required("service namespace is required");
  if (service["port"].set() && (service["port"].number() < 1 || service["port"].number() > 65535)) {
    service["port"].invalid("port is not valid: must be between 1 and 65535, inclusive");
  }
  check_service_path(service["path"]);
}

void check_versions(const Field& versions) {
  if (versions.zero()) return versions.required("must specify one of v1, v1beta1");
  std::set<std::string> seen;
  bool known = false;
  versions.each([&](const Field& version, std::size_t) {
    if (!seen.insert(version.text()).second) return version.invalid("duplicate version");
    version.invalid(check_name(NameRule::Label1035, version.text(), false));
    known = known || version.text() == "v1" || version.text() == "v1beta1";
  });
  if (!known) versions.invalid("must include at least one of v1, v1beta1");
}

void check_webhook(const Field& hook) {
  check_qualified_name(hook["name"]);
  hook["rules"].each([](const Field& rule, std::size_t) { check_rule(rule); });
  const Field effects = hook["sideEffects"];
  if (!effects.set()) {
    effects.required("must specify one of None, NoneOnDryRun");
  } else if (effects.text() != "None" && effects.text() != "NoneOnDryRun") {
    effects.not_supported({"None", "NoneOnDryRun"});
  }
  const Field timeout = hook["timeoutSeconds"];
  if (timeout.set() && (timeout.number() < 1 || timeout.number() > 30)) {
    timeout.invalid("the timeout value must be between 1 and 30 seconds");
  }
  check_selector(hook["namespaceSelector"]);
  check_selector(hook["objectSelector"]);
  check_client(hook["clientConfig"]);
  check_versions(hook["admissionReviewVersions"]);
}

}  // namespace

void check_webhook_configuration(const Field& configuration) {
  std::set<std::string> names;
  configuration["webhooks"].each([&](const Field& hook, std::size_t) {
    check_webhook(hook);
    if (!hook["name"].zero() && !names.insert(hook["name"].text()).second) hook["name"].duplicate();
  });
}

}  // namespace kubernel::apiserver::validation
