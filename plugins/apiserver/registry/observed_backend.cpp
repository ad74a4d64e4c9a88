// SPDX-License-Identifier: Apache-2.0
#include "registry/observed_backend.h"

#include <utility>

#include <kubernel/storage/batch_writer.h>

namespace kubernel::apiserver {

class ObservedBackend::Batching final : public ObservedBackend, public storage::BatchWriter {
 public:
  Batching(std::unique_ptr<storage::Backend> backend, storage::BatchWriter& writer)
      : ObservedBackend(std::move(backend)), writer_(writer) {}

  std::vector<Result<storage::TransactionResult>> transact_each(
      const CallContext& ctx, std::span<const storage::Transaction> transactions) override {
    auto results = writer_.transact_each(ctx, transactions);
    for (auto& result : results) result = noted(std::move(result));
    return results;
  }

 private:
  storage::BatchWriter& writer_;  // The backend.
};

std::unique_ptr<ObservedBackend> ObservedBackend::make(std::unique_ptr<storage::Backend> backend) {
  if (auto* writer = dynamic_cast<storage::BatchWriter*>(backend.get())) {
    return std::make_unique<Batching>(std::move(backend), *writer);
  }
  return std::unique_ptr<ObservedBackend>(new ObservedBackend(std::move(backend)));
}

std::string ObservedBackend::problem() const {
  const std::lock_guard lock(mutex_);
  return problem_;
}

// A call that was cancelled, came too late or met a damaged row says nothing about the store as a whole.
template <class T>
Result<T> ObservedBackend::noted(Result<T> result) {
  const std::lock_guard lock(mutex_);
  if (result) {
    problem_.clear();
  } else if (result.error().reason() == Reason::ServiceUnavailable) {
    problem_ = result.error().message();
  }
  return result;
}

Result<storage::CasResult> ObservedBackend::put(const CallContext& ctx, std::string_view key, std::string_view value,
                                                storage::Revision expected, storage::LeaseId lease) {
  return noted(backend_->put(ctx, key, value, expected, lease));
}

Result<storage::CasResult> ObservedBackend::remove(const CallContext& ctx, std::string_view key,
                                                   storage::Revision expected) {
  return noted(backend_->remove(ctx, key, expected));
}

Result<storage::TransactionResult> ObservedBackend::transact(const CallContext& ctx,
                                                             const storage::Transaction& transaction) {
  return noted(backend_->transact(ctx, transaction));
}

Result<std::optional<storage::KeyValue>> ObservedBackend::get(const CallContext& ctx, std::string_view key,
                                                              storage::Revision at) {
  return backend_->get(ctx, key, at);
}

Result<storage::Page> ObservedBackend::range(const CallContext& ctx, const storage::RangeOptions& options) {
  return backend_->range(ctx, options);
}

Result<std::int64_t> ObservedBackend::count(const CallContext& ctx, std::string_view start, std::string_view end) {
  return backend_->count(ctx, start, end);
}

Result<std::unique_ptr<storage::Watch>> ObservedBackend::watch(const storage::WatchOptions& options) {
  return backend_->watch(options);
}

Result<void> ObservedBackend::compact(const CallContext& ctx, storage::Revision revision) {
  return backend_->compact(ctx, revision);
}

storage::Leases& ObservedBackend::leases() {
  return backend_->leases();
}

Result<storage::Stats> ObservedBackend::stats(const CallContext& ctx) {
  return backend_->stats(ctx);
}

}  // namespace kubernel::apiserver
