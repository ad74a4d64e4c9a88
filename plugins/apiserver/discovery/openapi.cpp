// SPDX-License-Identifier: Apache-2.0
#include "discovery/openapi.h"

#include <nlohmann/json.hpp>

#include <kubernel/crypto/pki.h>
#include <kubernel/schema/openapi.h>

namespace kubernel::apiserver {

namespace {

constexpr std::string_view kRoot = "/openapi/v3";

net::Response json_text(std::string body) {
  net::Response out;
  out.headers.set("content-type", "application/json");
  out.headers.set("vary", "Accept");
  out.body = std::move(body);
  return out;
}

}  // namespace

std::map<std::string, OpenApi::GroupVersion> OpenApi::group_versions() const {
  std::map<std::string, GroupVersion> out;
  for (const schema::ResourceInfo* info : api_.served()) {
    const std::string version(info->version);
    const std::string name =
        info->group.empty() ? "api/" + version : "apis/" + std::string(info->group) + "/" + version;
    GroupVersion& entry = out[name];
    entry.group = std::string(info->group);
    entry.version = version;
    entry.resources.push_back(info);
  }
  return out;
}

std::vector<std::string> OpenApi::paths() const {
  std::vector<std::string> out{std::string(kRoot)};
  for (const auto& [name, group_version] : group_versions()) out.push_back(std::string(kRoot) + "/" + name);
  return out;
}

std::string OpenApi::hash_of(const std::string& name, const GroupVersion& group_version) {
  {
    const std::lock_guard lock(mutex_);
    if (const auto known = hashes_.find(name); known != hashes_.end()) return known->second;
  }
  std::string hash =
      crypto::sha256_hex(schema::openapi_v3(group_version.group, group_version.version, group_version.resources));
  const std::lock_guard lock(mutex_);
  return hashes_.emplace(name, std::move(hash)).first->second;
}

net::Response OpenApi::root() {
  nlohmann::json paths = nlohmann::json::object();
  for (const auto& [name, group_version] : group_versions()) {
    paths[name] = {{"serverRelativeURL", std::string(kRoot) + "/" + name + "?hash=" + hash_of(name, group_version)}};
  }
  return json_text(nlohmann::json{{"paths", std::move(paths)}}.dump());
}

net::Response OpenApi::serve(const net::Request& request) {
  if (request.path == kRoot) return root();
  const std::string name = request.path.substr(kRoot.size() + 1);
  const auto all = group_versions();
  const GroupVersion& group_version = all.at(name);
  net::Response out =
      json_text(schema::openapi_v3(group_version.group, group_version.version, group_version.resources));
  const std::string tag = "\"" + crypto::sha256_hex(out.body) + "\"";
  out.headers.set("etag", tag);
  // Whoever asks by hash gets a text that never changes.
  if (request.param("hash")) out.headers.set("cache-control", "public, immutable");
  if (request.headers.get("if-none-match") == tag) {
    out.status = 304;
    out.body.clear();
  }
  return out;
}

}  // namespace kubernel::apiserver
