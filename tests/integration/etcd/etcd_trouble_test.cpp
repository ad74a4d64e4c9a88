// SPDX-License-Identifier: Apache-2.0
//
// storage-etcd when etcd is in trouble: each time one clear line, and nothing that was acknowledged is lost.

#include <atomic>
#include <filesystem>
#include <fstream>
#include <latch>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <kubernel/base/child_process.h>
#include <kubernel/crypto/cluster_pki.h>
#include <kubernel/testing/fake_clock.h>

#include "core/base/system_clock.h"
#include "core/base/thread_pool.h"
#include "etcd_backend.h"
#include "etcd_process.h"

namespace kubernel::storage_etcd {
namespace {

struct EtcdTrouble : ::testing::Test {
  void SetUp() override {
    if (!testing::have_etcd()) GTEST_SKIP() << "SKIPPED: etcd-server is not installed";
  }

  Result<std::unique_ptr<storage::Backend>> try_open(const std::string& url, const std::string& more = "") {
    return open_etcd({R"({"endpoints":[")" + url + R"("])" + more + "}", log, metrics, clock, pool, poller});
  }
  std::unique_ptr<storage::Backend> open(const std::string& url, const std::string& more = "") {
    auto opened = try_open(url, more);
    EXPECT_TRUE(opened) << opened.error().message();
    return opened ? *std::move(opened) : nullptr;
  }
  static void etcdctl(const std::string& url, std::vector<std::string> arguments) {
    ChildOptions options;
    options.argv = {"/usr/bin/etcdctl", "--endpoints", url};
    options.argv.insert(options.argv.end(), arguments.begin(), arguments.end());
    options.env = {"ETCDCTL_API=3", "PATH=/usr/bin:/bin"};
    const auto done = run_child({}, options);
    ASSERT_TRUE(done) << done.error().message();
    ASSERT_EQ(done->exit_code, 0) << done->standard_error;
  }

  testing::RecordingLogger log;
  testing::RecordingMetrics metrics;
  testing::NoPoller poller;
  core::SystemClock clock;
  core::ThreadPool pool{{"blocking", 4, 100}, log, metrics};
};

TEST_F(EtcdTrouble, WhatWasAcknowledgedIsThereAfterEtcdWasKilledAndWatchesGoOn) {
  const auto etcd = testing::EtcdProcess::start();
  const auto store = open(etcd->url());
  const auto watch = *store->watch({});
  std::vector<std::string> acknowledged;
  for (int round = 0; round < 3; ++round) {
    std::atomic<bool> stop = false;
    std::latch enough(20);
    std::jthread writer([&] {
      for (int i = 0; !stop; ++i) {
        const std::string key = "/" + std::to_string(round) + "/" + std::to_string(i);
        const auto written = store->put({}, key, "1", 0, 0);
        if (!written || !written->applied) continue;
        acknowledged.push_back(key);
        if (!enough.try_wait()) enough.count_down();
      }
    });
    enough.wait();
    etcd->kill();
    stop = true;
    writer.join();
    etcd->start_again();
  }
  for (const std::string& key : acknowledged) {
    const auto found = store->get({}, key, 0);
    ASSERT_TRUE(found) << found.error().message();
    EXPECT_TRUE(*found) << key << " was acknowledged and is gone";
  }
  const auto head = store->stats({})->revision;
  std::atomic<int> wakes = 0;
  watch->notify([&] {
    ++wakes;
    wakes.notify_one();
  });
  storage::Revision next = 2;
  for (storage::Revision progress = 1; progress < head;) {
    const int before = wakes;
    const auto batch = watch->take(100);
    ASSERT_TRUE(batch) << batch.error().message();
    for (const auto& event : batch->events) ASSERT_EQ(event.kv.modified, next++);
    progress = batch->progress;
    if (batch->events.empty() && progress < head) wakes.wait(before);
  }
  watch->notify({});
  EXPECT_EQ(next, head + 1);
}

TEST_F(EtcdTrouble, AnEtcdThatDoesNotAnswerIsATimeoutWithUnknownOutcome) {
  const auto etcd = testing::EtcdProcess::start();
  const auto store = open(etcd->url(), R"(,"requestTimeout":1)");
  etcd->freeze();
  const auto written = store->put({}, "/a", "1", 0, 0);
  etcd->thaw();
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().reason(), Reason::Timeout) << written.error().message();
  EXPECT_NE(written.error().message().find("no answer in time"), std::string::npos);
  std::stop_source stop;
  etcd->freeze();
  std::jthread stopper([&] { stop.request_stop(); });
  const auto cancelled = store->get({.stop = stop.get_token()}, "/a", 0);
  etcd->thaw();
  ASSERT_FALSE(cancelled);
  EXPECT_EQ(cancelled.error().reason(), Reason::Cancelled);
}

TEST_F(EtcdTrouble, AFullDatabaseStopsWritesAndSaysWhatToDo) {
  const auto etcd = testing::EtcdProcess::start({"--quota-backend-bytes=4000000"});
  const auto store = open(etcd->url());
  Result<storage::CasResult> written = storage::CasResult{};
  for (int i = 0; i < 20 && written; ++i)
    written = store->put({}, "/" + std::to_string(i), std::string(1'000'000, 'x'), 0, 0);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().reason(), Reason::ServiceUnavailable);
  EXPECT_NE(written.error().message().find("NOSPACE alarm"), std::string::npos) << written.error().message();
  EXPECT_NE(written.error().message().find("etcdctl alarm disarm"), std::string::npos);
  EXPECT_TRUE(store->get({}, "/0", 0)) << "reads go on";
  EXPECT_NE(store->stats({})->stopped.find("NOSPACE"), std::string::npos)
      << "and the store says that it takes no writes";
}

