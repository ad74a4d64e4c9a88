// SPDX-License-Identifier: Apache-2.0
//
// ApiFixture: the real API pipeline on the memory store, in one process and without HTTP, for tests.
//
// Use it where the API server's own rules matter (defaults, validation, admission, allocation); a test of one
// controller alone is better served by testing::FakeCluster. The target is plugin_impls['apiserver'] with
// plugin_impls['storage-memory'].

#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include <kubernel/testing/fake_clock.h>

#include "pipeline/local_client.h"

namespace kubernel::apiserver::testing {

/// Everybody may do everything; namespaces default and kube-system exist, each with its service account "default".
///
/// Threads: as the API. Nothing runs by itself: watches deliver when run_all() runs what they queued, or when a read
/// catches up.
class ApiFixture {
 public:
  /// Lifetime: `backend_maker` is storage-memory's open function, so that this header depends on no other plugin.
  using OpenStore = Result<std::unique_ptr<storage::Backend>> (*)(const storage::BackendContext&);
  explicit ApiFixture(OpenStore open);
  ~ApiFixture();

  kubernel::testing::FakeClock& clock() { return clock_; }
  kubernel::testing::ManualExecutor& executor() { return executor_; }
  kubernel::testing::RecordingLogger& log() { return log_; }
  storage::Backend& backend() { return *backend_; }
  Api& api() { return *api_; }
  client::Connector& connector() { return *connector_; }
  /// As an administrator.
  client::ApiClient& client() { return *client_; }

  /// Creates from JSON text in `ns`; a failure fails the test through an exception with the error's message.
  api::Object create(const api::Resource& resource, std::string_view ns, std::string_view json_text);

 private:
  class NoPoller;

  kubernel::testing::FakeClock clock_;
  kubernel::testing::ManualExecutor executor_;
  kubernel::testing::SeededRandom random_{1};
  kubernel::testing::RecordingLogger log_;
  kubernel::testing::RecordingMetrics metrics_;
  std::unique_ptr<Poller> poller_;
  std::unique_ptr<storage::Backend> backend_;
  std::unique_ptr<Api> api_;
  std::unique_ptr<LocalConnector> connector_;
  std::unique_ptr<client::ApiClient> client_;
};

}  // namespace kubernel::apiserver::testing
