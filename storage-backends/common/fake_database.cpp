// SPDX-License-Identifier: Apache-2.0
#include "fake_database.h"

#include <algorithm>

namespace kubernel::storage_common {

using storage::Event;
using storage::KeyValue;
using storage::LeaseId;
using storage::Page;
using storage::RangeOptions;
using storage::Revision;
using storage::WatchBatch;

std::shared_ptr<const KeyValue> FakeServer::as_of(std::string_view key, Revision at) const {
  const auto found = keys_.find(key);
  for (RowId id = found == keys_.end() ? 0 : found->second; id != 0;) {
    const auto row = log_.find(id);
    if (row == log_.end()) return nullptr;
    if (row->second.kv->modified <= at) return row->second.deleted ? nullptr : row->second.kv;
    id = row->second.previous;
  }
  return nullptr;
}

class FakeServer::Listening final : public Subscription {
 public:
  Listening(FakeServer& server, std::shared_ptr<Listener> listener) : server_(server), listener_(std::move(listener)) {}
  ~Listening() override {
    const std::lock_guard lock(server_.listeners_mutex_);
    std::erase(server_.listeners_, listener_);
  }

 private:
  FakeServer& server_;
  std::shared_ptr<Listener> listener_;
};

void FakeServer::tell(const void* writer) {
  if (cut_off) return;
  const std::lock_guard lock(listeners_mutex_);
  for (const auto& listener : listeners_) {
    if (listener->owner != writer) listener->changed();
  }
}

class FakeWriter final : public Writer {
 public:
  explicit FakeWriter(FakeServer& server) : server_(server) {}

  Result<Marks> begin() override {
    server_.row_lock_.lock();
    const std::lock_guard lock(server_.mutex_);
    marks_ = server_.marks_;
    work_.clear();
    return marks_;
  }

  std::vector<Result<std::optional<Row>>> newest(std::span<const std::string_view> keys) override {
    const std::lock_guard lock(server_.mutex_);
    std::vector<Result<std::optional<Row>>> out;
    for (const auto key : keys) out.emplace_back(server_.newest(key));
    return out;
  }

  Result<Page> range(const RangeOptions& options) override;

  Result<void> append(std::span<const Row> rows) override {
    for (const Row& row : rows) {
      marks_.head = row.kv->modified;
      work_.push_back([this, row] {
        server_.log_[row.id] = row;
        server_.keys_[row.kv->key] = row.id;
      });
    }
    return {};
  }

  Result<std::vector<std::string>> leased(LeaseId id) override {
    const std::lock_guard lock(server_.mutex_);
    std::vector<std::string> out;
    for (const auto& [key, newest] : server_.keys_) {
      const Row& row = server_.log_.at(newest);
      if (!row.deleted && row.kv->lease == id) out.push_back(key);
    }
    return out;
  }

  Result<std::optional<LeaseRecord>> find_lease(LeaseId id) override {
    const std::lock_guard lock(server_.mutex_);
    const auto found = server_.leases_.find(id);
    return found == server_.leases_.end() ? std::nullopt : std::optional(found->second);
  }

  Result<void> save_lease(const LeaseRecord& lease) override {
    work_.push_back([this, lease] { server_.leases_[lease.id] = lease; });
    return {};
  }

  Result<void> erase_lease(LeaseId id) override {
    work_.push_back([this, id] { server_.leases_.erase(id); });
    return {};
  }

  Result<void> set_compacted(Revision revision) override {
    marks_.compacted = revision;
    return {};
  }

  Result<void> sweep(Revision from, Revision to) override {
    marks_.swept = to;
    work_.push_back([this, from, to] {
      std::vector<RowId> doomed;
      for (const auto& [id, row] : server_.log_) {
        if (id >= row_id(from + 1) && id < row_id(to + 1) && row.previous != 0) doomed.push_back(row.previous);
        if (id >= row_id(from) && id < row_id(to) && row.deleted) {
          doomed.push_back(id);
          const auto key = server_.keys_.find(row.kv->key);
          if (key != server_.keys_.end() && key->second == id) server_.keys_.erase(key);
        }
      }
      for (const RowId id : doomed) server_.log_.erase(id);
    });
    return {};
  }

  Result<void> commit() override {
    {
      const std::lock_guard lock(server_.mutex_);
      for (const auto& step : work_) step();
      server_.marks_ = marks_;
    }
    server_.row_lock_.unlock();
    server_.tell(this);
    if (server_.break_next_commit.exchange(false)) {
      return Error(Reason::ServiceUnavailable, "fake: the connection broke");
    }
    return {};
  }

  void rollback() override { server_.row_lock_.unlock(); }

