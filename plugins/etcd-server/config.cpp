// SPDX-License-Identifier: Apache-2.0
#include "config.h"

#include <string_view>

#include <nlohmann/json.hpp>

namespace kubernel::etcd_server {

namespace {

bool on_loopback(std::string_view address) {
  return address.starts_with("127.") || address.starts_with("[::1]:") || address.starts_with("localhost:");
}

Result<void> check(const Config& config) {
  if (config.cert_file.empty() != config.key_file.empty()) {
    return Error(Reason::Invalid, "etcd-server: certFile and keyFile go together; one of them is missing");
  }
  if (config.cert_file.empty() && !config.client_ca_file.empty()) {
    return Error(Reason::Invalid, "etcd-server: clientCaFile needs TLS; set certFile and keyFile");
  }
  for (const std::string& address : config.listen) {
    if (address.rfind(':') == std::string::npos) {
      return Error(Reason::Invalid, "etcd-server: listen address \"" + address + "\" is not HOST:PORT");
    }
    if (config.client_ca_file.empty() && !on_loopback(address)) {
      return Error(Reason::Invalid, "etcd-server: \"" + address +
                                        "\" is reached from other machines, which could then read every "
                                        "secret; set certFile, keyFile and clientCaFile, or listen on 127.0.0.1");
    }
  }
  return {};
}

}  // namespace

Result<Config> read_config(const std::string& text) {
  auto parsed = catch_as_error("etcd-server: config", [&]() -> Result<Config> {
    const auto document = nlohmann::json::parse(text);
    Config out;
    out.listen = document.at("listen").get<std::vector<std::string>>();
    out.cert_file = document.at("certFile").get<std::string>();
    out.key_file = document.at("keyFile").get<std::string>();
    out.client_ca_file = document.at("clientCaFile").get<std::string>();
    out.name = document.at("name").get<std::string>();
    out.advertise_urls = document.at("advertiseUrls").get<std::vector<std::string>>();
    out.max_request_bytes = document.at("maxRequestBytes").get<std::size_t>();
    out.max_operations = document.at("maxTransactionOperations").get<int>();
    out.max_pending = document.at("maxPendingRequests").get<std::size_t>();
    out.progress_interval = std::chrono::seconds(document.at("progressNotifyInterval").get<int>());
    return out;
  });
  if (parsed) KUBERNEL_CHECK_OK(check(*parsed));
  return parsed;
}

}  // namespace kubernel::etcd_server
