// SPDX-License-Identifier: Apache-2.0
#include "etcd_backend.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "callbacks.h"
#include "cluster.h"
#include "feed.h"
#include "feeder.h"
#include "wire.h"

namespace kubernel::storage_etcd {
namespace {

using storage::CasResult;
using storage::KeyRange;
using storage::KeyValue;
using storage::LeaseId;
using storage::LeaseState;
using storage::Page;
using storage::RangeOptions;
using storage::Revision;
using storage::Stats;

// How much recent history is held for watches that are a little behind.
constexpr std::size_t kRecentBytes = 8U << 20U;
// The most items of one response; a longer range is read in pages of one revision.
constexpr std::size_t kPage = 10'000;

class EtcdLeases final : public storage::Leases {
 public:
  EtcdLeases(Cluster& cluster, const Keys& keys, Feed& feed) : cluster_(cluster), keys_(keys), feed_(feed) {}

  Result<LeaseId> grant(const CallContext& ctx, LeaseId id, std::chrono::seconds ttl) override {
    etcdserverpb::LeaseGrantRequest request;
    request.set_id(id);
    request.set_ttl(ttl.count());
    etcdserverpb::LeaseGrantResponse response;
    KUBERNEL_CHECK_OK(cluster_.call(ctx, id == 0, [&](Member& member, grpc::ClientContext& call) {
      return member.lease->LeaseGrant(&call, request, &response);
    }));
    return response.id();
  }

  Result<std::chrono::seconds> renew(const CallContext& ctx, LeaseId id) override {
    etcdserverpb::LeaseKeepAliveResponse response;
    KUBERNEL_CHECK_OK(cluster_.call(ctx, true, [&](Member& member, grpc::ClientContext& call) {
      const auto stream = member.lease->LeaseKeepAlive(&call);
      etcdserverpb::LeaseKeepAliveRequest request;
      request.set_id(id);
      const bool answered = stream->Write(request) && stream->Read(&response);
      stream->WritesDone();
      if (answered) call.TryCancel();  // One answer is all there is to wait for.
      const grpc::Status status = stream->Finish();
      return answered ? grpc::Status::OK : status;
    }));
    if (response.ttl() <= 0) return no_lease(id);
    return std::chrono::seconds(response.ttl());
  }

  Result<void> revoke(const CallContext& ctx, LeaseId id) override {
    etcdserverpb::LeaseRevokeRequest request;
    request.set_id(id);
    etcdserverpb::LeaseRevokeResponse response;
    KUBERNEL_CHECK_OK(cluster_.call(ctx, false, [&](Member& member, grpc::ClientContext& call) {
      return member.lease->LeaseRevoke(&call, request, &response);
    }));
    feed_.wait_for(response.header().revision());
    return {};
  }

  Result<LeaseState> find(const CallContext& ctx, LeaseId id, bool with_keys) override {
    etcdserverpb::LeaseTimeToLiveRequest request;
    request.set_id(id);
    request.set_keys(with_keys);
    etcdserverpb::LeaseTimeToLiveResponse response;
    KUBERNEL_CHECK_OK(cluster_.call(ctx, true, [&](Member& member, grpc::ClientContext& call) {
      return member.lease->LeaseTimeToLive(&call, request, &response);
    }));
    if (response.ttl() < 0) return no_lease(id);
    LeaseState out{.id = id,
                   .ttl = std::chrono::seconds(response.grantedttl()),
                   .remaining = std::chrono::seconds(response.ttl()),
                   .keys = {}};
    for (const std::string& key : response.keys()) {
      if (const auto ours = keys_.from_etcd(key)) out.keys.emplace_back(*ours);
    }
    std::sort(out.keys.begin(), out.keys.end());
    return out;
  }

  Result<std::vector<LeaseId>> list(const CallContext& ctx) override {
    etcdserverpb::LeaseLeasesResponse response;
    KUBERNEL_CHECK_OK(cluster_.call(ctx, true, [&](Member& member, grpc::ClientContext& call) {
      return member.lease->LeaseLeases(&call, {}, &response);
    }));
    std::vector<LeaseId> out;
    for (const auto& lease : response.leases()) out.push_back(lease.id());
    std::sort(out.begin(), out.end());
    return out;
  }

