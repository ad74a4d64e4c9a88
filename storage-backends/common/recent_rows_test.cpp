// SPDX-License-Identifier: Apache-2.0
#include "recent_rows.h"

#include <memory>
#include <string>

#include <gtest/gtest.h>

namespace kubernel::storage_common {
namespace {

Row row(const std::string& key, storage::Revision revision, std::size_t value = 1, bool deleted = false) {
  auto kv = std::make_shared<storage::KeyValue>();
  kv->key = key;
  kv->value = std::string(value, 'v');
  kv->modified = revision;
  return {.kv = std::move(kv), .id = row_id(revision), .previous = 0, .deleted = deleted};
}

storage::Revision at(const RecentRows& rows, const std::string& key) {
  const Row* found = rows.find(key);
  return found == nullptr ? 0 : found->kv->modified;
}

TEST(RecentRows, TheLastWriteOfAKeyIsKnown) {
  RecentRows rows(1U << 20U);
  EXPECT_EQ(at(rows, "/a"), 0);
  rows.put(row("/a", 2));
  rows.put(row("/b", 3));
  rows.put(row("/a", 4));
  EXPECT_EQ(at(rows, "/a"), 4);
  EXPECT_EQ(at(rows, "/b"), 3);
}

TEST(RecentRows, AfterClearingNothingIsKnownAndThereIsRoom) {
  RecentRows rows(1U << 10U);
  rows.put(row("/a", 2, 100));
  rows.clear();
  EXPECT_EQ(at(rows, "/a"), 0);
  rows.put(row("/a", 3, 100));
  EXPECT_EQ(at(rows, "/a"), 3);
}

TEST(RecentRows, ADeletedKeyIsNotKnown) {
  RecentRows rows(1U << 20U);
  rows.put(row("/a", 2));
  rows.put(row("/a", 3, 0, true));
  EXPECT_EQ(rows.find("/a"), nullptr);
  rows.put(row("/a", 4));
  EXPECT_EQ(at(rows, "/a"), 4);
}

TEST(RecentRows, WhatWasWrittenLongestAgoIsForgottenFirst) {
  RecentRows rows(8 * 1024);
  for (int i = 0; i < 5; ++i) rows.put(row("/" + std::to_string(i), i + 2, 1024));
  rows.put(row("/0", 7, 1024));
  for (int i = 5; i < 8; ++i) rows.put(row("/" + std::to_string(i), i + 3, 1024));
  EXPECT_EQ(rows.find("/1"), nullptr);
  EXPECT_EQ(at(rows, "/0"), 7);
  EXPECT_EQ(at(rows, "/7"), 10);
}

TEST(RecentRows, AValueThatIsLargerThanAllThatIsKeptTakesNobodysPlace) {
  RecentRows rows(4096);
  rows.put(row("/a", 2));
  rows.put(row("/b", 3));
  rows.put(row("/b", 4, 100'000));
  EXPECT_EQ(at(rows, "/a"), 2);
  EXPECT_EQ(rows.find("/b"), nullptr) << "an older value would be wrong";
}

}  // namespace
}  // namespace kubernel::storage_common
