// SPDX-License-Identifier: Apache-2.0
//
// storage-etcd against Debian's etcd.

#include "etcd_process.h"

#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <kubernel/testing/storage_conformance.h>

#include "core/base/log_sink.h"
#include "core/base/system_clock.h"
#include "core/base/thread_pool.h"
#include "etcd_backend.h"
#include "rpc.grpc.pb.h"

namespace kubernel::storage_etcd {
namespace {

using testing::EtcdProcess;

std::string config_for(const std::string& url, const std::string& more = "") {
  return R"({"endpoints":[")" + url + R"("])" + more + "}";
}

// etcd's clock is the machine's, and its lease's keys go up to half a second late.
class EtcdInstance final : public testing::StorageInstance {
 public:
  explicit EtcdInstance(std::string prefix = "") : prefix_(std::move(prefix)), etcd_(EtcdProcess::start()) {}

  Result<std::unique_ptr<storage::Backend>> open(storage::BackendContext context) override {
    context.config_json = config_for(etcd_->url(), R"(,"keyPrefix":")" + prefix_ + '"');
    return open_etcd(context);
  }
  testing::StorageTraits traits() const override {
    return {.asynchronous = true, .lease_ttl = std::chrono::seconds(1)};
  }
  void pass(std::chrono::milliseconds time) override {
    std::this_thread::sleep_for(time);  // lint: allow(sleep) etcd's time cannot be moved on
  }
  const Clock& lease_clock(const Clock&) const override { return clock_; }

 private:
  const core::SystemClock clock_;
  const std::string prefix_;
  std::unique_ptr<EtcdProcess> etcd_;
};

std::unique_ptr<testing::StorageInstance> make_instance() {
  if (!testing::have_etcd()) return nullptr;
  return std::make_unique<EtcdInstance>();
}

}  // namespace
}  // namespace kubernel::storage_etcd

KUBERNEL_STORAGE_CONFORMANCE(Etcd, kubernel::storage_etcd::make_instance);
KUBERNEL_STORAGE_DURABILITY(Etcd, kubernel::storage_etcd::make_instance);
KUBERNEL_STORAGE_SHARED(Etcd, kubernel::storage_etcd::make_instance);
