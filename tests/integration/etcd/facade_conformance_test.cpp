// SPDX-License-Identifier: Apache-2.0
//
// What every storage backend must pass, through storage-etcd and etcd-server to a store of ours: the protocol loses
// nothing of the store's meaning in either direction.

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>

#include <kubernel/testing/storage_conformance.h>

#include "etcd_backend.h"
#include "facade.h"
#include "memory_backend.h"
#include "sqlite_backend.h"

namespace kubernel::storage_etcd {
namespace {

// The store lives as long as the instance; what is opened and closed is the client.
class FacadeInstance : public testing::StorageInstance {
 public:
  Result<std::unique_ptr<storage::Backend>> open(storage::BackendContext context) override {
    if (!store_) {
      KUBERNEL_TRY(store_, open_store(context));
      facade_ = std::make_unique<testing::Facade>(*store_, context.clock);
    }
    context.config_json = R"({"endpoints":[")" + facade_->url() + R"("]})";
    return open_etcd(context);
  }
  testing::StorageTraits traits() const override { return {.asynchronous = true}; }
  // Leases go by the suite's clock; only what is on its way over the connection needs real time.
  void pass(std::chrono::milliseconds time) override {
    const auto short_time = std::min(time, std::chrono::milliseconds(10));
    std::this_thread::sleep_for(short_time);  // lint: allow(sleep) a network is waited for
  }

 protected:
  virtual Result<std::unique_ptr<storage::Backend>> open_store(storage::BackendContext context) = 0;

 private:
  std::unique_ptr<storage::Backend> store_;
  std::unique_ptr<testing::Facade> facade_;
};

class OverMemory final : public FacadeInstance {
  Result<std::unique_ptr<storage::Backend>> open_store(storage::BackendContext context) override {
    return storage_memory::open_memory(context);
  }
};

class OverSqlite final : public FacadeInstance {
 public:
  OverSqlite() {
    std::string pattern = (std::filesystem::temp_directory_path() / "kubernel-facade-XXXXXX").string();
    directory_ = ::mkdtemp(pattern.data());
  }
  ~OverSqlite() override { std::filesystem::remove_all(directory_); }

 private:
  Result<std::unique_ptr<storage::Backend>> open_store(storage::BackendContext context) override {
    context.config_json = R"({"path":")" + (directory_ / "store.db").string() + R"(","synchronous":"normal"})";
    return storage_sqlite::open_sqlite(context);
  }
  std::filesystem::path directory_;
};

}  // namespace
}  // namespace kubernel::storage_etcd

using kubernel::storage_etcd::OverMemory;
using kubernel::storage_etcd::OverSqlite;
KUBERNEL_STORAGE_CONFORMANCE(FacadeOverMemory, [] { return std::make_unique<OverMemory>(); });
KUBERNEL_STORAGE_DURABILITY(FacadeOverMemory, [] { return std::make_unique<OverMemory>(); });
KUBERNEL_STORAGE_SHARED(FacadeOverMemory, [] { return std::make_unique<OverMemory>(); });
KUBERNEL_STORAGE_CONFORMANCE(FacadeOverSqlite, [] { return std::make_unique<OverSqlite>(); });
KUBERNEL_STORAGE_SHARED(FacadeOverSqlite, [] { return std::make_unique<OverSqlite>(); });
