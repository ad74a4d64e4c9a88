// SPDX-License-Identifier: Apache-2.0
#include "snapshot.h"

#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <openssl/evp.h>

#include "bolt_file.h"
#include "wire.h"

namespace kubernel::etcd_server {

using storage::Revision;

namespace {

constexpr std::size_t kPage = 1000;
constexpr std::size_t kPieceBytes = 256 * 1024;
constexpr std::size_t kMostUnsentBytes = 4 * kPieceBytes;

std::string big_endian(std::uint64_t number) {
  std::string out;
  for (int shift = 56; shift >= 0; shift -= 8)
    out.push_back(static_cast<char>((number >> static_cast<unsigned>(shift)) & 0xff));
  return out;
}

// etcd's name of a record: the revision and the place within it.
std::string record_key(Revision revision, std::uint64_t place) {
  return big_endian(static_cast<std::uint64_t>(revision)) + "_" + big_endian(place);
}

std::string record_of(storage::KeyValue&& kv) {
  mvccpb::KeyValue out;
  fill(out, std::move(kv));
  return out.SerializeAsString();
}

struct Record {
  Revision modified = 0;
  std::string key;
  std::size_t size = 0;
};

// All keys as of one revision, ascending by when they were changed.
Result<std::vector<Record>> records(storage::Backend& store, const CallContext& ctx, Revision& at) {
  std::vector<Record> out;
  storage::RangeOptions options{.limit = kPage};
  for (;;) {
    KUBERNEL_TRY(auto page, store.range(ctx, options));
    options.at = at = page.revision;
    if (page.more) options.start = page.items.back().key + '\0';
    for (auto& kv : page.items) {
      Record record{.modified = kv.modified, .key = kv.key, .size = 0};
      record.size = record_of(std::move(kv)).size();
      out.push_back(std::move(record));
    }
    if (!page.more) break;
  }
  std::stable_sort(out.begin(), out.end(), [](const Record& a, const Record& b) { return a.modified < b.modified; });
  return out;
}

// A bucket whose values are known beforehand.
BoltBucket fixed(std::string name, std::vector<std::pair<std::string, std::string>> entries) {
  BoltBucket out{.name = std::move(name), .items = {}, .value = {}};
  std::sort(entries.begin(), entries.end());
  for (const auto& [key, value] : entries) out.items.push_back({key, value.size()});
  out.value = [entries = std::move(entries)](std::size_t i) -> Result<std::string> { return entries[i].second; };
  return out;
}

std::string varint(std::uint64_t number) {
  std::string out;
  for (; number >= 0x80; number >>= 7U) out.push_back(static_cast<char>((number & 0x7f) | 0x80));
  out.push_back(static_cast<char>(number));
  return out;
}

// leasepb.Lease: ID = 1, TTL = 2.
Result<BoltBucket> leases(storage::Backend& store, const CallContext& ctx) {
  std::vector<std::pair<std::string, std::string>> entries;
  KUBERNEL_TRY(const auto ids, store.leases().list(ctx));
  for (const storage::LeaseId id : ids) {
    const auto found = store.leases().find(ctx, id, false);
    if (!found) continue;  // It has ended meanwhile, and its keys are no part of what follows.
    const auto number = static_cast<std::uint64_t>(id);
    entries.emplace_back(big_endian(number),
                         "\x08" + varint(number) + "\x10" + varint(static_cast<std::uint64_t>(found->ttl.count())));
  }
  return fixed("lease", std::move(entries));
}

BoltBucket keys(storage::Backend& store, const CallContext& ctx, std::vector<Record> all, Revision at) {
  BoltBucket out{.name = "key", .items = {}, .value = {}};
  Revision last = 0;
  std::uint64_t place = 0;
  for (const Record& record : all) {
    place = record.modified == last ? place + 1 : 0;
    last = record.modified;
    out.items.push_back({record_key(record.modified, place), record.size});
  }
  out.value = [&store, &ctx, all = std::move(all), at](std::size_t i) -> Result<std::string> {
    KUBERNEL_TRY(auto kv, store.get(ctx, all[i].key, at));
    if (!kv) return Error(Reason::Internal, "snapshot: a key of the past is gone");
    return record_of(*std::move(kv));
  };
  return out;
}

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) { EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr); }
  void add(std::string_view bytes) { EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()); }
  std::string take() {
    std::string out(EVP_MAX_MD_SIZE, '\0');
    unsigned int size = 0;
    EVP_DigestFinal_ex(context_.get(), reinterpret_cast<unsigned char*>(out.data()), &size);
    out.resize(size);
    return out;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

// Produces on a thread that may block, which waits for the client to take what it was sent.
class SnapshotStream final : public Stream, public std::enable_shared_from_this<SnapshotStream> {
 public:
  SnapshotStream(ServiceContext& context, Call call) : context_(context), call_(std::move(call)) {}
  ~SnapshotStream() override { context_.over(); }

  void begin() {
    context_.opened(shared_from_this());
    call_->on_drained([weak = weak_from_this()] {
      if (const auto stream = weak.lock()) stream->wake();
    });
    auto queued = context_.blocking.submit([self = shared_from_this()] { self->run(); });
    if (!queued) context_.refuse(*call_, "Snapshot", ServiceContext::too_many());
  }

  void close() override { stop_.request_stop(); }

 private:
  void wake() {
    const std::lock_guard lock(mutex_);
    changed_.notify_all();
  }

  void run() {
    const std::stop_callback with_client(call_->context().stop, [this] { stop_.request_stop(); });
    const std::stop_callback at_stop(stop_.get_token(), [this] { wake(); });
    auto done = write_snapshot(context_.store, {.stop = stop_.get_token()},
                               [this](std::string_view piece, std::uint64_t left) { return write(piece, left); });
    context_.refuse(*call_, "Snapshot", done ? GrpcStatus() : status_of(done.error()));
  }

  Result<void> write(std::string_view piece, std::uint64_t remaining) {
    etcdserverpb::SnapshotResponse response;
    response.set_blob(std::string(piece));
    response.set_remaining_bytes(remaining);
    const bool sent = call_->send(response.SerializeAsString());
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return stop_.stop_requested() || call_->backlog() < kMostUnsentBytes; });
    if (!sent || stop_.stop_requested()) return Error(Reason::Cancelled, "the client has gone");
    return {};
  }

  ServiceContext& context_;
  const Call call_;
  std::stop_source stop_;
  std::mutex mutex_;
  std::condition_variable changed_;
};

}  // namespace