TEST_F(EtcdTrouble, LoginsAreCheckedAndWrongOnesExplained) {
  const auto etcd = testing::EtcdProcess::start();
  const std::string& url = etcd->url();
  std::string pattern = (std::filesystem::temp_directory_path() / "kubernel-etcd-XXXXXX").string();
  const std::filesystem::path directory = ::mkdtemp(pattern.data());
  const auto password = [&](const std::string& text) {
    const std::string file = (directory / text).string();
    std::ofstream(file) << text << "\n";
    std::filesystem::permissions(file, std::filesystem::perms::owner_read);
    return R"(,"username":"root","passwordFile":")" + file + '"';
  };
  const auto off = try_open(url, password("secret"));
  ASSERT_FALSE(off);
  EXPECT_NE(off.error().message().find("its authentication is off"), std::string::npos) << off.error().message();
  etcdctl(url, {"user", "add", "root:secret"});
  etcdctl(url, {"auth", "enable"});
  const auto store = open(url, password("secret"));
  ASSERT_TRUE(store);
  const auto watch = *store->watch({});
  EXPECT_TRUE(store->put({}, "/a", "1", 0, 0)->applied);
  const auto wrong = try_open(url, password("wrong"));
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().reason(), Reason::Unauthorized);
  EXPECT_EQ(wrong.error().message(), "etcd " + url + ": wrong password, or there is no user \"root\"");
  const auto none = try_open(url);
  ASSERT_FALSE(none);
  EXPECT_NE(none.error().message().find("it wants a login; set username and passwordFile"), std::string::npos)
      << none.error().message();
  // A restart makes every token invalid: the next request logs in again.
  etcd->kill();
  etcd->start_again();
  EXPECT_TRUE(store->get({}, "/a", 0));
  EXPECT_TRUE(store->put({}, "/b", "1", 0, 0)->applied);
  std::filesystem::remove_all(directory);
}

TEST_F(EtcdTrouble, OthersInTheSameEtcdAreNeitherSeenNorTouched) {
  const auto etcd = testing::EtcdProcess::start();
  const auto ours = open(etcd->url(), R"(,"keyPrefix":"/us")");
  const auto theirs = open(etcd->url(), R"(,"keyPrefix":"/them")");
  const auto watch = *ours->watch({});
  ASSERT_TRUE(theirs->put({}, "/a", "theirs", 0, 0)->applied);
  const auto written = ours->put({}, "/a", "ours", 0, 0);
  ASSERT_TRUE(written && written->applied);
  EXPECT_EQ(*ours->count({}, "", ""), 1);
  EXPECT_EQ((*ours->get({}, "/a", 0))->value, "ours");
  const auto batch = watch->take(10);
  ASSERT_EQ(batch->events.size(), 1U);
  EXPECT_EQ(batch->events[0].kv.key, "/a");
  EXPECT_EQ(batch->events[0].kv.value, "ours");
  EXPECT_EQ(batch->progress, written->revision);
}

