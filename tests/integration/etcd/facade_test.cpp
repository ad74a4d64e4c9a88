// SPDX-License-Identifier: Apache-2.0
//
// etcd-server as a client of etcd's protocol sees it, and storage-etcd when the server goes away and comes back.

#include "facade.h"

#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <kubernel/crypto/cluster_pki.h>

#include "core/base/system_clock.h"
#include "etcd_backend.h"
#include "memory_backend.h"
#include "rpc.grpc.pb.h"

namespace kubernel {
namespace {

using etcdserverpb::WatchCreateRequest;
using etcdserverpb::WatchRequest;
using etcdserverpb::WatchResponse;
using storage::Revision;
using testing::Facade;

const std::string kZero(1, '\0');

struct EtcdServer : ::testing::Test {
  EtcdServer() {
    store = *storage_memory::open_memory({"", log, metrics, clock, blocking, poller});
    facade = std::make_unique<Facade>(*store, clock);
    channel = grpc::CreateChannel(facade->url().substr(7), grpc::InsecureChannelCredentials());
    kv = etcdserverpb::KV::NewStub(channel);
  }

  Revision put(const std::string& key, const std::string& value) {
    const auto current = store->get({}, key, 0);
    return store->put({}, key, value, *current ? (*current)->modified : 0, 0)->revision;
  }

  etcdserverpb::RangeResponse range(const std::function<void(etcdserverpb::RangeRequest&)>& fill) {
    etcdserverpb::RangeRequest request;
    request.set_key(kZero);
    request.set_range_end(kZero);
    fill(request);
    etcdserverpb::RangeResponse response;
    grpc::ClientContext call;
    const auto status = kv->Range(&call, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }
  static std::string keys(const etcdserverpb::RangeResponse& response) {
    std::string out;
    for (const auto& item : response.kvs()) out += item.key() + " ";
    return out;
  }

  testing::RecordingLogger log;
  testing::RecordingMetrics metrics;
  core::SystemClock clock;
  testing::ManualExecutor blocking;
  testing::NoPoller poller;
  std::unique_ptr<storage::Backend> store;
  std::unique_ptr<Facade> facade;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<etcdserverpb::KV::Stub> kv;
};

// One watch stream, read as the test asks.
class Watcher {
 public:
  explicit Watcher(const std::shared_ptr<grpc::Channel>& channel)
      : stub_(etcdserverpb::Watch::NewStub(channel)), stream_(stub_->Watch(&call_)) {}
  ~Watcher() { call_.TryCancel(); }

  void create(const std::function<void(WatchCreateRequest&)>& fill) {
    WatchRequest request;
    request.mutable_create_request()->set_key(kZero);
    request.mutable_create_request()->set_range_end(kZero);
    fill(*request.mutable_create_request());
    stream_->Write(request);
  }
  void ask_progress() {
    WatchRequest request;
    request.mutable_progress_request();
    stream_->Write(request);
  }
  void cancel(std::int64_t id) {
    WatchRequest request;
    request.mutable_cancel_request()->set_watch_id(id);
    stream_->Write(request);
  }
  WatchResponse next() {
    WatchResponse response;
    EXPECT_TRUE(stream_->Read(&response));
    return response;
  }
  // With what the server ended the stream.
  grpc::Status end() {
    WatchResponse response;
    EXPECT_FALSE(stream_->Read(&response)) << response.ShortDebugString();
    return stream_->Finish();
  }