 private:
  static Error no_lease(LeaseId id) { return {Reason::NotFound, "lease " + std::to_string(id) + " does not exist"}; }

  Cluster& cluster_;
  const Keys& keys_;
  Feed& feed_;
};

class EtcdBackend final : public storage::Backend {
 public:
  EtcdBackend(const storage::BackendContext& context, std::unique_ptr<Cluster> cluster, Revision head)
      : cluster_(std::move(cluster)),
        keys_(cluster_->config().key_prefix),
        feed_(head, kRecentBytes,
              [this](Revision from, Revision to, const KeyRange& range, std::size_t enough) {
                return history(from, to, range, enough);
              }),
        leases_(*cluster_, keys_, feed_),
        feeder_(FeederContext{*cluster_, keys_, feed_, context.clock, context.blocking, context.log, context.metrics}) {
    feed_.wait_until_live();
  }

  Result<CasResult> put(const CallContext& ctx, std::string_view key, std::string_view value, Revision expected,
                        LeaseId lease) override {
    auto request = compare_and(key, expected);
    auto& put = *request.add_success()->mutable_request_put();
    put.set_key(keys_.to_etcd(key));
    put.set_value(value.data(), value.size());
    put.set_lease(lease);
    KUBERNEL_TRY(auto response, write(ctx, request));
    CasResult out{.applied = response.succeeded(), .revision = response.header().revision(), .current = {}};
    if (!out.applied) out.current = winner(response);
    return out;
  }

  Result<CasResult> remove(const CallContext& ctx, std::string_view key, Revision expected) override {
    auto request = compare_and(key, expected);
    if (expected != 0) {
      auto& remove = *request.add_success()->mutable_request_delete_range();
      remove.set_key(keys_.to_etcd(key));
      remove.set_prev_kv(true);
    }
    KUBERNEL_TRY(auto response, write(ctx, request));
    CasResult out{.applied = false, .revision = response.header().revision(), .current = {}};
    if (!response.succeeded()) {
      out.current = winner(response);
    } else if (expected != 0) {
      auto& removed = *response.mutable_responses(0)->mutable_response_delete_range();
      out.applied = true;
      if (removed.prev_kvs_size() != 0) out.current = from_wire(keys_, std::move(*removed.mutable_prev_kvs(0)));
    }
    return out;
  }

  Result<storage::TransactionResult> transact(const CallContext& ctx,
                                              const storage::Transaction& transaction) override {
    KUBERNEL_TRY(auto response, write(ctx, to_wire(keys_, transaction)));
    const Revision revision = response.header().revision();
    return from_wire(keys_, transaction, std::move(response), revision);
  }

  Result<std::optional<KeyValue>> get(const CallContext& ctx, std::string_view key, Revision at) override {
    const KeyRange only = KeyRange::only(key);
    KUBERNEL_TRY(auto page, read(ctx, {.start = only.start, .end = only.end, .at = at}));
    if (page.items.empty()) return std::optional<KeyValue>();
    return std::optional(std::move(page.items.front()));
  }

  Result<Page> range(const CallContext& ctx, const RangeOptions& options) override {
    const bool empty = !options.end.empty() && options.end <= options.start;
    RangeOptions next = options;
    next.limit = options.limit == 0 ? kPage : std::min(options.limit, kPage);
    KUBERNEL_TRY(Page out, read(ctx, next));
    if (empty) return Page{.items = {}, .revision = out.revision, .more = false, .count = 0};
    while (out.more && (options.limit == 0 || out.items.size() < options.limit)) {
      next.start = out.items.back().key + '\0';
      next.at = out.revision;
      if (options.limit != 0) next.limit = std::min(options.limit - out.items.size(), kPage);
      KUBERNEL_TRY(Page more, read(ctx, next));
      std::move(more.items.begin(), more.items.end(), std::back_inserter(out.items));
      out.more = more.more;
    }
    return out;
  }

