// SPDX-License-Identifier: Apache-2.0
//
// What the manifest says of the etcd cluster.

#pragma once

#include <chrono>
#include <string>
#include <vector>

#include <kubernel/base/result.h>

namespace kubernel::storage_etcd {

struct Config {
  std::vector<std::string> endpoints;  ///< "http://127.0.0.1:2379".
  std::string key_prefix;
  std::string ca_file, cert_file, key_file;
  std::string server_name;
  std::string username, password_file;
  std::chrono::seconds request_timeout{10};
};

/// `text`: the plugin's checked configuration.
/// Errors: Invalid names the setting.
Result<Config> read_config(const std::string& text);

/// A whole file. `secret`: it must not be readable by others.
/// Errors: Invalid, names `setting` and the file.
Result<std::string> read_file(const std::string& setting, const std::string& path, bool secret);

/// "127.0.0.1:2379" of "https://127.0.0.1:2379/"; the port defaults to 2379. `secure`: the URL is https.
Result<std::string> address_of(const std::string& url, bool& secure);

}  // namespace kubernel::storage_etcd
