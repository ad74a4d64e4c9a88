// SPDX-License-Identifier: Apache-2.0
#include "config.h"

#include <sys/stat.h>

#include <fstream>
#include <iterator>
#include <string_view>

#include <nlohmann/json.hpp>

namespace kubernel::storage_etcd {

namespace {

Result<void> check(const Config& config) {
  bool first_secure = false;
  for (std::size_t i = 0; i < config.endpoints.size(); ++i) {
    bool secure = false;
    KUBERNEL_CHECK_OK(address_of(config.endpoints[i], secure));
    if (i == 0) first_secure = secure;
    if (secure != first_secure) {
      return Error(Reason::Invalid, "storage-etcd: endpoints must all be http:// or all https://");
    }
  }
  if (!first_secure && !(config.ca_file.empty() && config.cert_file.empty())) {
    return Error(Reason::Invalid, "storage-etcd: caFile and certFile are for https:// endpoints; these are http://");
  }
  if (config.cert_file.empty() != config.key_file.empty()) {
    return Error(Reason::Invalid, "storage-etcd: certFile and keyFile go together; one of them is missing");
  }
  if (config.username.empty() != config.password_file.empty()) {
    return Error(Reason::Invalid, "storage-etcd: username and passwordFile go together; one of them is missing");
  }
  return {};
}

}  // namespace

Result<std::string> address_of(const std::string& url, bool& secure) {
  std::string_view rest = url;
  secure = rest.starts_with("https://");
  if (!secure && !rest.starts_with("http://")) {
    return Error(Reason::Invalid, "storage-etcd: endpoint \"" + url + "\" must begin with http:// or https://");
  }
  rest.remove_prefix(secure ? 8 : 7);
  if (rest.ends_with('/')) rest.remove_suffix(1);
  if (rest.empty() || rest.find_first_of("/ @") != std::string_view::npos) {
    return Error(Reason::Invalid, "storage-etcd: endpoint \"" + url + "\" is no https://HOST:PORT");
  }
  const std::size_t colon = rest.rfind(':');
  const std::size_t bracket = rest.rfind(']');
  const bool has_port = colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket);
  return std::string(rest) + (has_port ? "" : ":2379");
}

Result<Config> read_config(const std::string& text) {
  auto parsed = catch_as_error("storage-etcd: config", [&]() -> Result<Config> {
    const auto document = nlohmann::json::parse(text);
    Config out;
    out.endpoints = document.at("endpoints").get<std::vector<std::string>>();
    out.key_prefix = document.value("keyPrefix", "");
    out.ca_file = document.value("caFile", "");
    out.cert_file = document.value("certFile", "");
    out.key_file = document.value("keyFile", "");
    out.server_name = document.value("serverName", "");
    out.username = document.value("username", "");
    out.password_file = document.value("passwordFile", "");
    out.request_timeout = std::chrono::seconds(document.value("requestTimeout", 10));
    return out;
  });
  if (parsed) KUBERNEL_CHECK_OK(check(*parsed));
  return parsed;
}

Result<std::string> read_file(const std::string& setting, const std::string& path, bool secret) {
  std::ifstream in(path, std::ios::binary);
  struct stat status {};
  if (!in || ::stat(path.c_str(), &status) != 0) {
    return Error(Reason::Invalid, "storage-etcd: " + setting + " \"" + path + "\" cannot be read");
  }
  if (secret && (status.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return Error(Reason::Invalid,
                 "storage-etcd: " + setting + " \"" + path + "\" is a secret that others can read; chmod 600 it");
  }
  return std::string(std::istreambuf_iterator<char>(in), {});
}

}  // namespace kubernel::storage_etcd