 private:
  FakeServer& server_;
  Marks marks_;
  std::vector<std::function<void()>> work_;  // Done by commit().
};

class FakeDatabase final : public Database {
 public:
  explicit FakeDatabase(FakeServer& server) : server_(server), writer_(server) {}

  Writer& writer() override { return writer_; }
  bool shared() const override { return true; }

  Result<Marks> marks() override {
    if (server_.cut_off) return Error(Reason::ServiceUnavailable, "fake: nobody answers");
    const std::lock_guard lock(server_.mutex_);
    return server_.marks_;
  }

  Result<std::vector<LeaseRecord>> leases() override {
    const std::lock_guard lock(server_.mutex_);
    std::vector<LeaseRecord> out;
    for (const auto& [id, lease] : server_.leases_) out.push_back(lease);
    return out;
  }

  Result<std::optional<KeyValue>> get(const CallContext&, std::string_view key, Revision at) override {
    const std::lock_guard lock(server_.mutex_);
    KUBERNEL_TRY(const Revision revision, readable(at));
    const auto kv = server_.as_of(key, revision);
    return kv ? std::optional(*kv) : std::nullopt;
  }

  Result<Page> range(const CallContext&, const RangeOptions& options) override {
    const std::lock_guard lock(server_.mutex_);
    Page page;
    KUBERNEL_TRY(page.revision, readable(options.at));
    for (const auto& [key, newest] : server_.keys_) {
      if (!KeyRange{options.start, options.end}.contains(key)) continue;
      const auto kv = server_.as_of(key, page.revision);
      if (!kv) continue;
      ++page.count;
      page.more = options.limit != 0 && page.items.size() == options.limit;
      if (page.more && !options.count) break;
      if (page.more) continue;
      page.items.push_back(*kv);
      if (options.keys_only) page.items.back().value.clear();
    }
    if (!options.count) page.count = 0;
    return page;
  }

  Result<std::int64_t> count(const CallContext& ctx, const KeyRange& range) override {
    KUBERNEL_TRY(const Page page, this->range(ctx, {.start = range.start, .end = range.end}));
    return static_cast<std::int64_t>(page.items.size());
  }

  Result<WatchBatch> changes(Revision from, Revision to, const KeyRange& range, std::size_t max_events) override {
    const std::lock_guard lock(server_.mutex_);
    KUBERNEL_CHECK_OK(readable(from));
    WatchBatch batch{.events = {}, .progress = to};
    for (auto at = server_.log_.lower_bound(row_id(from)); at != server_.log_.end() && at->first < row_id(to + 1);
         ++at) {
      const Row& row = at->second;
      if (!range.contains(row.kv->key)) continue;
      if (batch.events.size() >= max_events && batch.events.back().kv.modified != row.kv->modified) {
        batch.progress = batch.events.back().kv.modified;
        break;
      }
      Event event{row.deleted ? Event::Type::Delete : Event::Type::Put, *row.kv, std::nullopt};
      const auto previous = server_.log_.find(row.previous);
      if (previous != server_.log_.end() && !previous->second.deleted) event.previous = *previous->second.kv;
      batch.events.push_back(std::move(event));
    }
    return batch;
  }

  Result<std::int64_t> size_bytes() override {
    const std::lock_guard lock(server_.mutex_);
    std::int64_t bytes = 0;
    for (const auto& [id, row] : server_.log_) {
      bytes += static_cast<std::int64_t>(row.kv->key.size() + row.kv->value.size());
    }
    return bytes;
  }

  std::string stopped() const override { return {}; }

  std::unique_ptr<Subscription> on_foreign_write(std::function<void()> changed) override {
    if (!server_.tells_) return nullptr;
    const std::lock_guard lock(server_.listeners_mutex_);
    auto listener = std::make_shared<FakeServer::Listener>(FakeServer::Listener{&writer_, std::move(changed)});
    server_.listeners_.push_back(listener);
    return std::make_unique<FakeServer::Listening>(server_, std::move(listener));
  }

 private:
  // Precondition: the server's mutex is held.
  Result<Revision> readable(Revision at) const {
    if (at == 0) return server_.marks_.head;
    if (at > server_.marks_.head) return Error(Reason::BadRequest, "fake: in the future");
    if (at < server_.marks_.compacted) return Error(Reason::Expired, "fake: compacted");
    return at;
  }

  FakeServer& server_;
  FakeWriter writer_;
};

Result<Page> FakeWriter::range(const RangeOptions& options) {
  return FakeDatabase(server_).range(CallContext{}, options);
}

std::unique_ptr<Database> FakeServer::connect() {
  return std::make_unique<FakeDatabase>(*this);
}

}  // namespace kubernel::storage_common
