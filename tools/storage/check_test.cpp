// SPDX-License-Identifier: Apache-2.0
#include "check.h"

#include <stdlib.h>

#include <filesystem>

#include <gmock/gmock.h>
#include <sqlite3.h>

#include "memory_stores.h"
#include "sqlite_backend.h"

namespace kubernel::storage_tool {
namespace {

using storage::Revision;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class StorageCheck : public ::testing::Test {
 protected:
  StorageCheck() {
    std::string pattern = (std::filesystem::temp_directory_path() / "kubernel-check-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) std::abort();
    directory_ = pattern;
    open();
  }
  ~StorageCheck() override {
    store_.reset();
    std::filesystem::remove_all(directory_);
  }

  void open() {
    auto opened = storage_sqlite::open_sqlite(
        around_.context(R"({"path":")" + (directory_ / "state.db").string() + R"(","synchronous":"normal"})"));
    ASSERT_TRUE(opened) << opened.error().message();
    store_ = *std::move(opened);
  }

  // Changes the closed store behind its back.
  void tamper(const std::string& sql) {
    store_.reset();
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open((directory_ / "state.db").c_str(), &db), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
    EXPECT_GT(sqlite3_changes(db), 0) << sql;
    sqlite3_close(db);
    open();
  }

  // What `keys` calls the place of a key's row in `log`.
  std::string place_column() const {
    sqlite3* db = nullptr;
    EXPECT_EQ(sqlite3_open((directory_ / "state.db").c_str(), &db), SQLITE_OK);
    sqlite3_stmt* found = nullptr;
    EXPECT_EQ(sqlite3_prepare_v2(db, "SELECT name FROM pragma_table_info('keys') WHERE name IN ('id', 'revision')", -1,
                                 &found, nullptr),
              SQLITE_OK);
    EXPECT_EQ(sqlite3_step(found), SQLITE_ROW);
    const std::string name = reinterpret_cast<const char*>(sqlite3_column_text(found, 0));
    sqlite3_finalize(found);
    sqlite3_close(db);
    return name;
  }

  Revision put(const std::string& key, const std::string& value, Revision expected = 0) {
    const auto put = store_->put({}, key, value, expected, 0);
    EXPECT_TRUE(put && put->applied);
    return put ? put->revision : 0;
  }

  CheckReport check() {
    const auto report = check_store(*store_, {}, progress_);
    EXPECT_TRUE(report) << report.error().message();
    return report ? *report : CheckReport{};
  }

  // /a is at 3 (2 before), /b at 4, /c was deleted at 6.
  void fill() {
    put("/a", "2", put("/a", "1"));
    put("/b", "1");
    ASSERT_TRUE(store_->remove({}, "/c", put("/c", "1")));
    for (int i = 0; i < 500; ++i) put("/many/" + std::to_string(1000 + i), "v");
  }

  TestSurroundings around_;
  Progress progress_{around_.clock, stderr};
  std::filesystem::path directory_;
  std::unique_ptr<storage::Backend> store_;
};

TEST_F(StorageCheck, AnEmptyStoreIsRight) {
  const auto report = check();
  EXPECT_EQ(report.damaged, 0);
  EXPECT_EQ(report.keys, 0);
}

TEST_F(StorageCheck, AWholeStoreIsRightBeforeAndAfterCompaction) {
  fill();
  auto report = check();
  EXPECT_THAT(report.damage, ElementsAre());
  EXPECT_EQ(report.keys, 502);
  EXPECT_EQ(report.events, 505);
  ASSERT_TRUE(store_->compact({}, 200));
  report = check();
  EXPECT_THAT(report.damage, ElementsAre());
  EXPECT_EQ(report.keys, 502);
  ASSERT_TRUE(store_->compact({}, report.revision));
  EXPECT_THAT(check().damage, ElementsAre());
}

TEST_F(StorageCheck, AFlippedBitInAValueIsNamedAndTheRestIsRead) {
  fill();
  tamper("UPDATE log SET value = x'ff' WHERE key = CAST('/many/1250' AS BLOB)");
  const auto report = check();
  EXPECT_THAT(report.damage, ElementsAre(AllOf(HasSubstr("\"/many/1250\" at revision 257"), HasSubstr("checksum"))));
  EXPECT_EQ(report.keys, 501);
  EXPECT_EQ(report.events, 504);
}

TEST_F(StorageCheck, ADamagedRowOfThePastIsNamed) {
  fill();
  tamper("UPDATE log SET value = x'ff' WHERE key = CAST('/a' AS BLOB) AND version = 1");
  const auto report = check();
  EXPECT_THAT(report.damage, Contains(HasSubstr("\"/a\" at revision 2")));
  EXPECT_EQ(report.keys, 502) << "the present is whole";
}

TEST_F(StorageCheck, SeveralDamagedRowsAreAllNamed) {
  fill();
  tamper(
      "UPDATE log SET lease = 9 WHERE key IN (CAST('/many/1100' AS BLOB), CAST('/many/1101' AS BLOB),"
      " CAST('/many/1499' AS BLOB))");
  const auto report = check();
  EXPECT_THAT(report.damage, AllOf(SizeIs(3), Contains(HasSubstr("/many/1100")), Contains(HasSubstr("/many/1101")),
                                   Contains(HasSubstr("/many/1499"))));
}

TEST_F(StorageCheck, AMissingRowOfHistoryIsNamed) {
  fill();
  tamper("DELETE FROM log WHERE key = CAST('/a' AS BLOB) AND version = 1");
  EXPECT_THAT(check().damage, Contains(HasSubstr("revision 2 ")));
}

TEST_F(StorageCheck, ALostRowOfThePresentIsNamed) {
  fill();
  tamper("DELETE FROM log WHERE key = CAST('/b' AS BLOB)");
  EXPECT_THAT(check().damage, Contains(AllOf(HasSubstr("\"/b\" at revision 4"), HasSubstr("missing"))));
}

TEST_F(StorageCheck, AKeyTheIndexForgotIsNamed) {
  fill();
  tamper("DELETE FROM keys WHERE key = CAST('/b' AS BLOB)");
  EXPECT_THAT(check().damage,
              Contains(AllOf(HasSubstr("key \"/b\" at revision 4"), HasSubstr("the present does not have it"))));
}

TEST_F(StorageCheck, AnIndexThatPointsToAnOldRowIsNamed) {
  fill();
  const std::string place = place_column();
  tamper("UPDATE keys SET " + place + " = (SELECT " + place +
         " FROM log WHERE key = CAST('/a' AS BLOB) AND version = 1)"
         " WHERE key = CAST('/a' AS BLOB)");
  EXPECT_THAT(check().damage, Contains(AllOf(HasSubstr("key \"/a\" at revision 3"), HasSubstr("do not agree"))));
}

TEST_F(StorageCheck, AKeyThatCameBackFromTheDeadIsNamed) {
  fill();
  const std::string place = place_column();
  tamper("UPDATE keys SET live = 1, " + place + " = (SELECT " + place +
         " FROM log WHERE key = CAST('/c' AS BLOB) AND deleted = 0) WHERE key = CAST('/c' AS BLOB)");
  EXPECT_THAT(check().damage, Contains(AllOf(HasSubstr("key \"/c\" at revision 6"), HasSubstr("deleted"))));
}

TEST_F(StorageCheck, AStoreInMemoryIsJudgedByTheSameRules) {
  const auto memory = around_.memory();
  ASSERT_TRUE(memory->put({}, "/a", "1", 0, 0));
  const auto report = check_store(*memory, {}, progress_);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->damaged, 0);
  EXPECT_EQ(report->keys, 1);
}

}  // namespace
}  // namespace kubernel::storage_tool
