// SPDX-License-Identifier: Apache-2.0
//
// For tests: stores to copy between, and what fails on the way.

#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include <kubernel/testing/fake_clock.h>

#include "memory_backend.h"

namespace kubernel::storage_tool {

class InlineExecutor final : public Executor {
 public:
  Result<void> submit(std::function<void()> task) override {
    task();
    return {};
  }
};

struct TestSurroundings {
  testing::FakeClock clock;
  InlineExecutor blocking;
  testing::RecordingLogger log;
  testing::RecordingMetrics metrics;
  testing::NoPoller poller;

  storage::BackendContext context(std::string config = "{}") {
    return {std::move(config), log, metrics, clock, blocking, poller};
  }
  std::unique_ptr<storage::Backend> memory() {
    auto opened = storage_memory::open_memory(context());
    EXPECT_TRUE(opened);
    return *std::move(opened);
  }
};

// A store whose writes fail after so many; and that calls back when it is read.
class Unreliable final : public storage::Backend {
 public:
  explicit Unreliable(storage::Backend& store) : store_(store) {}

  int writes_left = 1'000'000;
  int writes = 0;
  std::function<void()> before_range = [] {};

  Result<storage::CasResult> put(const CallContext& ctx, std::string_view key, std::string_view value,
                                 storage::Revision expected, storage::LeaseId lease) override {
    KUBERNEL_CHECK_OK(count());
    return store_.put(ctx, key, value, expected, lease);
  }
  Result<storage::CasResult> remove(const CallContext& ctx, std::string_view key, storage::Revision expected) override {
    KUBERNEL_CHECK_OK(count());
    return store_.remove(ctx, key, expected);
  }
  Result<storage::TransactionResult> transact(const CallContext& ctx, const storage::Transaction& what) override {
    return store_.transact(ctx, what);
  }
  Result<std::optional<storage::KeyValue>> get(const CallContext& ctx, std::string_view key,
                                               storage::Revision at) override {
    return store_.get(ctx, key, at);
  }
  Result<storage::Page> range(const CallContext& ctx, const storage::RangeOptions& options) override {
    before_range();
    return store_.range(ctx, options);
  }
  Result<std::int64_t> count(const CallContext& ctx, std::string_view start, std::string_view end) override {
    return store_.count(ctx, start, end);
  }
  Result<std::unique_ptr<storage::Watch>> watch(const storage::WatchOptions& options) override {
    return store_.watch(options);
  }
  Result<void> compact(const CallContext& ctx, storage::Revision revision) override {
    return store_.compact(ctx, revision);
  }
  storage::Leases& leases() override { return store_.leases(); }
  Result<storage::Stats> stats(const CallContext& ctx) override { return store_.stats(ctx); }

 private:
  Result<void> count() {
    if (writes_left-- <= 0) return Error(Reason::ServiceUnavailable, "the server has gone");
    ++writes;
    return {};
  }

  storage::Backend& store_;
};

}  // namespace kubernel::storage_tool
