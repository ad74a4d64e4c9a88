// SPDX-License-Identifier: Apache-2.0
//
// ObservedBackend: a storage backend that remembers whether it takes writes, for /readyz.

#pragma once

#include <memory>
#include <mutex>
#include <string>

#include <kubernel/storage/backend.h>

namespace kubernel::apiserver {

// Threads: all members may be called concurrently.
class ObservedBackend : public storage::Backend {
 public:
  // Takes many writes at once, too, if `backend` does.
  static std::unique_ptr<ObservedBackend> make(std::unique_ptr<storage::Backend> backend);

  // Why the store took no write when it was last asked to; empty when it took one, or decided a lost race.
  std::string problem() const;

  Result<storage::CasResult> put(const CallContext& ctx, std::string_view key, std::string_view value,
                                 storage::Revision expected, storage::LeaseId lease) override;
  Result<storage::CasResult> remove(const CallContext& ctx, std::string_view key, storage::Revision expected) override;
  Result<storage::TransactionResult> transact(const CallContext& ctx, const storage::Transaction& transaction) override;
  Result<std::optional<storage::KeyValue>> get(const CallContext& ctx, std::string_view key,
                                               storage::Revision at) override;
  Result<storage::Page> range(const CallContext& ctx, const storage::RangeOptions& options) override;
  Result<std::int64_t> count(const CallContext& ctx, std::string_view start, std::string_view end) override;
  Result<std::unique_ptr<storage::Watch>> watch(const storage::WatchOptions& options) override;
  Result<void> compact(const CallContext& ctx, storage::Revision revision) override;
  storage::Leases& leases() override;
  Result<storage::Stats> stats(const CallContext& ctx) override;

 protected:
  explicit ObservedBackend(std::unique_ptr<storage::Backend> backend) : backend_(std::move(backend)) {}
  template <class T>
  Result<T> noted(Result<T> result);

 private:
  class Batching;

  const std::unique_ptr<storage::Backend> backend_;
  mutable std::mutex mutex_;
  std::string problem_;
};

}  // namespace kubernel::apiserver
