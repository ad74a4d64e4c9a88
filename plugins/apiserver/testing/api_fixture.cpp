// SPDX-License-Identifier: Apache-2.0
#include "testing/api_fixture.h"

#include <stdexcept>
#include <utility>

#include "admission/builtin.h"

namespace kubernel::apiserver::testing {

namespace {

class AllowAll final : public auth::Authorizer {
 public:
  Result<auth::Decision> authorize(const CallContext&, const auth::Attributes&) override {
    return auth::Decision{true, false, ""};
  }
};

}  // namespace

class ApiFixture::NoPoller final : public Poller {
 public:
  Result<std::unique_ptr<Subscription>> when_readable(int, std::function<void()>) override {
    return Error(Reason::BadRequest, "the fixture has no poller");
  }
};

ApiFixture::ApiFixture(OpenStore open) : poller_(std::make_unique<NoPoller>()) {
  auto backend = open({"{}", log_, metrics_, clock_, executor_, *poller_});
  if (!backend) throw std::runtime_error(backend.error().message());
  backend_ = *std::move(backend);
  api_ = std::make_unique<Api>(ApiContext{*backend_, clock_, random_, executor_, log_});
  api_->set_authorizer(std::make_shared<AllowAll>());
  add_admission(*api_, {});
  if (auto started = api_->start({}); !started) throw std::runtime_error(started.error().message());
  connector_ = std::make_unique<LocalConnector>(*api_);
  client_ = connector_->connect({"admin", "", {"system:masters", "system:authenticated"}, {}});
  for (const char* ns : {"default", "kube-system"}) {
    create(api::resources::kNamespaces, "", std::string(R"({"metadata":{"name":")") + ns + R"("}})");
    create(api::resources::kServiceAccounts, ns, R"({"metadata":{"name":"default"}})");
  }
}

ApiFixture::~ApiFixture() {
  client_.reset();
  connector_.reset();
  api_.reset();
}

api::Object ApiFixture::create(const api::Resource& resource, std::string_view ns, std::string_view json_text) {
  auto made = client_->create({}, resource, {std::string(ns), ""}, nlohmann::json::parse(json_text), {});
  if (!made) throw std::runtime_error(made.error().message());
  return *std::move(made);
}

}  // namespace kubernel::apiserver::testing
