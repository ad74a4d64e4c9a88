// SPDX-License-Identifier: Apache-2.0
//
// ControlPlane: the API pipeline and every controller in one thread under a fake clock, with a kubelet and a scheduler
// played by hand.

#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <kubernel/plugin/component.h>
#include <kubernel/testing/fake_services.h>

#include "testing/api_fixture.h"

namespace kubernel::integration {

class ControlPlane {
 public:
  ControlPlane();
  ~ControlPlane();
  ControlPlane(const ControlPlane&) = delete;
  ControlPlane& operator=(const ControlPlane&) = delete;

  client::ApiClient& api() { return fixture_->client(); }
  apiserver::testing::ApiFixture& fixture() { return *fixture_; }
  plugin::Component& manager() { return *manager_; }

  /// Runs everything that is due now, and what follows from it.
  void settle();
  void advance(std::chrono::seconds by);

  /// From JSON text; settles.
  api::Object create(const api::Resource& resource, const std::string& ns, const std::string& text);
  void patch(const api::Resource& resource, const api::ObjectKey& key, const std::string& text,
             const std::string& subresource = "");
  void remove(const api::Resource& resource, const api::ObjectKey& key,
              client::Propagation propagation = client::Propagation::Background);
  std::vector<api::Object> list(const api::Resource& resource, const std::string& ns = "",
                                const std::string& labels = "");
  std::optional<api::Object> find(const api::Resource& resource, const api::ObjectKey& key);

  /// A ready node.
  void add_node(const std::string& name);
  /// Its heartbeat.
  void renew(const std::string& node);
  /// Binds pods that have no node to `node`, makes them run and be ready, and lets those that are being deleted go;
  /// once over. True when there was anything to do.
  bool play_node(const std::string& node);
  /// play_node() until there is nothing to do. Fails the test when that never happens.
  void play_until_quiet(const std::string& node);
  void end_pod(const api::Object& pod, const std::string& phase);

 private:
  class Loaded;
  std::unique_ptr<apiserver::testing::ApiFixture> fixture_;
  kubernel::testing::SeededRandom random_{3};
  kubernel::testing::RecordingMetrics metrics_;
  std::unique_ptr<Poller> poller_;
  std::unique_ptr<kubernel::testing::FakeServices> offered_;
  std::unique_ptr<Loaded> loaded_;
  std::unique_ptr<plugin::Component> manager_;
  std::string ca_file_;
  int addresses_ = 0;
};

}  // namespace kubernel::integration