Result<void> write_snapshot(storage::Backend& store, const CallContext& ctx,
                            const std::function<Result<void>(std::string_view, std::uint64_t)>& sink) {
  Revision at = 0;
  KUBERNEL_TRY(BoltBucket lease_bucket, leases(store, ctx));
  KUBERNEL_TRY(auto all, records(store, ctx, at));
  const std::string here = record_key(at, 0);
  std::vector<BoltBucket> buckets;
  for (const char* empty : {"alarm", "auth", "authRoles", "authUsers", "cluster"}) buckets.push_back(fixed(empty, {}));
  buckets.push_back(keys(store, ctx, std::move(all), at));
  buckets.push_back(std::move(lease_bucket));
  buckets.push_back(fixed("members", {}));
  buckets.push_back(fixed("members_removed", {}));
  // Only the present is in the file: to etcd that is a store compacted at its revision.
  buckets.push_back(fixed("meta", {{"consistent_index", big_endian(static_cast<std::uint64_t>(at))},
                                   {"finishedCompactRev", here},
                                   {"scheduledCompactRev", here}}));
  const BoltFile file(std::move(buckets));

  constexpr std::uint64_t kDigestBytes = 32;
  std::uint64_t remaining = file.size_bytes() + kDigestBytes;
  Sha256 digest;
  std::string piece;
  const auto flush = [&]() -> Result<void> {
    remaining -= piece.size();
    digest.add(piece);
    KUBERNEL_CHECK_OK(sink(piece, remaining));
    piece.clear();
    return {};
  };
  KUBERNEL_CHECK_OK(file.write([&](std::string_view bytes) -> Result<void> {
    piece.append(bytes);
    if (piece.size() < kPieceBytes) return {};
    return flush();
  }));
  if (!piece.empty()) KUBERNEL_CHECK_OK(flush());
  return sink(digest.take(), 0);
}

void stream_snapshot(ServiceContext& context, Call call) {
  std::make_shared<SnapshotStream>(context, std::move(call))->begin();
}

}  // namespace kubernel::etcd_server
