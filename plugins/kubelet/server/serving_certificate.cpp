// SPDX-License-Identifier: Apache-2.0
#include "server/serving_certificate.h"

#include <filesystem>
#include <fstream>
#include <sstream>

#include <kubernel/crypto/cluster_pki.h>

namespace kubernel::kubelet {

namespace {

Result<std::string> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  if (!file || text.str().empty()) return Error(Reason::Internal, path + ": cannot be read");
  return text.str();
}

}  // namespace

Result<net::ServerTls> serving_tls(const Config& config, const std::vector<std::string>& addresses,
                                   const std::string& hostname, Clock::WallTime now) {
  net::ServerTls out;
  const std::string ca_file = !config.tls_ca_file.empty()     ? config.tls_ca_file
                              : !config.pki_directory.empty() ? config.pki_directory + "/ca.crt"
                                                              : std::string();
  if (ca_file.empty()) {
    return Error(Reason::Invalid,
                 "the kubelet's server needs pkiDirectory, or tls with certificateFile, privateKeyFile and caFile; "
                 "or set listen to \"\" to have none");
  }
  KUBERNEL_TRY(out.client_ca_pem, read_file(ca_file));
  if (!config.tls_certificate_file.empty()) {
    KUBERNEL_TRY(out.identity.certificate_chain_pem, read_file(config.tls_certificate_file));
    KUBERNEL_TRY(out.identity.private_key_pem, read_file(config.tls_private_key_file));
    return out;
  }
  const std::string key_file = config.pki_directory + "/ca.key";
  std::error_code error;
  if (config.pki_directory.empty() || !std::filesystem::exists(key_file, error)) {
    return Error(
        Reason::Invalid,
        "no serving certificate: set tls.certificateFile and tls.privateKeyFile, or give pkiDirectory with ca.key");
  }
  KUBERNEL_TRY(std::string key, read_file(key_file));
  const crypto::KeyPair ca{out.client_ca_pem, std::move(key)};
  crypto::ServerNames names;
  names.dns_names = {config.node_name};
  if (hostname != config.node_name && !hostname.empty()) names.dns_names.push_back(hostname);
  names.ip_addresses = addresses;
  names.ip_addresses.emplace_back("127.0.0.1");
  KUBERNEL_TRY(crypto::KeyPair issued, crypto::issue_kubelet_serving(ca, config.node_name, names, now));
  out.identity = {std::move(issued.certificate_pem), std::move(issued.private_key_pem)};
  return out;
}

}  // namespace kubernel::kubelet
