// SPDX-License-Identifier: Apache-2.0
//
// One server for all tests of a program.

#pragma once

#include <cstdio>
#include <map>
#include <memory>

#include <kubernel/storage/backend.h>

#include "testing/real_server.h"

namespace kubernel::storage_server::testing {

using OpenBackend = Result<std::unique_ptr<storage::Backend>> (*)(const storage::BackendContext&);

/// The program's server of a kind; null, with a message, when it is not installed. It lives until the program ends.
inline RealServer* shared_server(Kind kind) {
  static std::map<Kind, std::unique_ptr<RealServer>> servers;
  const auto [at, is_new] = servers.try_emplace(kind);
  if (is_new) {
    at->second = RealServer::start(kind);
    if (!at->second) std::fprintf(stderr, "SKIPPED: %s is not installed\n", RealServer::missing(kind).c_str());
  }
  return at->second.get();
}

}  // namespace kubernel::storage_server::testing
