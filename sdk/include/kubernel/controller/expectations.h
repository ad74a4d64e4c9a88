// SPDX-License-Identifier: Apache-2.0
//
// Expectations: how a controller waits for its cache to see its own writes.
//
// A controller that has just created three pods must not count pods again before its informer has shown the three. It
// notes what it expects per key, its handlers note what arrived, and until they match (or five minutes have passed, in
// case an event will never come) the controller neither creates nor deletes for that key.

#pragma once

#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include <kubernel/api/object.h>
#include <kubernel/base/clock.h>
#include <kubernel/base/export.h>

namespace kubernel::controller {

/// Threads: all members may be called concurrently. Lifetime: `clock` outlives it.
class KUBERNEL_EXPORT Expectations {
 public:
  explicit Expectations(const Clock& clock) : clock_(clock) {}

  /// True when nothing is outstanding for `owner`, or it has been outstanding too long.
  bool satisfied(const api::ObjectKey& owner) const;
  /// Replaces what was expected.
  void expect_creations(const api::ObjectKey& owner, int count);
  void expect_deletions(const api::ObjectKey& owner, const std::vector<api::ObjectKey>& objects);
  /// An object appeared, or its creation failed and it never will.
  void creation_observed(const api::ObjectKey& owner);
  /// An object is going or gone, or its deletion failed. Each counts once.
  void deletion_observed(const api::ObjectKey& owner, const api::ObjectKey& object);
  /// The owner is gone.
  void forget(const api::ObjectKey& owner);

 private:
  struct Outstanding {
    int creations = 0;
    std::set<api::ObjectKey> deletions;
    Clock::TimePoint since;
  };
  const Clock& clock_;
  mutable std::mutex mutex_;
  std::map<api::ObjectKey, Outstanding> outstanding_;
};

}  // namespace kubernel::controller
