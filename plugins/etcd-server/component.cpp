// SPDX-License-Identifier: Apache-2.0
#include "component.h"

#include <utility>

#include <kubernel/storage/store.h>

#include "config.h"
#include "server.h"

namespace kubernel::etcd_server {

namespace {

class EtcdServer final : public plugin::Component {
 public:
  EtcdServer(const plugin::ComponentContext& context, Config config) : context_(context), config_(std::move(config)) {}

  Result<void> start(const CallContext&) override {
    const auto shared = plugin::find<storage::Store>(context_.services);
    if (!shared) {
      KUBERNEL_TRY(own_, storage::open_loaded(context_));
    }
    storage::Backend& store = shared ? shared->backend : *own_;
    KUBERNEL_TRY(server_,
                 Server::open({store, context_.clock, context_.blocking, context_.log, context_.metrics}, config_));
    for (const auto& address : server_->addresses()) log_info(context_.log, "serving", {{"address", address}});
    return {};
  }

  void stop(const CallContext& ctx) override {
    if (server_) server_->stop(ctx);
    server_.reset();
    own_.reset();
  }

  std::string problem() const override { return {}; }

 private:
  const plugin::ComponentContext context_;
  const Config config_;
  std::unique_ptr<storage::Backend> own_;  // Null when an API server owns the store.
  std::unique_ptr<Server> server_;
};

}  // namespace

Result<std::unique_ptr<plugin::Component>> make_component(const plugin::ComponentContext& context) {
  KUBERNEL_TRY(Config config, read_config(context.config_json));
  return std::unique_ptr<plugin::Component>(std::make_unique<EtcdServer>(context, std::move(config)));
}

}  // namespace kubernel::etcd_server