 private:
  grpc::ClientContext call_;
  std::unique_ptr<etcdserverpb::Watch::Stub> stub_;
  std::unique_ptr<grpc::ClientReaderWriter<WatchRequest, WatchResponse>> stream_;
};

TEST_F(EtcdServer, ARangeIsSortedFilteredAndCountedAsAsked) {
  put("/a", "3");
  put("/b", "2");
  put("/c", "1");
  put("/a", "4");
  EXPECT_EQ(range([](auto& r) { r.set_count_only(true); }).count(), 3);
  EXPECT_EQ(range([](auto& r) { r.set_count_only(true); }).kvs_size(), 0);
  const auto page = range([](auto& r) { r.set_limit(2); });
  EXPECT_EQ(keys(page), "/a /b ");
  EXPECT_TRUE(page.more());
  EXPECT_EQ(page.count(), 3);
  EXPECT_EQ(keys(range([](auto& r) { r.set_sort_target(etcdserverpb::RangeRequest::VALUE); })), "/c /b /a ");
  EXPECT_EQ(keys(range([](auto& r) {
              r.set_sort_target(etcdserverpb::RangeRequest::MOD);
              r.set_sort_order(etcdserverpb::RangeRequest::DESCEND);
              r.set_limit(2);
            })),
            "/a /c ");
  EXPECT_EQ(keys(range([](auto& r) { r.set_min_mod_revision(4); })), "/a /c ");
  EXPECT_EQ(keys(range([](auto& r) { r.set_max_create_revision(2); })), "/a ");
  const auto past = range([](auto& r) { r.set_revision(3); });
  EXPECT_EQ(keys(past), "/a /b ");
  EXPECT_EQ(past.header().revision(), 5) << "the header tells the present, also in an answer about the past";
  EXPECT_EQ(range([](auto& r) { r.set_keys_only(true); }).kvs(0).value(), "");
}

TEST_F(EtcdServer, AWatchFiltersAndTellsWhatWasThereBefore) {
  put("/a", "1");
  Watcher watcher(channel);
  watcher.create([](auto& r) {
    r.set_prev_kv(true);
    r.set_start_revision(2);
    r.add_filters(WatchCreateRequest::NOPUT);
  });
  const auto created = watcher.next();
  EXPECT_TRUE(created.created());
  EXPECT_EQ(created.header().revision(), 2);
  const auto gone = store->remove({}, "/a", 2);
  const auto told = watcher.next();
  ASSERT_EQ(told.events_size(), 1);
  EXPECT_EQ(told.events(0).type(), mvccpb::Event::DELETE);
  EXPECT_EQ(told.events(0).kv().mod_revision(), gone->revision);
  EXPECT_EQ(told.events(0).prev_kv().value(), "1");
  watcher.cancel(created.watch_id());
  EXPECT_TRUE(watcher.next().canceled());
}

TEST_F(EtcdServer, ProgressIsToldWhenEverythingBeforeItWasSent) {
  Watcher watcher(channel);
  watcher.create([](auto& r) {
    r.set_key("/w");
    r.set_range_end("/x");
  });
  EXPECT_TRUE(watcher.next().created());
  Revision last = 0;
  for (int round = 0; round < 20; ++round) {
    const Revision wanted = put("/w", std::to_string(round));
    const Revision elsewhere = put("/elsewhere", std::to_string(round));
    watcher.ask_progress();
    for (;;) {
      const auto response = watcher.next();
      for (const auto& event : response.events()) last = event.kv().mod_revision();
      if (response.events_size() != 0) continue;
      EXPECT_EQ(response.watch_id(), -1);
      EXPECT_GE(response.header().revision(), elsewhere);
      EXPECT_EQ(last, wanted) << "progress overtook an event";
      break;
    }
  }
}

TEST_F(EtcdServer, ALargeRevisionComesInFragmentsWhenAskedFor) {
  storage::Transaction large;
  for (int i = 0; i < 8; ++i) {
    auto& operation = large.then.emplace_back();
    operation.what = storage::PutOperation{.key = "/" + std::to_string(i), .value = std::string(500'000, 'x')};
  }
  Watcher watcher(channel);
  watcher.create([](auto& r) { r.set_fragment(true); });
  EXPECT_TRUE(watcher.next().created());
  ASSERT_TRUE(store->transact({}, large));
  int events = 0;
  int responses = 0;
  for (bool more = true; more; ++responses) {
    const auto response = watcher.next();
    events += response.events_size();
    more = response.fragment();
  }
  EXPECT_EQ(events, 8);
  EXPECT_GT(responses, 2);
}

TEST_F(EtcdServer, AWatchOfACompactedRevisionIsCancelledAndToldWhereHistoryBegins) {
  for (int i = 0; i < 5; ++i) put("/a", std::to_string(i));
  ASSERT_TRUE(store->compact({}, 4));
  Watcher watcher(channel);
  watcher.create([](auto& r) { r.set_start_revision(2); });
  EXPECT_TRUE(watcher.next().created());
  const auto response = watcher.next();
  EXPECT_TRUE(response.canceled());
  EXPECT_EQ(response.compact_revision(), 4);
}

// A store whose marks cannot be read, or whose watches cannot, as long as there is a `problem`.
class TroubledStore final : public storage::Backend {
 public:
  explicit TroubledStore(storage::Backend& store) : store_(store) {}

  void trouble(std::optional<Error> problem) {
    const std::lock_guard lock(mutex_);
    problem_ = std::move(problem);
  }

  Result<storage::CasResult> put(const CallContext& ctx, std::string_view key, std::string_view value,
                                 Revision expected, storage::LeaseId lease) override {
    return store_.put(ctx, key, value, expected, lease);
  }
  Result<storage::CasResult> remove(const CallContext& ctx, std::string_view key, Revision expected) override {
    return store_.remove(ctx, key, expected);
  }
  Result<storage::TransactionResult> transact(const CallContext& ctx, const storage::Transaction& all) override {
    return store_.transact(ctx, all);
  }
  Result<std::optional<storage::KeyValue>> get(const CallContext& ctx, std::string_view key, Revision at) override {
    return store_.get(ctx, key, at);
  }
  Result<storage::Page> range(const CallContext& ctx, const storage::RangeOptions& options) override {
    return store_.range(ctx, options);
  }
  Result<std::int64_t> count(const CallContext& ctx, std::string_view start, std::string_view end) override {
    return store_.count(ctx, start, end);
  }
  Result<std::unique_ptr<storage::Watch>> watch(const storage::WatchOptions& options) override {
    auto watch = store_.watch(options);
    if (!watch) return watch.error();
    return std::unique_ptr<storage::Watch>(std::make_unique<Troubled>(*this, *std::move(watch)));
  }
  Result<void> compact(const CallContext& ctx, Revision revision) override { return store_.compact(ctx, revision); }
  storage::Leases& leases() override { return store_.leases(); }
  Result<storage::Stats> stats(const CallContext& ctx) override {
    if (auto found = problem()) return *found;
    return store_.stats(ctx);
  }

 private:
  class Troubled final : public storage::Watch {
   public:
    Troubled(TroubledStore& owner, std::unique_ptr<storage::Watch> watch) : owner_(owner), watch_(std::move(watch)) {}
    Result<storage::WatchBatch> take(std::size_t max_events) override {
      if (auto found = owner_.problem()) return *found;
      return watch_->take(max_events);
    }
    void notify(std::function<void()> ready) override { watch_->notify(std::move(ready)); }

   private:
    TroubledStore& owner_;
    std::unique_ptr<storage::Watch> watch_;
  };

  std::optional<Error> problem() {
    const std::lock_guard lock(mutex_);
    return problem_;
  }

  storage::Backend& store_;
  std::mutex mutex_;
  std::optional<Error> problem_;
};

struct TroubledEtcdServer : EtcdServer {
  TroubledEtcdServer() {
    troubled = std::make_unique<TroubledStore>(*store);
    facade = std::make_unique<Facade>(*troubled, clock);
    channel = grpc::CreateChannel(facade->url().substr(7), grpc::InsecureChannelCredentials());
  }
  ~TroubledEtcdServer() override { facade.reset(); }

  std::unique_ptr<TroubledStore> troubled;
};

// etcd's clients give a cancelled watch up, and resume one whose stream broke with this status.
TEST_F(TroubledEtcdServer, AWatchIsNotGivenUpWhileTheStoreIsAwayForAMoment) {
  for (const Reason reason : {Reason::ServiceUnavailable, Reason::Timeout, Reason::TooManyRequests}) {
    Watcher watcher(channel);
    watcher.create([](auto&) {});
    EXPECT_TRUE(watcher.next().created());
    troubled->trouble(Error(reason, "the database is away"));
    put("/a", "1");
    EXPECT_EQ(watcher.end().error_code(), grpc::StatusCode::UNAVAILABLE);
    troubled->trouble(std::nullopt);
  }
}

TEST_F(TroubledEtcdServer, AWatchThatBeginsWhileTheStoreIsAwayIsTriedAgainByItsClient) {
  troubled->trouble(Error(Reason::ServiceUnavailable, "the database is away"));
  Watcher watcher(channel);
  watcher.create([](auto&) {});
  const grpc::Status status = watcher.end();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(status.error_message(), "the database is away");
}

TEST_F(TroubledEtcdServer, AWatchThatCannotBeReadAgainIsCancelledWithTheReason) {
  Watcher watcher(channel);
  watcher.create([](auto&) {});
  EXPECT_TRUE(watcher.next().created());
  troubled->trouble(Error(Reason::Internal, "revision 2 of /a is damaged"));
  put("/a", "1");
  const auto response = watcher.next();
  EXPECT_TRUE(response.canceled());
  EXPECT_EQ(response.cancel_reason(), "revision 2 of /a is damaged");
}

TEST_F(EtcdServer, AClientThatDoesNotReadHoldsNobodyUp) {
  Watcher sleeper(channel);
  sleeper.create([](auto&) {});
  EXPECT_TRUE(sleeper.next().created());
  Watcher quick(grpc::CreateChannel(facade->url().substr(7), grpc::InsecureChannelCredentials()));
  quick.create([](auto& r) { r.set_start_revision(2); });
  EXPECT_TRUE(quick.next().created());
  const std::string value(100'000, 'v');
  constexpr int kWrites = 300;  // 30 MB, more than all buffers between hold.
  int seen = 0;
  for (int i = 0; i < kWrites; ++i) put("/k" + std::to_string(i), value);
  while (seen < kWrites) seen += quick.next().events_size();
  EXPECT_EQ(seen, kWrites);
  seen = 0;
  Revision revision = 1;
  while (seen < kWrites) {
    const auto response = sleeper.next();
    for (const auto& event : response.events()) {
      EXPECT_EQ(event.kv().mod_revision(), ++revision);
      ++seen;
    }
  }
}

TEST_F(EtcdServer, ATooLargeRequestIsRefusedInEtcdsWords) {
  etcdserverpb::PutRequest request;
  request.set_key("/a");
  request.set_value(std::string(1'600'000, 'x'));
  etcdserverpb::PutResponse response;
  grpc::ClientContext call;
  const auto status = kv->Put(&call, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(status.error_message(), "etcdserver: request is too large");
}

TEST(EtcdServerConfig, BeyondLoopbackOnlyWithClientCertificates) {
  auto text = [](const std::string& listen) {
    return R"({"listen":[")" + listen +
           R"("],"certFile":"c","keyFile":"k","clientCaFile":"","name":"n","advertiseUrls":[],"maxRequestBytes":1024,)" +
           R"("maxTransactionOperations":1,"maxPendingRequests":1,"progressNotifyInterval":1})";
  };
  EXPECT_TRUE(etcd_server::read_config(text("127.0.0.1:0")));
  const auto open = etcd_server::read_config(text("0.0.0.0:2379"));
  ASSERT_FALSE(open);
  EXPECT_NE(open.error().message().find("clientCaFile"), std::string::npos);
}

// storage-etcd with threads and time of its own, as in a process.
struct EtcdClient : EtcdServer {
  std::unique_ptr<storage::Backend> open(const std::string& config) {
    auto opened = storage_etcd::open_etcd({config, client_log, client_metrics, clock, pool, poller});
    EXPECT_TRUE(opened) << opened.error().message();
    return opened ? *std::move(opened) : nullptr;
  }
  std::unique_ptr<storage::Backend> open() { return open(R"({"endpoints":[")" + facade->url() + R"("]})"); }

  // Events as they come, until `count` are there.
  static std::vector<storage::Event> take(storage::Watch& watch, std::size_t count) {
    std::vector<storage::Event> out;
    std::atomic<int> wakes = 0;
    watch.notify([&] {
      ++wakes;
      wakes.notify_one();
    });
    while (out.size() < count) {
      const int before = wakes;
      auto batch = watch.take(100);
      EXPECT_TRUE(batch) << batch.error().message();
      if (!batch) break;
      if (batch->events.empty()) wakes.wait(before);
      for (auto& event : batch->events) out.push_back(std::move(event));
    }
    watch.notify({});
    return out;
  }

  testing::RecordingLogger client_log;
  testing::RecordingMetrics client_metrics;
  core::ThreadPool pool{{"client", 4, 100}, client_log, client_metrics};
};

TEST_F(EtcdClient, AWatchGoesOnWithoutGapOrRepetitionWhenTheServerComesBack) {
  const auto client = open();
  const auto watch = *client->watch({});
  Revision revision = 1;
  for (int round = 0; round < 5; ++round) {
    put("/before", std::to_string(round));
    facade->stop();
    for (int i = 0; i < 10; ++i) put("/meanwhile", std::to_string(i));
    facade->start();
    put("/after", std::to_string(round));
    for (const auto& event : take(*watch, 12)) EXPECT_EQ(event.kv.modified, ++revision);
  }
  EXPECT_TRUE(client->put({}, "/mine", "1", 0, 0)->applied);
}

TEST_F(EtcdClient, AWatchWhoseNextRevisionWasCompactedMeanwhileIsExpired) {
  const auto client = open();
  const auto watch = *client->watch({});
  put("/a", "0");
  EXPECT_EQ(take(*watch, 1).size(), 1U);
  std::atomic<bool> woken = false;
  facade->stop();
  for (int i = 1; i < 10; ++i) put("/a", std::to_string(i));
  ASSERT_TRUE(store->compact({}, 8));
  watch->notify([&] {
    woken = true;
    woken.notify_one();
  });
  facade->start();
  woken.wait(false);
  const auto batch = watch->take(10);
  ASSERT_FALSE(batch);
  EXPECT_EQ(batch.error().reason(), Reason::Expired);
  watch->notify({});
  EXPECT_TRUE(client->watch({}));
}

TEST_F(EtcdClient, AnotherMemberTakesOver) {
  Facade second(*store, clock);
  const auto client = open(R"({"endpoints":[")" + facade->url() + R"(",")" + second.url() + R"("]})");
  const auto watch = *client->watch({});
  EXPECT_TRUE(client->put({}, "/a", "1", 0, 0)->applied);
  facade->stop();
  // The first write may meet the connection as it breaks; its outcome is then unknown, and said to be.
  auto written = client->put({}, "/b", "1", 0, 0);
  while (!written) {
    ASSERT_EQ(written.error().reason(), Reason::ServiceUnavailable) << written.error().message();
    written = client->put({}, "/b", "1", 0, 0);
  }
  EXPECT_EQ((*client->get({}, "/b", 0))->value, "1");
  EXPECT_EQ(take(*watch, 2).size(), 2U);
}

TEST_F(EtcdClient, NobodyAnsweringIsOneClearLine) {
  const std::string url = facade->url();
  facade->stop();
  const auto opened =
      storage_etcd::open_etcd({R"({"endpoints":[")" + url + R"("]})", client_log, client_metrics, clock, pool, poller});
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().reason(), Reason::ServiceUnavailable);
  EXPECT_EQ(opened.error().message(), "etcd " + url + ": connection refused; is etcd running there?");
}

struct EtcdTls : EtcdClient {
  EtcdTls() {
    std::string pattern = (std::filesystem::temp_directory_path() / "kubernel-etcd-tls-XXXXXX").string();
    directory = ::mkdtemp(pattern.data());
    ours = make_pki("ours");
    auto config = testing::facade_config();
    config.cert_file = ours + "/server.crt";
    config.key_file = ours + "/server.key";
    config.client_ca_file = ours + "/ca.crt";
    secure = std::make_unique<Facade>(*store, clock, config);
  }
  ~EtcdTls() override {
    secure.reset();
    std::filesystem::remove_all(directory);
  }

