// SPDX-License-Identifier: Apache-2.0
#include "discovery/discovery.h"

#include <algorithm>
#include <string>
#include <vector>

#include <kubernel/crypto/pki.h>

#include "http/encoder.h"
#include "http/negotiation.h"

namespace kubernel::apiserver {

namespace {

struct ServedVersion {
  std::string version;
  std::vector<const schema::ResourceInfo*> resources;
};
struct ServedGroup {
  std::string group;
  std::string preferred;
  std::vector<ServedVersion> versions;  // Best first.
};

std::vector<ServedGroup> served_groups(const Api& api) {
  std::vector<ServedGroup> out;
  for (const schema::GroupInfo& group : schema::groups()) {
    ServedGroup served{std::string(group.group), "", {}};
    std::vector<schema::GroupVersionInfo> versions(group.versions.begin(), group.versions.end());
    std::stable_sort(versions.begin(), versions.end(),
                     [](const auto& a, const auto& b) { return a.version_priority > b.version_priority; });
    for (const schema::GroupVersionInfo& version : versions) {
      ServedVersion one{std::string(version.version), {}};
      for (const schema::ResourceInfo* info : api.served()) {
        if (info->group == group.group && info->version == version.version && api.offers(*info, ""))
          one.resources.push_back(info);
      }
      if (!one.resources.empty()) served.versions.push_back(std::move(one));
    }
    if (served.versions.empty()) continue;
    const bool has_preferred = std::any_of(served.versions.begin(), served.versions.end(), [&](const ServedVersion& v) {
      return v.version == group.preferred_version;
    });
    served.preferred = has_preferred ? std::string(group.preferred_version) : served.versions.front().version;
    out.push_back(std::move(served));
  }
  return out;
}

std::string group_version(const std::string& group, const std::string& version) {
  return group.empty() ? version : group + "/" + version;
}

json strings(std::span<const std::string_view> list) {
  json out = json::array();
  for (const std::string_view one : list) out.push_back(one);
  return out;
}

json version_entry(const std::string& group, const std::string& version) {
  return {{"groupVersion", group_version(group, version)}, {"version", version}};
}

json group_entry(const ServedGroup& group) {
  json out = {{"name", group.group},
              {"versions", json::array()},
              {"preferredVersion", version_entry(group.group, group.preferred)}};
  for (const ServedVersion& version : group.versions)
    out["versions"].push_back(version_entry(group.group, version.version));
  return out;
}

json resource_list(const Api& api, const std::string& group, const ServedVersion& version) {
  json out = {{"kind", "APIResourceList"},
              {"apiVersion", "v1"},
              {"groupVersion", group_version(group, version.version)},
              {"resources", json::array()}};
  for (const schema::ResourceInfo* info : version.resources) {
    json one = {{"name", info->plural},
                {"singularName", info->singular},
                {"namespaced", info->namespaced},
                {"kind", info->kind},
                {"verbs", strings(info->verbs)}};
    if (!info->short_names.empty()) one["shortNames"] = strings(info->short_names);
    if (!info->categories.empty()) one["categories"] = strings(info->categories);
    if (!info->storage_version_hash.empty()) one["storageVersionHash"] = info->storage_version_hash;
    out["resources"].push_back(std::move(one));
    for (const schema::Subresource& sub : info->subresources) {
      if (!api.offers(*info, sub.name)) continue;
      const WireType wire = wire_type({info, std::string(sub.name), {}});
      json entry = {{"name", std::string(info->plural) + "/" + std::string(sub.name)},
                    {"singularName", ""},
                    {"namespaced", info->namespaced},
                    {"kind", wire.gvk.kind},
                    {"verbs", strings(sub.verbs)}};
      if (wire.gvk.group != info->group || wire.gvk.version != info->version) {
        entry["group"] = wire.gvk.group;
        entry["version"] = wire.gvk.version;
      }
      out["resources"].push_back(std::move(entry));
    }
  }
  return out;
}

json response_kind(const api::GroupVersionKind& gvk) {
  return {{"group", gvk.group}, {"version", gvk.version}, {"kind", gvk.kind}};
}

json aggregated_resource(const Api& api, const schema::ResourceInfo& info) {
  json out = {
      {"resource", info.plural},
      {"responseKind", response_kind({std::string(info.group), std::string(info.version), std::string(info.kind)})},
      {"scope", info.namespaced ? "Namespaced" : "Cluster"},
      {"singularResource", info.singular},
      {"verbs", strings(info.verbs)}};
  if (!info.short_names.empty()) out["shortNames"] = strings(info.short_names);
  if (!info.categories.empty()) out["categories"] = strings(info.categories);
  for (const schema::Subresource& sub : info.subresources) {
    if (!api.offers(info, sub.name)) continue;
    out["subresources"].push_back({{"subresource", sub.name},
                                   {"responseKind", response_kind(wire_type({&info, std::string(sub.name), {}}).gvk)},
                                   {"verbs", strings(sub.verbs)}});
  }
  return out;
}

json aggregated(const Api& api, bool core, const std::string& version_of_form) {
  json out = {{"kind", "APIGroupDiscoveryList"},
              {"apiVersion", "apidiscovery.k8s.io/" + version_of_form},
              {"metadata", json::object()},
              {"items", json::array()}};
  for (const ServedGroup& group : served_groups(api)) {
    if (group.group.empty() != core) continue;
    json item = {{"metadata", json::object()}, {"versions", json::array()}};
    if (!core) item["metadata"]["name"] = group.group;
    for (const ServedVersion& version : group.versions) {
      json one = {{"version", version.version}, {"resources", json::array()}, {"freshness", "Current"}};
      for (const schema::ResourceInfo* info : version.resources)
        one["resources"].push_back(aggregated_resource(api, *info));
      item["versions"].push_back(std::move(one));
    }
    out["items"].push_back(std::move(item));
  }
  return out;
}

json version_document() {
  return {
    {"major", "1"}, {"minor", "36"}, {"gitVersion", "v1.36.0+kubernel"}, {"gitCommit", ""}, {"gitTreeState", ""},
        {"buildDate", ""}, {"goVersion", ""}, {"compiler", "gcc"},
#if defined(__x86_64__)
    {
      "platform", "linux/amd64"
    }
  };
#elif defined(__aarch64__)
    {
      "platform", "linux/arm64"
    }
  };
#else
    {
      "platform", "linux"
    }
  };
#endif
}

