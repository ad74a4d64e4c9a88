// SPDX-License-Identifier: Apache-2.0
//
// Histories made by hand, for the tests of the checker.

#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <kubernel/testing/history.h>

namespace kubernel::testing {

using storage::Event;
using storage::KeyValue;
using storage::Revision;
using storage::WatchBatch;
using ::testing::HasSubstr;
using Kind = Operation::Kind;
using Outcome = Operation::Outcome;

inline KeyValue kv(std::string key, std::string value, Revision modified, Revision created = 0,
                   std::int64_t version = 1) {
  return {.key = std::move(key),
          .value = std::move(value),
          .created = created == 0 ? modified : created,
          .modified = modified,
          .version = version};
}

class HistoryChecker : public ::testing::Test {
 protected:
  Operation& add(Kind kind, std::string key, Moment called, Moment returned) {
    Operation operation;
    operation.client = static_cast<int>(history_.operations.size());
    operation.kind = kind;
    operation.outcome = returned == kNever ? Outcome::Unknown : Outcome::Done;
    operation.key = std::move(key);
    operation.called = called;
    operation.returned = returned;
    history_.operations.push_back(std::move(operation));
    return history_.operations.back();
  }

  void put(Moment called, Moment returned, const std::string& key, const std::string& value, Revision expected,
           Revision applied) {
    Operation& operation = add(Kind::Put, key, called, returned);
    operation.value = value;
    operation.expected = expected;
    operation.applied = returned != kNever;
    operation.revision = applied;
  }

  void lost(Moment called, Moment returned, const std::string& key, Revision expected, Revision store,
            std::optional<KeyValue> current) {
    Operation& operation = add(Kind::Put, key, called, returned);
    operation.value = "loser";
    operation.expected = expected;
    operation.revision = store;
    operation.current = std::move(current);
  }

  void remove(Moment called, Moment returned, const std::string& key, Revision expected, Revision applied,
              std::optional<KeyValue> removed) {
    Operation& operation = add(Kind::Remove, key, called, returned);
    operation.expected = expected;
    operation.applied = returned != kNever;
    operation.revision = applied;
    operation.current = std::move(removed);
  }

  void get(Moment called, Moment returned, const std::string& key, std::optional<KeyValue> found, Revision at = 0) {
    Operation& operation = add(Kind::Get, key, called, returned);
    operation.current = std::move(found);
    operation.at = at;
  }

  void range(Moment called, Moment returned, Revision revision, std::vector<KeyValue> items, Revision at = 0) {
    Operation& operation = add(Kind::Range, "/", called, returned);
    operation.end = "0";
    operation.revision = revision;
    operation.items = std::move(items);
    operation.at = at;
  }

  static Event put_event(const KeyValue& now, std::optional<KeyValue> previous = std::nullopt) {
    return {Event::Type::Put, now, std::move(previous)};
  }

  static Event delete_event(const std::string& key, Revision revision, std::optional<KeyValue> previous) {
    KeyValue gone;
    gone.key = key;
    gone.modified = revision;
    return {Event::Type::Delete, gone, std::move(previous)};
  }

  WatchRecord& watch(Revision from, std::vector<WatchBatch> batches) {
    history_.watches.push_back({.start = "/", .end = "0", .from = from, .batches = std::move(batches)});
    return history_.watches.back();
  }

  // The three writes most watch tests are about: revisions 2, 3 and 4.
  void three_writes() {
    put(1, 2, "/a", "1", 0, 2);
    put(3, 4, "/b", "2", 0, 3);
    remove(5, 6, "/a", 2, 4, kv("/a", "1", 2));
  }

  void expect_right() {
    EXPECT_EQ(revision_violation(history_), "");
    EXPECT_EQ(linearizability_violation(history_), "");
    EXPECT_EQ(watch_violation(history_), "");
  }

  History history_;
  const KeyValue a1_ = kv("/a", "1", 2);
  const KeyValue b2_ = kv("/b", "2", 3);
};

}  // namespace kubernel::testing