  static void write(const std::string& path, const std::string& text) {
    std::ofstream(path) << text;
    std::filesystem::permissions(path, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  }
  // A directory with an authority, a server's and a client's certificate.
  std::string make_pki(const std::string& name) {
    const std::string path = (directory / name).string();
    const auto pki = *crypto::open_cluster_pki(
        path + "-cluster", {.dns_names = {"localhost"}, .ip_addresses = {"127.0.0.1"}}, clock.wall_now());
    std::filesystem::create_directory(path);
    write(path + "/ca.crt", pki.ca.certificate_pem);
    write(path + "/server.crt", pki.apiserver.certificate_pem);
    write(path + "/server.key", pki.apiserver.private_key_pem);
    write(path + "/client.crt", pki.kubelet_client.certificate_pem);
    write(path + "/client.key", pki.kubelet_client.private_key_pem);
    return path;
  }
  Result<std::unique_ptr<storage::Backend>> try_open(const std::string& url, const std::string& ca,
                                                     const std::string& identity) {
    std::string config = R"({"endpoints":[")" + url + '"' + "],\"requestTimeout\":5";
    if (!ca.empty()) config += R"(,"caFile":")" + ca + "/ca.crt\"";
    if (!identity.empty())
      config += R"(,"certFile":")" + identity + R"(/client.crt","keyFile":")" + identity + "/client.key\"";
    return storage_etcd::open_etcd({config + "}", client_log, client_metrics, clock, pool, poller});
  }
  std::string problem(const std::string& url, const std::string& ca, const std::string& identity) {
    const auto opened = try_open(url, ca, identity);
    return opened ? "" : opened.error().message();
  }

