// SPDX-License-Identifier: Apache-2.0
#include "store_url.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/base/suggestion.h"

namespace kubernel::storage_tool {
namespace {

using nlohmann::json;

struct Parameter {
  const char* name;
  const char* pointer;  // Where in the plugin's configuration it goes.
  bool number = false;
};

struct Parts {
  std::string scheme;
  std::string address;  // What is between the scheme and the parameters.
  std::vector<std::pair<std::string, std::string>> parameters;
};

const std::vector<Parameter>& sqlite_parameters() {
  static const std::vector<Parameter> out = {{"synchronous", "/synchronous"}};
  return out;
}

const std::vector<Parameter>& server_parameters() {
  static const std::vector<Parameter> out = {{"passwordFile", "/passwordFile"},
                                             {"passwordEnvironment", "/passwordEnvironment"},
                                             {"tls", "/tls/mode"},
                                             {"caFile", "/tls/caFile"},
                                             {"certFile", "/tls/certFile"},
                                             {"keyFile", "/tls/keyFile"},
                                             {"connections", "/connections", true},
                                             {"statementTimeoutSeconds", "/statementTimeoutSeconds", true}};
  return out;
}

const std::vector<Parameter>& etcd_parameters() {
  static const std::vector<Parameter> out = {
      {"keyPrefix", "/keyPrefix"},       {"caFile", "/caFile"},
      {"certFile", "/certFile"},         {"keyFile", "/keyFile"},
      {"serverName", "/serverName"},     {"username", "/username"},
      {"passwordFile", "/passwordFile"}, {"requestTimeout", "/requestTimeout", true}};
  return out;
}

Error bad(const Parts& parts, const std::string& what) {
  return {Reason::BadRequest, parts.scheme + ": " + what};
}

std::string decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool escape = text[i] == '%' && i + 2 < text.size() &&
                        std::isxdigit(static_cast<unsigned char>(text[i + 1])) != 0 &&
                        std::isxdigit(static_cast<unsigned char>(text[i + 2])) != 0;
    if (escape) {
      out += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

Result<Parts> split(std::string_view text) {
  const auto colon = text.find(':');
  if (colon == std::string_view::npos || colon == 0) {
    return Error(Reason::BadRequest,
                 "\"" + std::string(text) +
                     "\" is no store; write sqlite:/path/state.db, postgres://..., mysql://... or etcd://...");
  }
  Parts parts{.scheme = std::string(text.substr(0, colon))};
  text.remove_prefix(colon + 1);
  const auto question = text.find('?');
  parts.address = std::string(text.substr(0, question));
  text.remove_prefix(question == std::string_view::npos ? text.size() : question + 1);
  while (!text.empty()) {
    const std::string_view one = text.substr(0, text.find('&'));
    text.remove_prefix(std::min(text.size(), one.size() + 1));
    const auto equals = one.find('=');
    if (equals == std::string_view::npos) return bad(parts, "parameter \"" + std::string(one) + "\" has no value");
    parts.parameters.emplace_back(one.substr(0, equals), decoded(one.substr(equals + 1)));
  }
  return parts;
}

// Never repeats the URL: there is a password in it.
Result<void> refuse_password(const Parts& parts) {
  const std::string_view address(parts.address);
  const auto at = address.rfind('@');
  const auto begin = address.starts_with("//") ? 2 : 0;
  if (at == std::string_view::npos || address.substr(begin, at - begin).find(':') == std::string_view::npos) return {};
  return bad(parts,
             "a password must not be in the URL, where others can see it; put it into a file: ?passwordFile=FILE");
}

Result<void> add_parameters(const Parts& parts, const std::vector<Parameter>& known, json& config) {
  for (const auto& [name, value] : parts.parameters) {
    const auto found =
        std::find_if(known.begin(), known.end(), [&](const Parameter& parameter) { return parameter.name == name; });
    if (found == known.end()) {
      std::vector<std::string> names;
      for (const Parameter& parameter : known) names.emplace_back(parameter.name);
      return bad(parts, "unknown parameter \"" + name + "\"" + core::did_you_mean(name, names));
    }
    if (!found->number) {
      config[json::json_pointer(found->pointer)] = value;
    } else if (!value.empty() && value.size() < 10 && std::all_of(value.begin(), value.end(), ::isdigit)) {
      config[json::json_pointer(found->pointer)] = std::stoll(value);
    } else {
      return bad(parts, "parameter " + name + " must be a number, not \"" + value + "\"");
    }
  }
  return {};
}

Result<json> sqlite_config(const Parts& parts, StoreUrl& url) {
  // sqlite:/path and sqlite:///path are the same; sqlite:path is relative.
  url.file = decoded(parts.address.starts_with("//") ? parts.address.substr(2) : parts.address);
  if (url.file.empty()) return bad(parts, "the path is missing; write sqlite:/path/state.db");
  json config = {{"path", url.file}};
  KUBERNEL_CHECK_OK(add_parameters(parts, sqlite_parameters(), config));
  return config;
}

// Which of the parameters are the address's own: a socket is one.
Result<json> server_config(Parts parts, const std::string& scheme) {
  if (!parts.address.starts_with("//") || parts.address.size() == 2) {
    return bad(parts, "the server is missing; write " + parts.scheme + "://USER@HOST/DATABASE");
  }
  json config;
  std::string address = scheme + ":" + parts.address;
  const auto socket = std::find_if(parts.parameters.begin(), parts.parameters.end(),
                                   [](const auto& parameter) { return parameter.first == "socket"; });
  if (socket != parts.parameters.end()) {
    address += "?socket=" + socket->second;
    parts.parameters.erase(socket);
  }
  config["url"] = address;
  KUBERNEL_CHECK_OK(add_parameters(parts, server_parameters(), config));
  return config;
}

Result<json> etcd_config(const Parts& parts) {
  std::string_view hosts(parts.address);
  if (hosts.starts_with("//")) hosts.remove_prefix(2);
  while (hosts.ends_with('/')) hosts.remove_suffix(1);
  if (hosts.empty()) return bad(parts, "the servers are missing; write " + parts.scheme + "://HOST:2379,HOST:2379");
  json config;
  KUBERNEL_CHECK_OK(add_parameters(parts, etcd_parameters(), config));
  const bool tls = parts.scheme == "etcds" || config.contains("caFile") || config.contains("certFile");
  config["endpoints"] = json::array();
  while (!hosts.empty()) {
    const std::string_view host = hosts.substr(0, hosts.find(','));
    hosts.remove_prefix(std::min(hosts.size(), host.size() + 1));
    config["endpoints"].push_back((tls ? "https://" : "http://") + std::string(host));
  }
  return config;
}

}  // namespace

Result<StoreUrl> parse_store_url(std::string_view text) {
  KUBERNEL_TRY(const Parts parts, split(text));
  KUBERNEL_CHECK_OK(refuse_password(parts));
  StoreUrl url{.text = std::string(text)};
  json config;
  if (parts.scheme == "sqlite") {
    url.plugin = "storage-sqlite";
    KUBERNEL_TRY(config, sqlite_config(parts, url));
  } else if (parts.scheme == "postgres" || parts.scheme == "postgresql") {
    url.plugin = "storage-postgres";
    KUBERNEL_TRY(config, server_config(parts, "postgresql"));
  } else if (parts.scheme == "mysql" || parts.scheme == "mariadb") {
    url.plugin = "storage-mysql";
    KUBERNEL_TRY(config, server_config(parts, "mysql"));
  } else if (parts.scheme == "etcd" || parts.scheme == "etcds") {
    url.plugin = "storage-etcd";
    KUBERNEL_TRY(config, etcd_config(parts));
  } else if (parts.scheme == "memory") {
    return bad(parts, "a store in memory is gone when its process ends, and no other process can reach it");
  } else {
    return Error(Reason::BadRequest,
                 "unknown kind of store \"" + parts.scheme + "\"" +
                     core::did_you_mean(parts.scheme, std::vector<std::string>{"sqlite", "postgres", "mysql", "etcd"}) +
                     "; there are sqlite, postgres, mysql and etcd");
  }
  url.config_json = config.dump();
  return url;
}

}  // namespace kubernel::storage_tool
