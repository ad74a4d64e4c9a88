// SPDX-License-Identifier: Apache-2.0
//
// A database of its own for each test of the conformance suite, on the program's server.

#pragma once

#include <memory>
#include <string>
#include <utility>

#include <kubernel/testing/storage_conformance.h>

#include "shared_server.h"

namespace kubernel::storage_server::testing {

class ServerInstance final : public kubernel::testing::StorageInstance {
 public:
  ServerInstance(RealServer& server, OpenBackend how, bool several_handles)
      : server_(server), open_(how), several_handles_(several_handles), database_(server.make_database()) {}
  ~ServerInstance() override { server_.drop_database(database_); }

  // What another handle writes comes a moment later; a handle's own writes are there at once.
  kubernel::testing::StorageTraits traits() const override { return {.asynchronous = several_handles_}; }

  Result<std::unique_ptr<storage::Backend>> open(storage::BackendContext context) override {
    context.config_json = R"({"url":")" + server_.url(database_) + R"("})";
    return open_(context);
  }

 private:
  RealServer& server_;
  OpenBackend open_;
  const bool several_handles_;
  const std::string database_;
};

inline std::unique_ptr<kubernel::testing::StorageInstance> make_instance(Kind kind, OpenBackend open,
                                                                         bool several_handles = false) {
  RealServer* const server = shared_server(kind);
  return server == nullptr ? nullptr : std::make_unique<ServerInstance>(*server, open, several_handles);
}

}  // namespace kubernel::storage_server::testing