net::Response aggregated_response(const Api& api, bool core, const Accepted& accepted, const net::Request& request) {
  net::Response out = json_response(200, aggregated(api, core, accepted.form_version), accepted.pretty);
  out.headers.set("content-type",
                  "application/json;g=apidiscovery.k8s.io;v=" + accepted.form_version + ";as=APIGroupDiscoveryList");
  out.headers.set("vary", "Accept");
  const std::string tag = "\"" + crypto::sha256_hex(out.body) + "\"";
  if (request.headers.get("if-none-match") == tag) {
    out.status = 304;
    out.body.clear();
  }
  out.headers.set("etag", tag);
  return out;
}

std::optional<net::Response> group_document(const Api& api, std::string_view rest, bool pretty) {
  const std::size_t slash = rest.find('/');
  const std::string_view name = rest.substr(0, slash);
  for (const ServedGroup& group : served_groups(api)) {
    if (group.group != name) continue;
    if (slash == std::string_view::npos) {
      json document = group_entry(group);
      document["kind"] = "APIGroup";
      document["apiVersion"] = "v1";
      return json_response(200, document, pretty);
    }
    for (const ServedVersion& version : group.versions) {
      if (version.version == rest.substr(slash + 1))
        return json_response(200, resource_list(api, group.group, version), pretty);
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<net::Response> serve_discovery(const Api& api, const net::Request& request) {
  std::string_view path = request.path;
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  if (path == "/version") return json_response(200, version_document(), true);
  if (!path.starts_with("/api")) return std::nullopt;
  const bool root = path == "/api" || path == "/apis";
  auto accepted = negotiate(request, {.protobuf = false, .table = false, .aggregated_discovery = root});
  if (!accepted) return status_response(accepted.error());
  if (root && accepted->form == Form::AggregatedDiscovery)
    return aggregated_response(api, path == "/api", *accepted, request);
  if (path == "/api") {
    const std::string host(request.headers.get("host"));
    json document = {{"kind", "APIVersions"}, {"versions", json::array({"v1"})}};
    document["serverAddressByClientCIDRs"] = json::array({json{{"clientCIDR", "0.0.0.0/0"}, {"serverAddress", host}}});
    return json_response(200, document, accepted->pretty);
  }
  if (path == "/apis") {
    json document = {{"kind", "APIGroupList"}, {"apiVersion", "v1"}, {"groups", json::array()}};
    for (const ServedGroup& group : served_groups(api)) {
      if (!group.group.empty()) document["groups"].push_back(group_entry(group));
    }
    return json_response(200, document, accepted->pretty);
  }
  if (path.starts_with("/apis/")) return group_document(api, path.substr(6), accepted->pretty);
  if (path.starts_with("/api/")) return group_document(api, "/" + std::string(path.substr(5)), accepted->pretty);
  return std::nullopt;
}

}  // namespace kubernel::apiserver
