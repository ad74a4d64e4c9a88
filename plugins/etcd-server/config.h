// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

#include <kubernel/base/result.h>

namespace kubernel::etcd_server {

struct Config {
  std::vector<std::string> listen;
  std::string cert_file, key_file, client_ca_file;
  std::string name;
  std::vector<std::string> advertise_urls;
  std::size_t max_request_bytes = 0;
  int max_operations = 0;
  std::size_t max_pending = 0;
  std::chrono::seconds progress_interval{0};
};

/// `text`: the plugin's checked configuration, defaults filled in.
/// Errors: Invalid names the setting.
Result<Config> read_config(const std::string& text);

}  // namespace kubernel::etcd_server
