// SPDX-License-Identifier: Apache-2.0
//
// client::ApiClient over HTTPS and in process are the same thing: what one does, the other sees.
#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <kubernel/client/http.h>
#include <kubernel/client/informer.h>
#include <kubernel/crypto/pki.h>
#include <kubernel/net/server.h>
#include <kubernel/testing/fake_clock.h>

#include "admission/builtin.h"
#include "core/base/system_clock.h"
#include "core/base/system_random.h"
#include "core/base/thread_pool.h"
#include "http/client_certificate.h"
#include "http/front.h"
#include "memory_backend.h"
#include "pipeline/local_client.h"

namespace kubernel::integration {
namespace {

using namespace std::chrono_literals;
using api::Object;
using api::resources::kConfigMaps;
using api::resources::kDeployments;
using api::resources::kNamespaces;
using api::resources::kPods;
using client::EventType;
using client::PatchType;
using nlohmann::json;
using ::testing::Contains;

class NoPoller final : public Poller {
 public:
  Result<std::unique_ptr<Subscription>> when_readable(int, std::function<void()>) override {
    return Error(Reason::BadRequest, "not here");
  }
};

class OnlyJane final : public auth::Authorizer {
 public:
  Result<auth::Decision> authorize(const CallContext&, const auth::Attributes& attributes) override {
    return auth::Decision{attributes.user.name == "jane", false, ""};
  }
};

// Waited for by a test, told by callbacks of any thread.
class Bell {
 public:
  void ring() {
    const std::lock_guard lock(mutex_);
    ++rung_;
    changed_.notify_all();
  }
  bool wait_until(const std::function<bool()>& true_now) {
    std::unique_lock lock(mutex_);
    for (;;) {
      const int seen = rung_;
      lock.unlock();
      if (true_now()) return true;
      lock.lock();
      if (!changed_.wait_for(lock, 20s, [&] { return rung_ != seen; })) return false;
    }
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int rung_ = 0;
};

class HttpClientOnApi : public ::testing::Test {
 protected:
  HttpClientOnApi() {
    const auto now = clock_.wall_now();
    const auto ca = *crypto::make_ca("test", now - 1h, now + 1h);
    const auto serving = *crypto::issue(ca, {.common_name = "server",
                                             .ip_addresses = {"127.0.0.1"},
                                             .server = true,
                                             .not_before = now - 1h,
                                             .not_after = now + 1h});
    const auto jane =
        *crypto::issue(ca, {.common_name = "jane", .client = true, .not_before = now - 1h, .not_after = now + 1h});

    backend_ = *storage_memory::open_memory({"{}", log_, metrics_, clock_, pool_, poller_});
    api_ = std::make_unique<apiserver::Api>(apiserver::ApiContext{*backend_, clock_, random_, pool_, log_});
    api_->set_authorizer(std::make_shared<OnlyJane>());
    apiserver::add_admission(*api_, {});
    EXPECT_TRUE(api_->start({}));
    local_connector_ = std::make_unique<apiserver::LocalConnector>(*api_);
    local_ = local_connector_->connect({"jane", "", {"system:authenticated"}, {}});
    EXPECT_TRUE(local_->create({}, kNamespaces, {}, {{"metadata", {{"name", "default"}}}}, {}));
    EXPECT_TRUE(local_->create({}, api::resources::kServiceAccounts, {"default", ""},
                               {{"metadata", {{"name", "default"}}}}, {}));

    front_ = std::make_unique<apiserver::Front>(
        apiserver::FrontOptions{*api_, metrics_, {apiserver::make_certificate_authenticator()}, true, {}});
    net::ServerOptions server;
    server.listen = {"127.0.0.1:0"};
    server.tls = std::make_unique<net::ServerTls>(
        net::ServerTls{{serving.certificate_pem, serving.private_key_pem}, ca.certificate_pem});
    auto opened =
        net::open_server(net(), std::move(server), [this](net::Exchange& exchange) { front_->serve(exchange); });
    EXPECT_TRUE(opened) << opened.error().message();
    server_ = *std::move(opened);

    remote_ =
        connect(ca, std::make_unique<net::TlsIdentity>(net::TlsIdentity{jane.certificate_pem, jane.private_key_pem}),
                http_, connector_);
    stranger_ = connect(ca, nullptr, stranger_http_, stranger_connector_);
  }
  ~HttpClientOnApi() override {
    front_->close_streams();
    remote_.reset();
    stranger_.reset();
    http_.reset();
    stranger_http_.reset();
    server_.reset();
    front_.reset();
    local_.reset();
    local_connector_.reset();
    api_.reset();
  }