// Writes, and says of each whether it was acknowledged, while the members go one after the other.
TEST_F(EtcdTrouble, AnotherMemberOfTheClusterTakesOverAndNothingAcknowledgedIsLost) {
  const auto members = testing::EtcdProcess::start_cluster(3);
  auto opened = open_etcd({R"({"requestTimeout":5,"endpoints":[")" + members[0]->url() + R"(",")" + members[1]->url() +
                               R"(",")" + members[2]->url() + R"("]})",
                           log, metrics, clock, pool, poller});
  ASSERT_TRUE(opened) << opened.error().message();
  auto& store = **opened;
  const auto watch = *store.watch({});
  std::vector<std::string> acknowledged;
  int number = 0;
  for (const auto& member : members) {
    member->kill();
    // A write whose member is gone or that has no leader yet fails; its outcome is unknown, and said to be.
    for (int wanted = 20; wanted > 0;) {
      const std::string key = "/" + std::to_string(number++);
      const auto written = store.put({}, key, "1", 0, 0);
      if (!written) {
        ASSERT_TRUE(written.error().reason() == Reason::ServiceUnavailable ||
                    written.error().reason() == Reason::Timeout)
            << written.error().message();
        continue;
      }
      acknowledged.push_back(key);
      --wanted;
    }
    member->start_again();
  }
  for (const std::string& key : acknowledged) {
    const auto found = store.get({}, key, 0);
    ASSERT_TRUE(found) << found.error().message();
    EXPECT_TRUE(*found) << key << " was acknowledged and is gone";
  }
  const auto head = store.stats({})->revision;
  std::atomic<int> wakes = 0;
  watch->notify([&] {
    ++wakes;
    wakes.notify_one();
  });
  storage::Revision next = 2;
  while (next <= head) {
    const int before = wakes;
    const auto batch = watch->take(100);
    ASSERT_TRUE(batch) << batch.error().message();
    for (const auto& event : batch->events) ASSERT_EQ(event.kv.modified, next++);
    if (batch->events.empty() && next <= head) wakes.wait(before);
  }
  watch->notify({});
}

TEST_F(EtcdTrouble, ARealEtcdWithTlsWantsTheRightCertificates) {
  std::string pattern = (std::filesystem::temp_directory_path() / "kubernel-etcd-XXXXXX").string();
  const std::filesystem::path directory = ::mkdtemp(pattern.data());
  const auto file = [&](const std::string& name, const std::string& text) {
    const std::string path = (directory / name).string();
    std::ofstream(path) << text;
    std::filesystem::permissions(path, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
    return path;
  };
  const auto pki = *crypto::open_cluster_pki(
      (directory / "pki").string(), {.dns_names = {"localhost"}, .ip_addresses = {"127.0.0.1"}}, clock.wall_now());
  const std::string ca = file("ca.crt", pki.ca.certificate_pem);
  const std::string crt = file("client.crt", pki.kubelet_client.certificate_pem);
  const std::string key = file("client.key", pki.kubelet_client.private_key_pem);
  const auto etcd = testing::EtcdProcess::start({"--cert-file=" + file("server.crt", pki.apiserver.certificate_pem),
                                                 "--key-file=" + file("server.key", pki.apiserver.private_key_pem),
                                                 "--client-cert-auth", "--trusted-ca-file=" + ca});
  const std::string trust = R"(,"requestTimeout":5,"caFile":")" + ca + '"';
  const auto store = open(etcd->url(), trust + R"(,"certFile":")" + crt + R"(","keyFile":")" + key + '"');
  ASSERT_TRUE(store);
  EXPECT_TRUE(store->put({}, "/a", "1", 0, 0)->applied);
  const auto nobody = try_open(etcd->url(), trust);
  ASSERT_FALSE(nobody);
  EXPECT_NE(nobody.error().message().find("client certificate"), std::string::npos) << nobody.error().message();
  const auto stranger = try_open(etcd->url(), R"(,"requestTimeout":5)");
  ASSERT_FALSE(stranger);
  EXPECT_NE(stranger.error().message().find("not one that caFile vouches for"), std::string::npos)
      << stranger.error().message();
  const auto plain = try_open("http" + etcd->url().substr(5), R"(,"requestTimeout":5)");
  ASSERT_FALSE(plain);
  EXPECT_NE(plain.error().message().find("if it speaks TLS, use https://"), std::string::npos)
      << plain.error().message();
  for (const auto& refused : {nobody.error(), stranger.error(), plain.error()}) {
    EXPECT_EQ(refused.message().find('\n'), std::string::npos);
  }
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace kubernel::storage_etcd
