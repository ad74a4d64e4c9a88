// SPDX-License-Identifier: Apache-2.0
//
// SchedulerProcess: a scheduler component with its plugins as one process would have it, whose line to the API can be
// cut and whose writes are counted.

#pragma once

#include <map>
#include <memory>
#include <string>

#include <kubernel/plugin/component.h>
#include <kubernel/testing/fake_services.h>

#include "testing/api_fixture.h"

namespace kubernel::integration {

class SchedulerProcess {
 public:
  /// `config`: a KubeSchedulerConfiguration. Lifetime: the fixture outlives it.
  SchedulerProcess(apiserver::testing::ApiFixture& fixture, const std::string& config, std::uint64_t seed);
  ~SchedulerProcess();
  SchedulerProcess(const SchedulerProcess&) = delete;
  SchedulerProcess& operator=(const SchedulerProcess&) = delete;

  /// From now on no call reaches the API, and no watch tells of anything.
  void cut();
  void mend();

  /// Calls that reached the API and were answered well: "create pods/binding", "patch pods/status", "create events".
  int calls(const std::string& what) const;
  /// Those that the API refused.
  int refused(const std::string& what) const;
  double metric(const std::string& series) { return metrics_.value(series); }

 private:
  class Line;
  class Client;
  class CutWatch;
  class Loaded;
  std::shared_ptr<Line> line_;
  kubernel::testing::SeededRandom random_;
  kubernel::testing::RecordingMetrics metrics_;
  std::unique_ptr<Poller> poller_;
  std::unique_ptr<kubernel::testing::FakeServices> offered_;
  std::unique_ptr<Loaded> loaded_;
  std::unique_ptr<plugin::Component> component_;
};

}  // namespace kubernel::integration
