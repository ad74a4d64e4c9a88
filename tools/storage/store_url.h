// SPDX-License-Identifier: Apache-2.0
//
// A store's URL: which plugin opens it, with what configuration. A URL names no password: it would show in the list of
// processes and in the shell's history.

#pragma once

#include <string>
#include <string_view>

#include <kubernel/base/result.h>

namespace kubernel::storage_tool {

struct StoreUrl {
  std::string text;         // As given; for messages.
  std::string plugin;       // storage-sqlite, ...
  std::string config_json;  // What the plugin's schema wants.
  std::string file;         // The path of a store that is a file; else empty.

  bool is_file() const { return !file.empty(); }
};

// sqlite:/var/lib/kubernel/state.db
// postgres://user@host:5432/database?passwordFile=/etc/kubernel/password
// mysql://user@host:3306/database?passwordEnvironment=NAME&caFile=ca.crt
// etcd://host:2379,host:2379?caFile=ca.crt&certFile=client.crt&keyFile=client.key
//
// Errors: BadRequest: a scheme or parameter nobody knows, a password, memory.
Result<StoreUrl> parse_store_url(std::string_view text);

}  // namespace kubernel::storage_tool
