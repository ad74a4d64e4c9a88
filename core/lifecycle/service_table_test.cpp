// SPDX-License-Identifier: Apache-2.0
#include "core/lifecycle/service_table.h"

#include <memory>

#include <gtest/gtest.h>

namespace kubernel::lifecycle {
namespace {

struct Store {
  static constexpr std::string_view kService = "store";
  int value = 0;
};
struct OtherStore {
  static constexpr std::string_view kService = "store";
};

TEST(ServiceTable, LendsWhatWasOffered) {
  ServiceTable table;
  EXPECT_EQ(plugin::find<Store>(table), nullptr);
  table.open_for("a", {"store"});
  plugin::offer(table, std::make_shared<Store>(Store{7}));
  EXPECT_TRUE(table.close().empty());
  ASSERT_NE(plugin::find<Store>(table), nullptr);
  EXPECT_EQ(plugin::find<Store>(table)->value, 7);
}

TEST(ServiceTable, SaysWhatWasPromisedAndNotOffered) {
  ServiceTable table;
  table.open_for("a", {"store", "other"});
  plugin::offer(table, std::make_shared<Store>());
  EXPECT_EQ(table.close(), std::vector<std::string>{"other"});
}

TEST(ServiceTable, ForgetsWhatAnOwnerOffered) {
  ServiceTable table;
  table.open_for("a", {"store"});
  const auto store = std::make_shared<Store>();
  plugin::offer(table, store);
  table.close();
  table.drop("b");
  EXPECT_NE(plugin::find<Store>(table), nullptr);
  table.drop("a");
  EXPECT_EQ(plugin::find<Store>(table), nullptr);
  EXPECT_EQ(store.use_count(), 1);
}

TEST(ServiceTableDeathTest, AnUndeclaredOfferEndsTheProcess) {
  ServiceTable table;
  EXPECT_DEATH(plugin::offer(table, std::make_shared<Store>()), "\"store\" was offered outside of a component's start");
  table.open_for("a", {});
  EXPECT_DEATH(plugin::offer(table, std::make_shared<Store>()),
               "component \"a\" offers service \"store\", which it does");
}

TEST(ServiceTableDeathTest, AnotherTypeEndsTheProcess) {
  ServiceTable table;
  table.open_for("a", {"store"});
  plugin::offer(table, std::make_shared<Store>());
  EXPECT_DEATH(plugin::find<OtherStore>(table), "service \"store\" is a .*Store.* and was asked for as a .*OtherStore");
}

}  // namespace
}  // namespace kubernel::lifecycle