  Result<std::int64_t> count(const CallContext& ctx, std::string_view start, std::string_view end) override {
    if (!end.empty() && end <= start) {
      KUBERNEL_CHECK_OK(cluster_->check(ctx));
      return 0;
    }
    KUBERNEL_TRY(const auto counted, counted_now(ctx, {std::string(start), std::string(end)}));
    return counted.count();
  }

  Result<std::unique_ptr<storage::Watch>> watch(const storage::WatchOptions& options) override {
    storage::WatchOptions wanted = options;
    if (wanted.from == 0) {
      // "Now" is etcd's, which may be ahead of what the feed has seen of other processes' writes.
      KUBERNEL_TRY(const Page nothing, read({}, {.start = "\x01", .end = "\x02", .limit = 1, .keys_only = true}));
      wanted.from = nothing.revision + 1;
    }
    return feed_.watch(wanted);
  }

  Result<void> compact(const CallContext& ctx, Revision revision) override {
    KUBERNEL_CHECK_OK(cluster_->check(ctx));
    if (revision <= 0 || revision == feed_.compacted()) return {};
    etcdserverpb::CompactionRequest request;
    request.set_revision(revision);
    etcdserverpb::CompactionResponse response;
    auto done = cluster_->call(ctx, true, [&](Member& member, grpc::ClientContext& call) {
      return member.kv->Compact(&call, request, &response);
    });
    if (done) {
      feed_.set_compacted(revision);
      return {};
    }
    if (done.error().reason() != Reason::Expired) return done;
    // etcd refuses the same revision a second time, too; for us that is done already.
    KUBERNEL_CHECK_OK(learn_compacted(ctx));
    if (feed_.compacted() <= revision) return {};
    return done;
  }

  storage::Leases& leases() override { return leases_; }

  Result<Stats> stats(const CallContext& ctx) override {
    KUBERNEL_CHECK_OK(learn_compacted(ctx));
    KUBERNEL_TRY(const auto counted, counted_now(ctx, {}));
    etcdserverpb::StatusResponse status;
    KUBERNEL_CHECK_OK(cluster_->call(ctx, true, [&](Member& member, grpc::ClientContext& call) {
      return member.maintenance->Status(&call, {}, &status);
    }));
    Stats out{.revision = counted.header().revision(),
              .compacted = feed_.compacted(),
              .keys = counted.count(),
              .size_bytes = status.dbsize(),
              .stopped = {}};
    for (const std::string& error : status.errors()) {
      if (error.find("NOSPACE") != std::string::npos || error.find("CORRUPT") != std::string::npos) {
        out.stopped = "etcd takes no writes: " + error;
      }
    }
    return out;
  }

  // Asks etcd for what it no longer tells directly: the revision its history begins at.
  Result<void> learn_compacted(const CallContext& ctx) {
    const Revision known = feed_.compacted();
    const auto probe =
        read(ctx, {.start = "\x01", .end = "\x02", .limit = 1, .at = std::max<Revision>(known, 1), .keys_only = true});
    if (probe) return {};
    if (probe.error().reason() != Reason::Expired) return probe.error();
    Revision found = 0;
    KUBERNEL_CHECK_OK(cluster_->call(ctx, true, [&](Member& member, grpc::ClientContext& call) {
      const auto stream = member.watch->Watch(&call);
      stream->Write(watch_everything(std::max<Revision>(known, 1)));
      etcdserverpb::WatchResponse response;
      while (found == 0 && stream->Read(&response)) found = response.compact_revision();
      call.TryCancel();
      const grpc::Status status = stream->Finish();
      return found != 0 ? grpc::Status::OK : status;
    }));
    feed_.set_compacted(found);
    return {};
  }

 private:
  // Reads the key unless its last modification is `expected`. A key that does not exist is at 0.
  etcdserverpb::TxnRequest compare_and(std::string_view key, Revision expected) const {
    etcdserverpb::TxnRequest request;
    auto& compare = *request.add_compare();
    compare.set_key(keys_.to_etcd(key));
    compare.set_target(etcdserverpb::Compare::MOD);
    compare.set_result(etcdserverpb::Compare::EQUAL);
    compare.set_mod_revision(expected);
    request.add_failure()->mutable_request_range()->set_key(keys_.to_etcd(key));
    return request;
  }

