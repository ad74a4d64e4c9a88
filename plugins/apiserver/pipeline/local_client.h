// SPDX-License-Identifier: Apache-2.0
//
// LocalConnector: the API for code in the server's own process. Calls run on the caller's thread through the pipeline,
// under the client's identity.

#pragma once

#include <memory>

#include <kubernel/client/client.h>

#include "pipeline/api.h"

namespace kubernel::apiserver {

/// `api` outlives the connector and all it made.
class LocalConnector final : public client::Connector {
 public:
  explicit LocalConnector(Api& api) : api_(api) {}
  std::unique_ptr<client::ApiClient> connect(const auth::User& user) override;

 private:
  Api& api_;
};

}  // namespace kubernel::apiserver