  std::filesystem::path directory;
  std::string ours;
  std::unique_ptr<Facade> secure;
};

TEST_F(EtcdTls, BothSidesProveThemselves) {
  const auto client = try_open(secure->url(), ours, ours);
  ASSERT_TRUE(client) << client.error().message();
  EXPECT_TRUE((*client)->put({}, "/a", "1", 0, 0)->applied);
  EXPECT_EQ((*store->get({}, "/a", 0))->value, "1");
}

TEST_F(EtcdTls, WhatDoesNotFitIsOneClearLine) {
  const std::string theirs = make_pki("theirs");
  EXPECT_EQ(problem(secure->url(), theirs, theirs),
            "etcd " + secure->url() +
                ": its certificate is not one that caFile vouches for, or is for another name (serverName)");
  const std::string plain = "http" + secure->url().substr(5);
  EXPECT_NE(problem(plain, "", "").find("if it speaks TLS, use https://"), std::string::npos) << problem(plain, "", "");
  const std::string tls_to_plain = "https" + facade->url().substr(4);
  EXPECT_NE(problem(tls_to_plain, ours, ours).find("does not speak TLS; use http://"), std::string::npos)
      << problem(tls_to_plain, ours, ours);
  for (const std::string& identity : {std::string(), theirs}) {
    const std::string line = problem(secure->url(), ours, identity);
    EXPECT_NE(line.find("client certificate"), std::string::npos) << line;
  }
}

TEST_F(EtcdTls, AKeyThatOthersCanReadIsRefused) {
  std::filesystem::permissions(ours + "/client.key", std::filesystem::perms::others_read,
                               std::filesystem::perm_options::add);
  EXPECT_NE(problem(secure->url(), ours, ours).find("is a secret that others can read; chmod 600 it"),
            std::string::npos);
}

}  // namespace
}  // namespace kubernel
