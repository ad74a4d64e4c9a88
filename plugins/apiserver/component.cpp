// SPDX-License-Identifier: Apache-2.0
#include "component.h"

#include <algorithm>
#include <chrono>
#include <mutex>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include <kubernel/storage/backend.h>

#include "admission/builtin.h"
#include "bootstrap.h"
#include "pipeline/local_client.h"
#include "strategies/allocator.h"

namespace kubernel::apiserver {

namespace {

struct Config {
  std::string service_cidr;
  std::string advertise_address;
  int advertise_port = 0;
  std::chrono::seconds compaction_interval{0};
};

Result<Config> read_config(const std::string& text_in) {
  return catch_as_error("config", [&]() -> Result<Config> {
    const json document = json::parse(text_in);
    Config out;
    out.service_cidr = document.at("serviceCidr").get<std::string>();
    out.advertise_address = document.at("advertiseAddress").get<std::string>();
    out.advertise_port = document.at("advertisePort").get<int>();
    out.compaction_interval = std::chrono::seconds(document.at("compactionInterval").get<int>());
    KUBERNEL_CHECK_OK(AddressRange::parse(out.service_cidr));
    return out;
  });
}

// Lets the server's own people in before any other authorizer is asked: upstream's privileged group.
class MastersFirst final : public auth::Authorizer {
 public:
  explicit MastersFirst(std::shared_ptr<auth::Authorizer> next) : next_(std::move(next)) {}
  Result<auth::Decision> authorize(const CallContext& ctx, const auth::Attributes& attributes) override {
    const auto& groups = attributes.user.groups;
    if (std::find(groups.begin(), groups.end(), "system:masters") != groups.end()) return auth::Decision{true, false, ""};
    if (next_ == nullptr) return auth::Decision{};
    return next_->authorize(ctx, attributes);
  }

 private:
  std::shared_ptr<auth::Authorizer> next_;
};

const auth::User& self() {
  static const auth::User kSelf{"system:apiserver", "", {"system:masters", "system:authenticated"}, {}};
  return kSelf;
}

class ApiServer final : public plugin::Component {
 public:
  ApiServer(const plugin::ComponentContext& context, Config config) : context_(context), config_(std::move(config)) {}
  ~ApiServer() override { close(); }

  Result<void> start(const CallContext& ctx) override;
  void stop(const CallContext& ctx) override;
  std::string problem() const override { return {}; }

 private:
  Result<void> open_store();
  void close();
  void schedule_compaction();
  void compact();

  plugin::ComponentContext context_;
  Config config_;
  std::unique_ptr<storage::Backend> backend_;
  std::unique_ptr<Api> api_;
  std::shared_ptr<LocalConnector> connector_;
  std::unique_ptr<client::ApiClient> self_;

  std::mutex timer_mutex_;
  bool stopped_ = false;
  std::unique_ptr<Subscription> compaction_timer_;
  storage::Revision compact_to_ = 0;
};

Result<void> ApiServer::open_store() {
  const auto stores = plugin::all<storage::BackendSpec>(context_.extensions);
  if (stores.size() != 1) {
    std::string names;
    for (const auto& store : stores) names += (names.empty() ? "" : ", ") + store.extension->plugin;
    return Error(Reason::Invalid, stores.empty() ? "no storage backend is loaded; name one in the manifest, such as storage-sqlite"
                                                 : "several storage backends are loaded (" + names + "); name one in the manifest");
  }
  KUBERNEL_TRY(backend_, stores.front().spec->open({stores.front().extension->config_json, context_.log, context_.metrics,
                                                    context_.clock, context_.blocking, context_.poller}));
  return {};
}

Result<void> ApiServer::start(const CallContext& ctx) {
  KUBERNEL_CHECK_OK(open_store());
  api_ = std::make_unique<Api>(
      ApiContext{*backend_, context_.clock, context_.random, context_.blocking, context_.log, config_.service_cidr});
  api_->set_authorizer(std::make_shared<MastersFirst>(nullptr));
  add_builtin_admission(*api_);
  KUBERNEL_CHECK_OK(api_->start(ctx));
  connector_ = std::make_shared<LocalConnector>(*api_);
  self_ = connector_->connect(self());
  KUBERNEL_CHECK_OK(bootstrap(ctx, *self_, {config_.service_cidr, config_.advertise_address, config_.advertise_port}));
  KUBERNEL_CHECK_OK(repair_addresses(ctx, *self_));
  schedule_compaction();
  plugin::offer<client::Connector>(context_.services, connector_);
  return {};
}

void ApiServer::stop(const CallContext&) { close(); }

void ApiServer::close() {
  std::unique_ptr<Subscription> timer;
  {
    const std::lock_guard lock(timer_mutex_);
    stopped_ = true;
    timer = std::move(compaction_timer_);
  }
  timer.reset();
  if (api_) api_->stop();
}

// Each time the history older than one interval is forgotten, as upstream does with etcd.
void ApiServer::schedule_compaction() {
  if (config_.compaction_interval.count() == 0) return;
  const std::lock_guard lock(timer_mutex_);
  if (stopped_) return;
  compaction_timer_ = context_.clock.call_at(context_.clock.now() + config_.compaction_interval, [this] {
    auto queued = context_.blocking.submit([this] { compact(); });
    if (!queued) log_warning(context_.log, "compaction is put off", {{"error", queued.error()}});
    schedule_compaction();
  });
}

void ApiServer::compact() {
  const storage::Revision now = api_->caches().progress();
  const storage::Revision target = std::exchange(compact_to_, now);
  if (target == 0) return;
  auto done = backend_->compact({}, target);
  if (!done && done.error().reason() != Reason::Expired) {
    log_error(context_.log, "the store's history cannot be compacted", {{"revision", target}, {"error", done.error()}});
  }
}

}  // namespace

Result<std::unique_ptr<plugin::Component>> make_component(const plugin::ComponentContext& context) {
  KUBERNEL_TRY(Config config, read_config(context.config_json));
  return std::unique_ptr<plugin::Component>(std::make_unique<ApiServer>(context, std::move(config)));
}

}  // namespace kubernel::apiserver