  std::optional<KeyValue> winner(etcdserverpb::TxnResponse& response) const {
    auto& range = *response.mutable_responses(0)->mutable_response_range();
    if (range.kvs_size() == 0) return std::nullopt;
    return from_wire(keys_, std::move(*range.mutable_kvs(0)));
  }

  Result<etcdserverpb::TxnResponse> write(const CallContext& ctx, const etcdserverpb::TxnRequest& request) {
    etcdserverpb::TxnResponse response;
    KUBERNEL_CHECK_OK(cluster_->call(ctx, false, [&](Member& member, grpc::ClientContext& call) {
      return member.kv->Txn(&call, request, &response);
    }));
    feed_.wait_for(response.header().revision());
    return response;
  }

  // One response, as of one revision.
  Result<Page> read(const CallContext& ctx, const RangeOptions& options) {
    const auto request = to_wire(keys_, options);
    etcdserverpb::RangeResponse response;
    KUBERNEL_CHECK_OK(cluster_->call(ctx, true, [&](Member& member, grpc::ClientContext& call) {
      return member.kv->Range(&call, request, &response);
    }));
    const Revision at = options.at != 0 ? options.at : response.header().revision();
    return from_wire(keys_, std::move(response), at);
  }

  Result<etcdserverpb::RangeResponse> counted_now(const CallContext& ctx, const KeyRange& range) {
    auto request = to_wire(keys_, RangeOptions{.start = range.start, .end = range.end});
    request.set_count_only(true);
    etcdserverpb::RangeResponse response;
    KUBERNEL_CHECK_OK(cluster_->call(ctx, true, [&](Member& member, grpc::ClientContext& call) {
      return member.kv->Range(&call, request, &response);
    }));
    return response;
  }

  // Every revision has events, so reading ends at `to` — but for a compacted one, whose deletions etcd may have
  // forgotten.
  Result<storage::WatchBatch> history(Revision from, Revision to, const KeyRange& range, std::size_t enough) {
    if (to != feed_.compacted()) return read_history(*cluster_, keys_, from, to, range, enough);
    KUBERNEL_TRY(Page page, read({}, {.start = range.start, .end = range.end, .at = to}));
    storage::WatchBatch batch{.events = {}, .progress = to};
    for (KeyValue& item : page.items) {
      if (item.modified == to) batch.events.push_back({.kv = std::move(item), .previous = {}});
    }
    return batch;
  }

  const std::unique_ptr<Cluster> cluster_;
  const Keys keys_;
  Feed feed_;
  EtcdLeases leases_;
  Feeder feeder_;  // Last: it uses all of the above until it is destroyed.
};

}  // namespace

Result<std::unique_ptr<storage::Backend>> open_etcd(const storage::BackendContext& context) {
  etcd_api::silence_log();
  etcd_api::trust_lock_order();
  etcd_api::keep_callback_threads();
  KUBERNEL_TRY(Config config, read_config(context.config_json));
  KUBERNEL_TRY(auto cluster, Cluster::make(std::move(config), context.clock));
  KUBERNEL_CHECK_OK(cluster->log_in({}));
  // A read every member agrees on: without a quorum, or the right to read, the store cannot be used.
  etcdserverpb::RangeRequest request;
  request.set_key(std::string(1, '\0'));
  request.set_range_end(std::string(1, '\0'));
  request.set_limit(1);
  request.set_keys_only(true);
  etcdserverpb::RangeResponse response;
  KUBERNEL_CHECK_OK(cluster->call({}, true, [&](Member& member, grpc::ClientContext& call) {
    return member.kv->Range(&call, request, &response);
  }));
  auto backend = std::make_unique<EtcdBackend>(context, std::move(cluster), response.header().revision());
  KUBERNEL_CHECK_OK(backend->learn_compacted({}));
  return std::unique_ptr<storage::Backend>(std::move(backend));
}

}  // namespace kubernel::storage_etcd
