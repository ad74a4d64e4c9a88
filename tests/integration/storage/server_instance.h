// SPDX-License-Identifier: Apache-2.0
//
// What the tests of the backends on a database server have in common: one server for all tests of a program, and a
// database of its own for each.

#pragma once

#include <memory>
#include <string>
#include <utility>

#include <kubernel/testing/storage_conformance.h>

#include "testing/real_server.h"

namespace kubernel::storage_server::testing {

using OpenBackend = Result<std::unique_ptr<storage::Backend>> (*)(const storage::BackendContext&);

/// The program's server; null, with a message, when it is not installed. It lives until the program ends.
inline RealServer* shared_server(Kind kind) {
  static const std::unique_ptr<RealServer> server = [kind] {
    auto started = RealServer::start(kind);
    if (!started) std::fprintf(stderr, "SKIPPED: %s is not installed\n", RealServer::missing(kind).c_str());
    return started;
  }();
  return server.get();
}

class ServerInstance final : public kubernel::testing::StorageInstance {
 public:
  ServerInstance(RealServer& server, OpenBackend how)
      : server_(server), open_(how), database_(server.make_database()) {}
  ~ServerInstance() override { server_.drop_database(database_); }

  Result<std::unique_ptr<storage::Backend>> open(storage::BackendContext context) override {
    context.config_json = R"({"url":")" + server_.url(database_) + R"("})";
    return open_(context);
  }

 private:
  RealServer& server_;
  OpenBackend open_;
  const std::string database_;
};

inline std::unique_ptr<kubernel::testing::StorageInstance> make_instance(Kind kind, OpenBackend open) {
  RealServer* const server = shared_server(kind);
  return server == nullptr ? nullptr : std::make_unique<ServerInstance>(*server, open);
}

}  // namespace kubernel::storage_server::testing
