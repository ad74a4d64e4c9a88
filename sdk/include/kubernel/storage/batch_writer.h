// SPDX-License-Identifier: Apache-2.0
//
// BatchWriter: many writes from one thread.
//
// Backend's writes return when they are durable, so whoever serves many clients needs a thread for each write that
// waits for its commit, and two changes of thread for each write. A backend whose writers share commits takes many at
// once.

#pragma once

#include <span>
#include <vector>

#include <kubernel/base/context.h>
#include <kubernel/base/export.h>
#include <kubernel/base/result.h>
#include <kubernel/storage/transaction.h>

namespace kubernel::storage {

/// What a Backend may be besides: dynamic_cast finds it. One for which a batch is no faster than its transactions on
/// several threads is none.
///
/// Threads and common errors: as Backend.
class KUBERNEL_EXPORT BatchWriter {
 public:
  virtual ~BatchWriter();

  /// Backend::transact() of each, in order. Each is a write of its own, with its own revision and outcome: one that
  /// fails changes nothing for the others, and later ones see what earlier ones did. They share commits with each
  /// other and with other writers. Returns one result for each, when all are durable.
  virtual std::vector<Result<TransactionResult>> transact_each(const CallContext& ctx,
                                                               std::span<const Transaction> transactions) = 0;
};

}  // namespace kubernel::storage
