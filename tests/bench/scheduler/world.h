// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <kubernel/base/executor.h>
#include <kubernel/client/client.h>

namespace kubernel::bench {

// A control plane in this process: what the manifest beside this file names, started as `kubernel run` starts it.
class World {
 public:
  struct Options {
    std::filesystem::path plugins;  // Directory of the built plugins.
    std::filesystem::path manifest;
    std::filesystem::path data;     // An empty directory; removed with the world.
    bool durable = true;            // SQLite on disk, else memory.
    std::vector<std::string> also;  // Plugins besides the manifest's: controllers that a workload needs.
  };

  // Ends the process with one line when something does not start.
  explicit World(const Options& options);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  client::ApiClient& api();
  Executor& blocking();
  // The text /metrics would show.
  std::string metrics() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace kubernel::bench
