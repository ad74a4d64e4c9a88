// SPDX-License-Identifier: Apache-2.0
//
// Our values as etcd's messages, and back.

#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <kubernel/storage/backend.h>
#include <kubernel/storage/key_range.h>
#include <kubernel/storage/transaction.h>

#include "rpc.pb.h"

namespace kubernel::storage_etcd {

/// Where our keys are in etcd's key space: behind a prefix, which may be empty.
class Keys {
 public:
  explicit Keys(std::string prefix) : prefix_(std::move(prefix)) {}

  std::string to_etcd(std::string_view key) const { return prefix_ + std::string(key); }
  /// Absent when the key is somebody else's.
  std::optional<std::string_view> from_etcd(std::string_view key) const;

  /// The range as etcd's `key` and `range_end`.
  struct Bounds {
    std::string key, range_end;
  };
  Bounds bounds(const storage::KeyRange& range) const;

 private:
  const std::string prefix_;
};

storage::KeyValue from_wire(const Keys& keys, mvccpb::KeyValue&& kv);
/// Absent when it is about somebody else's key.
std::optional<storage::Event> from_wire(const Keys& keys, mvccpb::Event&& event);

etcdserverpb::RangeRequest to_wire(const Keys& keys, const storage::RangeOptions& options);
/// `at`: the revision the items were read at.
storage::Page from_wire(const Keys& keys, etcdserverpb::RangeResponse&& response, storage::Revision at);

etcdserverpb::TxnRequest to_wire(const Keys& keys, const storage::Transaction& transaction);
storage::TransactionResult from_wire(const Keys& keys, const storage::Transaction& transaction,
                                     etcdserverpb::TxnResponse&& response, storage::Revision revision);

/// A watch of the whole key space, others' keys too, from `revision` on.
etcdserverpb::WatchRequest watch_everything(storage::Revision from);

}  // namespace kubernel::storage_etcd
