// SPDX-License-Identifier: Apache-2.0
#include "facade.h"

#include <stdexcept>
#include <utility>

namespace kubernel::testing {

etcd_server::Config facade_config() {
  etcd_server::Config config;
  config.listen = {"127.0.0.1:0"};
  config.name = "test";
  config.max_request_bytes = 1'572'864;
  config.max_operations = 128;
  config.max_pending = 2048;
  config.progress_interval = std::chrono::seconds(600);
  return config;
}

Facade::Facade(storage::Backend& store, Clock& clock, etcd_server::Config config)
    : store_(store), clock_(clock), config_(std::move(config)), blocking_({"blocking", 64, 4096}, log_, metrics_) {
  start();
}

void Facade::start() {
  auto opened = etcd_server::Server::open({store_, clock_, blocking_, log_, metrics_}, config_);
  if (!opened) throw std::runtime_error(opened.error().message());
  server_ = *std::move(opened);
  config_.listen = server_->addresses();
  url_ = (config_.cert_file.empty() ? "http://" : "https://") + config_.listen.front();
}

void Facade::stop() {
  server_->stop({});
  server_.reset();
}

void Facade::restart() {
  stop();
  start();
}

}  // namespace kubernel::testing