  net::NetContext net() { return {log_, metrics_, clock_, pool_}; }

  std::unique_ptr<client::ApiClient> connect(const crypto::KeyPair& ca, std::unique_ptr<net::TlsIdentity> identity,
                                             std::unique_ptr<net::HttpClient>& http,
                                             std::unique_ptr<client::Connector>& connector) {
    net::ClientOptions options;
    options.tls = std::make_unique<net::ClientTls>(net::ClientTls{ca.certificate_pem, "", std::move(identity)});
    auto made = net::make_http_client(net(), std::move(options));
    EXPECT_TRUE(made) << made.error().message();
    http = *std::move(made);
    connector =
        client::make_http_connector(net(), random_, *http, {.server = "https://" + server_->addresses().front()});
    return connector->connect({});
  }

  json map(const std::string& name) { return {{"metadata", {{"name", name}}}, {"data", {{"k", "v"}}}}; }

  testing::RecordingLogger log_;
  testing::RecordingMetrics metrics_;
  core::SystemClock clock_;
  core::SystemRandom random_;
  NoPoller poller_;
  core::ThreadPool pool_{{.name = "test", .threads = 8}, log_, metrics_};
  std::unique_ptr<storage::Backend> backend_;
  std::unique_ptr<apiserver::Api> api_;
  std::unique_ptr<client::Connector> local_connector_;
  std::unique_ptr<client::ApiClient> local_;
  std::unique_ptr<apiserver::Front> front_;
  std::unique_ptr<net::Server> server_;
  std::unique_ptr<net::HttpClient> http_, stranger_http_;
  std::unique_ptr<client::Connector> connector_, stranger_connector_;
  std::unique_ptr<client::ApiClient> remote_, stranger_;
};

TEST_F(HttpClientOnApi, WritesAndReadsAsInProcess) {
  const auto made = remote_->create({}, kConfigMaps, {"default", ""}, map("a"), {});
  ASSERT_TRUE(made) << made.error().message();
  EXPECT_EQ(made->pointer("/data/k").string(), "v");
  const auto seen = local_->get({}, kConfigMaps, {"default", "a"}, "");
  ASSERT_TRUE(seen);
  EXPECT_EQ(seen->uid(), made->uid());
  const auto patched =
      remote_->patch({}, kConfigMaps, {"default", "a"}, PatchType::Merge, {{"data", {{"k", nullptr}, {"l", "w"}}}}, {});
  ASSERT_TRUE(patched);
  EXPECT_EQ(patched->pointer("/data/l").string(), "w");
  EXPECT_FALSE(patched->pointer("/data/k"));
  const auto stale = remote_->update({}, kConfigMaps, {"default", "a"}, made->to_json(), {});
  ASSERT_FALSE(stale);
  EXPECT_EQ(stale.error().reason(), Reason::Conflict);
  EXPECT_TRUE(remote_->remove({}, kConfigMaps, {"default", "a"}, {.precondition_uid = made->uid()}));
  EXPECT_EQ(remote_->get({}, kConfigMaps, {"default", "a"}, "").error().reason(), Reason::NotFound);
}

TEST_F(HttpClientOnApi, HasTheSameErrorsAsInProcess) {
  for (client::ApiClient* client : {local_.get(), remote_.get()}) {
    const auto invalid = client->create({}, kDeployments, {"default", ""},
                                        {{"metadata", {{"name", "web"}}}, {"spec", {{"replicas", -1}}}}, {});
    ASSERT_FALSE(invalid);
    EXPECT_EQ(invalid.error().reason(), Reason::Invalid) << invalid.error().message();
    ASSERT_NE(invalid.error().details(), nullptr);
    EXPECT_FALSE(invalid.error().details()->causes.empty());
    EXPECT_EQ(client->get({}, kPods, {"default", "none"}, "").error().message(), "pods \"none\" not found");
  }
}

TEST_F(HttpClientOnApi, ListsWholeObjects) {
  for (const char* name : {"a", "b", "c"}) ASSERT_TRUE(local_->create({}, kConfigMaps, {"default", ""}, map(name), {}));
  const auto list = remote_->list({}, kConfigMaps, {.ns = "default", .field_selector = "metadata.name!=b"});
  ASSERT_TRUE(list) << list.error().message();
  ASSERT_EQ(list->items.size(), 2U);
  EXPECT_EQ(list->items[0].head().gvk.kind, "ConfigMap");
  EXPECT_EQ(list->resource_version, local_->list({}, kConfigMaps, {})->resource_version);
  const auto page = remote_->list({}, kConfigMaps, {.ns = "default", .limit = 2});
  ASSERT_TRUE(page);
  ASSERT_EQ(page->items.size(), 2U);
  const auto rest =
      remote_->list({}, kConfigMaps, {.ns = "default", .limit = 2, .continue_token = page->continue_token});
  ASSERT_TRUE(rest) << rest.error().message();
  EXPECT_EQ(rest->items.size(), 1U);
}

TEST_F(HttpClientOnApi, AnInformerFollowsOverHttps) {
  ASSERT_TRUE(local_->create({}, kConfigMaps, {"default", ""}, map("before"), {}));
  const auto factory = client::make_informer_factory({log_, clock_, random_, pool_}, *remote_);
  Bell bell;
  const auto informer = factory->informer(kConfigMaps, {.ns = "default"});
  const auto ring = [&bell](const Object&) { bell.ring(); };
  const auto subscription = informer->add_handler(
      {.added = ring, .updated = [&bell](const Object&, const Object&) { bell.ring(); }, .deleted = ring});
  factory->start();
  EXPECT_TRUE(bell.wait_until([&] { return informer->find({"default", "before"}).has_value(); }));
  ASSERT_TRUE(local_->create({}, kConfigMaps, {"default", ""}, map("after"), {}));
  EXPECT_TRUE(bell.wait_until([&] { return informer->find({"default", "after"}).has_value(); }));
  ASSERT_TRUE(local_->patch({}, kConfigMaps, {"default", "after"}, PatchType::Merge, {{"data", {{"k", "new"}}}}, {}));
  EXPECT_TRUE(bell.wait_until([&] {
    return informer->find({"default", "after"})->pointer("/data/k").string() == "new";
  }));
  ASSERT_TRUE(local_->remove({}, kConfigMaps, {"default", "before"}, {}));
  EXPECT_TRUE(bell.wait_until([&] { return !informer->find({"default", "before"}); }));
  factory->stop();
}

TEST_F(HttpClientOnApi, IsWhomItsCertificateSays) {
  EXPECT_TRUE(remote_->list({}, kConfigMaps, {}));
  const auto refused = stranger_->list({}, kConfigMaps, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason(), Reason::Forbidden);
}

TEST_F(HttpClientOnApi, DiscoversWhatIsServedInProcess) {
  const auto near = local_->discover({});
  const auto far = remote_->discover({});
  ASSERT_TRUE(near && far) << (far ? "" : far.error().message());
  const auto texts = [](const std::vector<client::ApiClient::DiscoveredResource>& found) {
    std::set<std::string> out;
    for (const auto& entry : found) {
      // Those that keep objects; reviews and the like are of no use to who asks.
      if (std::ranges::find(entry.verbs, "watch") == entry.verbs.end()) continue;
      std::string text = to_string(entry.resource) + " " + entry.resource.version + " " + entry.kind +
                         (entry.namespaced ? " namespaced" : "");
      for (const std::string& verb : std::set(entry.verbs.begin(), entry.verbs.end())) text += " " + verb;
      out.insert(text);
    }
    return out;
  };
  EXPECT_EQ(texts(*far), texts(*near));
}

TEST_F(HttpClientOnApi, SaysWhenNobodyIsThere) {
  const std::string address = server_->addresses().front();
  front_->close_streams();
  server_.reset();
  const auto lost = remote_->list({}, kConfigMaps, {});
  ASSERT_FALSE(lost);
  EXPECT_EQ(lost.error().reason(), Reason::ServiceUnavailable);
  EXPECT_THAT(lost.error().message(), ::testing::HasSubstr(address));
}

}  // namespace
}  // namespace kubernel::integration
