// SPDX-License-Identifier: Apache-2.0
#include "auth/policy_rule.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "registry/errors.h"
#include "registry/json_util.h"

namespace kubernel::apiserver {

namespace {

using Words = std::vector<std::string>;

bool has(const Words& list, std::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}
bool has_or_all(const Words& list, std::string_view word) {
  return has(list, "*") || has(list, word);
}

Words words(api::Value list) {
  Words out;
  out.reserve(list.size());
  for (const api::Value word : list) out.emplace_back(word.string());
  return out;
}

Words words(const json& rule, const char* name) {
  Words out;
  for (const json& word : member(rule, {name})) {
    if (word.is_string()) out.push_back(word.get<std::string>());
  }
  return out;
}

// "pods", "pods/log", "*/scale".
bool names_resource(const PolicyRule& rule, const auth::Attributes& a) {
  const std::size_t size = a.resource.size() + (a.subresource.empty() ? 0 : 1 + a.subresource.size());
  for (const std::string& resource : rule.resources) {
    if (resource == "*") return true;
    if (resource.size() == size && resource.starts_with(a.resource)) {
      if (a.subresource.empty()) return true;
      if (resource[a.resource.size()] == '/' && resource.ends_with(a.subresource)) return true;
    }
    if (!a.subresource.empty() && resource.starts_with("*/") && std::string_view(resource).substr(2) == a.subresource)
      return true;
  }
  return false;
}

bool matches_url(std::string_view pattern, std::string_view path) {
  if (pattern == path || pattern == "*") return true;
  if (!pattern.ends_with('*')) return false;
  while (pattern.ends_with('*')) pattern.remove_suffix(1);
  return path.starts_with(pattern);
}

bool covers_all(const Words& held, const Words& wanted) {
  return has(held, "*") ||
         std::all_of(wanted.begin(), wanted.end(), [&](const std::string& word) { return has(held, word); });
}

bool covers_resources(const Words& held, const Words& wanted) {
  if (has(held, "*")) return true;
  return std::all_of(wanted.begin(), wanted.end(), [&](const std::string& resource) {
    if (has(held, resource)) return true;
    const std::size_t slash = resource.find('/');
    return slash != std::string::npos && has(held, "*" + resource.substr(slash));
  });
}

bool covers_urls(const Words& held, const Words& wanted) {
  return std::all_of(wanted.begin(), wanted.end(), [&](const std::string& path) {
    return std::any_of(held.begin(), held.end(),
                       [&](const std::string& pattern) { return matches_url(pattern, path); });
  });
}

bool covers_names(const Words& held, const Words& wanted) {
  if (held.empty()) return true;
  return !wanted.empty() &&
         std::all_of(wanted.begin(), wanted.end(), [&](const std::string& name) { return has(held, name); });
}

bool covers(const PolicyRule& held, const PolicyRule& wanted) {
  return covers_all(held.verbs, wanted.verbs) && covers_all(held.api_groups, wanted.api_groups) &&
         covers_resources(held.resources, wanted.resources) && covers_urls(held.urls, wanted.urls) &&
         covers_names(held.resource_names, wanted.resource_names);
}

// One verb of one resource (and name), or of one URL, each.
PolicyRules break_down(const PolicyRule& rule) {
  PolicyRules out;
  for (const std::string& group : rule.api_groups) {
    for (const std::string& resource : rule.resources) {
      for (const std::string& verb : rule.verbs) {
        if (rule.resource_names.empty()) out.push_back({{verb}, {group}, {resource}, {}, {}});
        for (const std::string& name : rule.resource_names) out.push_back({{verb}, {group}, {resource}, {name}, {}});
      }
    }
  }
  for (const std::string& url : rule.urls) {
    for (const std::string& verb : rule.verbs) out.push_back({{verb}, {}, {}, {}, {url}});
  }
  return out;
}

}  // namespace

PolicyRules read_rules(api::Value list) {
  PolicyRules out;
  out.reserve(list.size());
  for (const api::Value rule : list) {
    out.push_back({words(rule["verbs"]), words(rule["apiGroups"]), words(rule["resources"]),
                   words(rule["resourceNames"]), words(rule["nonResourceURLs"])});
  }
  return out;
}

PolicyRules read_rules(const json& list) {
  PolicyRules out;
  for (const json& rule : list) {
    out.push_back({words(rule, "verbs"), words(rule, "apiGroups"), words(rule, "resources"),
                   words(rule, "resourceNames"), words(rule, "nonResourceURLs")});
  }
  return out;
}

bool allows(const PolicyRule& rule, const auth::Attributes& a) {
  if (!has_or_all(rule.verbs, a.verb)) return false;
  if (!a.is_resource_request) {
    return std::any_of(rule.urls.begin(), rule.urls.end(),
                       [&](const std::string& url) { return matches_url(url, a.path); });
  }
  return has_or_all(rule.api_groups, a.group) && names_resource(rule, a) &&
         (rule.resource_names.empty() || has(rule.resource_names, a.name));
}

PolicyRules missing_rights(const PolicyRules& held, const PolicyRules& wanted) {
  PolicyRules out;
  for (const PolicyRule& rule : wanted) {
    for (PolicyRule& right : break_down(rule)) {
      const bool covered =
          std::any_of(held.begin(), held.end(), [&](const PolicyRule& mine) { return covers(mine, right); });
      if (!covered) out.push_back(std::move(right));
    }
  }
  return out;
}

PolicyRules compact_rules(const PolicyRules& rules) {
  PolicyRules out;
  for (const PolicyRule& rule : rules) {
    // Upstream leaves URLs alone.
    const auto same = std::find_if(out.begin(), out.end(), [&](const PolicyRule& other) {
      return rule.urls.empty() && other.urls.empty() && other.api_groups == rule.api_groups &&
             other.resources == rule.resources && other.resource_names == rule.resource_names;
    });
    if (same == out.end()) {
      out.push_back(rule);
      continue;
    }
    for (const std::string& verb : rule.verbs) {
      if (!has(same->verbs, verb)) same->verbs.push_back(verb);
    }
  }
  return out;
}

std::string quote_list(const std::vector<std::string>& list) {
  std::string out = "[";
  for (const std::string& word : list) out += (out.size() == 1 ? "" : " ") + quote(word);
  return out + "]";
}

std::string compact_text(const PolicyRule& rule) {
  std::string out = "{";
  const auto add = [&](const char* name, const Words& list) {
    if (list.empty()) return;
    out += (out.size() == 1 ? "" : ", ") + std::string(name) + ":" + quote_list(list);
  };
  add("APIGroups", rule.api_groups);
  add("Resources", rule.resources);
  add("NonResourceURLs", rule.urls);
  add("ResourceNames", rule.resource_names);
  add("Verbs", rule.verbs);
  return out + "}";
}

}  // namespace kubernel::apiserver
