// SPDX-License-Identifier: Apache-2.0
//
// Transaction: several conditions, and what is done when they hold or do not, as one write (etcd's Txn).
//
// A single key is a range with nothing else in it: KeyRange::only(key).

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <kubernel/storage/key_range.h>
#include <kubernel/storage/types.h>

namespace kubernel::storage {

/// One condition, on every key that exists in a range. A range without a key is compared as a key whose numbers
/// are all 0; a comparison of its value does not hold, whatever the relation.
struct Compare {
  enum class Target : std::uint8_t { Version, Created, Modified, Lease, Value };
  enum class Relation : std::uint8_t { Equal, NotEqual, Less, Greater };  ///< What the key has, to what is given here.
  Target target = Target::Modified;
  Relation relation = Relation::Equal;
  KeyRange keys;
  std::int64_t number = 0;  ///< For all targets but Value.
  std::string value;        ///< For Value. Compared bytewise.
};

/// Writes a key, whatever it is at.
struct PutOperation {
  std::string key;
  std::string value;
  LeaseId lease = 0;
  bool keep_value = false;     ///< Only the lease changes; the key must exist.
  bool keep_lease = false;     ///< Only the value changes; the key must exist.
  bool want_previous = false;  ///< The outcome tells what was there before.
};

/// Deletes the keys of a range; none is not an error.
struct RemoveOperation {
  KeyRange keys;
  bool want_previous = false;
};

/// Reads a range as the operations before it left it, or as of an older revision.
struct ReadOperation {
  RangeOptions range;
};

struct Operation;

/// Threads: a value.
struct Transaction {
  std::vector<Compare> compares;  ///< All must hold; none is fine.
  std::vector<Operation> then;    ///< Done, in order, when they do.
  std::vector<Operation> otherwise;
};

/// A nested transaction's conditions are looked at together with the outer one's, before anything is done.
struct Operation {
  std::variant<PutOperation, RemoveOperation, ReadOperation, Transaction> what;
};

struct PutOutcome {
  std::optional<KeyValue> previous;
};

struct RemoveOutcome {
  std::int64_t removed = 0;
  std::vector<KeyValue> previous;  ///< Ascending by key; empty unless wanted.
};

struct Outcome;

struct TransactionResult {
  bool succeeded = false;         ///< The conditions held: `then` was done.
  Revision revision = 0;          ///< Of everything it wrote; the store's revision when it wrote nothing.
  std::vector<Outcome> outcomes;  ///< One for each operation that was done, in order.
};

/// Holds the alternative that belongs to the operation's.
struct Outcome {
  std::variant<PutOutcome, RemoveOutcome, Page, TransactionResult> of;
};

}  // namespace kubernel::storage
