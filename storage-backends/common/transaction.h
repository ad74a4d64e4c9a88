// SPDX-License-Identifier: Apache-2.0
//
// Evaluating a storage::Transaction over anything that can be read: what it answers, and what it changes.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/storage/backend.h>

namespace kubernel::storage_common {

/// What has become of one key since a store was read.
struct Change {
  std::shared_ptr<const storage::KeyValue> kv;        ///< Never null. Deleted: key and `modified` only.
  std::shared_ptr<const storage::KeyValue> previous;  ///< Null: the key did not exist.
  bool deleted = false;
};

/// The newest change of each key, in front of what is in a store. `previous` is what the store has.
using Changes = std::map<std::string, Change, std::less<>>;

/// A store as a transaction finds it. All calls see the same state.
class TransactionView {
 public:
  virtual ~TransactionView() = default;
  virtual storage::Revision revision() const = 0;
  /// Null: the key does not exist.
  virtual Result<std::shared_ptr<const storage::KeyValue>> current(std::string_view key) = 0;
  /// `options.at` may be an older revision.
  virtual Result<storage::Page> range(const storage::RangeOptions& options) = 0;
  /// Errors: NotFound.
  virtual Result<void> check_lease(storage::LeaseId id) = 0;
};

struct Evaluated {
  storage::TransactionResult result;
  std::vector<Change> changes;  ///< In order of the operations; a key is in it at most once. All have one revision.
};

/// Changes nothing itself. Errors: as storage::Backend::transact().
Result<Evaluated> evaluate(const storage::Transaction& transaction, TransactionView& view);

using ReadRange = std::function<Result<storage::Page>(const storage::RangeOptions&)>;

/// Reads a range of `store` as it is with `changes` in front. Precondition: options.at is 0.
Result<storage::Page> range_through(const Changes& changes, const ReadRange& store,
                                    const storage::RangeOptions& options);

/// The keys a transaction names one by one, whether or not they are looked at in the end; views into it.
void named_keys(const storage::Transaction& transaction, std::vector<std::string_view>& keys);

}  // namespace kubernel::storage_common
